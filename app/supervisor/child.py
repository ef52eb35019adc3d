"""One running program: its process, its log, what the log says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.supervisor.program import AddressFile, AtOnce, Program

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from app.supervisor.guard import Guard

_MOST_READ_AT_ONCE = 256 * 1024


class Child:
    """A program and the process that runs it, if one does; the log is kept over restarts.

    Args:
        program: what to run.
        guard: starts it.
        logs: the folder for `NAME.log`, which is begun anew.
        directory: the working directory of the process.
    """

    def __init__(self, program: Program, *, guard: Guard, logs: Path, directory: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.address = ""
        self.is_ready = False
        self.last_line = ""
        self._guard = guard
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._partial = b""
        self.log.write_bytes(b"")

    def __repr__(self) -> str:
        state = f"process {self._process.pid}" if self._process else "not running"
        return f"<Child {self.program.name}: {state}{', ready' if self.is_ready else ''}>"

    @property
    def pid(self) -> int | None:
        """Its process, while there is one that has not been seen to end."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start its process.

        Raises:
            OSError: if it cannot be started.
        """
        self.is_ready = False
        if isinstance(self.program.ready, AddressFile):
            self.program.ready.path.unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self._process = self._guard.start(
                self.program.command(), environment=self.program.environment, directory=self._directory, output=output
            )

    def ended(self) -> int | None:
        """Its exit status, once, when its process has ended (as subprocess has it: -9 for SIGKILL); else None.

        What it leaves behind (pool processes of a killed worker) is killed.
        """
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self._guard.kill_group(self._process.pid)
        self._guard.forget(self._process.pid)
        self._process = None
        return status

    def signal(self, number: int) -> None:
        """Send its process, not its children, a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL to its process and all the children of that."""
        if self._process is not None:
            self._guard.kill_group(self._process.pid)

    def new_lines(self) -> list[str]:
        """What it has written since the last call; the middle of a flood is skipped (it is in the log)."""
        with self.log.open("rb") as log:
            size = log.seek(0, 2)
            if size - self._read > _MOST_READ_AT_ONCE:
                self._read, self._partial = size - _MOST_READ_AT_ONCE, b""
            log.seek(self._read)
            data = log.read(_MOST_READ_AT_ONCE)
        self._read += len(data)
        *whole, self._partial = (self._partial[-_MOST_READ_AT_ONCE:] + data).split(b"\n")
        lines = [line.decode(errors="replace").rstrip() for line in whole]
        for line in lines:
            if line.strip():
                self.last_line = line.strip()
        return lines

    def look_for_readiness(self, lines: list[str]) -> None:
        """See whether it is ready by now; `lines` are the newest of its log."""
        ready = self.program.ready
        if self.is_ready or isinstance(ready, AtOnce):
            self.is_ready = True
        elif isinstance(ready, AddressFile):
            text = ready.path.read_text() if ready.path.exists() else ""
            if text.endswith("\n"):  # else it is still being written
                self.address, self.is_ready = text.strip(), True
        else:
            for line in lines:
                if found := ready.pattern.search(line):
                    self.address = found[1] if found.groups() else ""
                    self.is_ready = True
