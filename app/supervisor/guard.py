"""What a guard has started does not outlive the process that owns the guard, not even one killed with SIGKILL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_LIFELINE = Path(__file__).with_name("lifeline.py")


class Guard:
    """Starts processes, each the leader of a session of its own, and a helper that kills them all when we are gone.

    A session of its own keeps a terminal's Ctrl-C away from them, so that we can stop them in order, and makes a
    process and all its children one process group that can be killed as one. The helper (`lifeline.py`) notices our
    end by the end of a pipe. Linux's PR_SET_PDEATHSIG would do for direct children, on Linux; this also reaches a
    killed worker's pool processes, works on macOS, and asks nothing of the programs: Valkey, Flower and the worker
    need not know.

    For a process with one thread: starting runs a line of Python between fork and exec.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._watch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        output: IO[bytes],
        input: IO[bytes] | None = None,  # noqa: A002 - its name everywhere in subprocess
    ) -> subprocess.Popen[bytes]:
        """Start a program: `input` (or nothing) on its standard input, its output and errors to `output`.

        Raises:
            OSError: if it cannot be started.
        """
        if self._helper.poll() is not None:  # somebody killed it
            self._pipe.close()
            self._watch()
        process = subprocess.Popen(  # noqa: S603 - the command is our own
            command,
            stdin=input or subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            # Announced by itself, before it becomes the program: it holds the pipe's end until then, so there is no
            # moment at which we could die and the helper would not know of it.
            preexec_fn=self._announce_myself,  # noqa: PLW1509 - one thread, see above
        )
        self._groups.add(process.pid)
        return process

    def kill_group(self, pid: int) -> bool:
        """Send SIGKILL to the process group that `pid` led; False if nothing of it is left."""
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left in it
            return False
        return True

    def forget(self, pid: int) -> None:
        """Its group is empty: its number may now become somebody else's."""
        self._groups.discard(pid)
        self._tell(f"-{pid}\n")

    def close(self) -> None:
        """Let the helper go; it kills what has not been forgotten."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        self._helper.wait()

    def _watch(self) -> None:
        self._helper = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", str(_LIFELINE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        assert self._helper.stdin is not None  # noqa: S101 - for the type checker
        self._pipe = self._helper.stdin
        for pid in self._groups:
            self._tell(f"+{pid}\n")

    def _announce_myself(self) -> None:
        os.write(self._pipe.fileno(), f"+{os.getpid()}\n".encode())

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # killed; the next start makes a new one
            os.write(self._pipe.fileno(), line.encode())
