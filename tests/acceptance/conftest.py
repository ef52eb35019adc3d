"""Commands that start many processes, as a user starts them: what they say, and what they leave."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
_MARK = "ACCEPTANCE_TEST_RUN"


class System:
    """A process, all that it starts, and all that it writes.

    Args:
        command: what to run, in the checkout.
        output: the file for its output.
        environment: variables beside those of every user.
    """

    def __init__(self, command: list[str], output: Path, environment: dict[str, str] | None = None) -> None:
        self.output_file = output
        self._mark = uuid.uuid4().hex
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_", "FLOWER_"))
        }
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**kept, _MARK: self._mark, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._seen: dict[int, psutil.Process] = {}
        self._ports: set[int] = set()

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    def until(self, predicate, what: str, within: float = 90.0):
        """The first true answer of the predicate; fails when there is none in time, or when the process has ended."""
        deadline = time.monotonic() + within
        while not (answer := predicate()):
            assert time.monotonic() < deadline, f"no {what} within {within:g} s:\n{self.output}"
            if self.process.poll() is not None and not (answer := predicate()):
                raise AssertionError(f"it ended before {what}:\n{self.output}")
            if answer:
                break
            time.sleep(0.1)
        self.look()
        return answer

    def says(self, pattern: str, within: float = 90.0) -> re.Match[str]:
        """Wait until its output matches."""
        return self.until(lambda: re.search(pattern, self.output), f"output like {pattern!r}", within)

    def look(self) -> None:
        """Remember the processes and the ports that there are by now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for process in [root, *root.children(recursive=True)]:
                self._seen[process.pid] = process
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
                    self._ports |= {connection.laddr.port for connection in listening}

    def processes(self, words: str) -> list[psutil.Process]:
        """Its direct children with these words in their command line."""
        children = psutil.Process(self.process.pid).children()
        return [process for process in children if words in " ".join(process.cmdline())]

    def end(self, number: int | None = None, within: float = 120.0) -> int:
        """Wait for its end, after a signal if one is given: its exit status."""
        self.look()
        if number is not None:
            self.process.send_signal(number)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {within:g} s:\n{self.output}") from None

    def left(self) -> list[str]:
        """What is still there of it: processes and listening ports."""
        running = [p for p in self._marked() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        listening = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        return [str(process) for process in running] + [f"port {port}" for port in sorted(self._ports & listening)]

    def leaves_nothing(self, within: float = 15.0) -> None:
        """Fails if a process or a port of it is left after so many seconds."""
        assert len(self._seen) > 1, "no process of it was ever seen"
        assert self._ports, "no port of it was ever seen"
        self.nothing_is_left(within)

    def nothing_is_left(self, within: float = 15.0) -> None:
        """As `leaves_nothing`, of what may have been one process without a port."""
        deadline = time.monotonic() + within
        while left := self.left():
            assert time.monotonic() < deadline, f"left behind: {left}\n{self.output}"
            time.sleep(0.1)

    def kill_all(self) -> None:
        """For the end of a test that failed."""
        self.look()
        for process in [*self._seen.values(), *self._marked()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)

    def _marked(self) -> list[psutil.Process]:
        found = {pid: process for pid, process in self._seen.items() if process.is_running()}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == self._mark:
                    found[process.pid] = process
        return list(found.values())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., System]]:
    """Starts a system: a command and its environment; kills what is left of it when the test is over."""
    started: list[System] = []

    def start_one(*command: str, **environment: str) -> System:
        started.append(System(list(command), tmp_path / f"output-{len(started)}", environment))
        return started[-1]

    yield start_one
    for one in started:
        one.kill_all()
