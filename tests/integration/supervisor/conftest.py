"""Small programs that are really started, and a program that supervises them in a process of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SUPERVISE = Path(__file__).with_name("supervise.py")


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Supervised:
    """`supervise.py SCENARIO` in a process of its own, and the records that its programs leave in `folder`."""

    def __init__(self, folder: Path, scenario: str, *, terminal: bool = False) -> None:
        self.folder = folder
        self.terminal, inner = pty.openpty() if terminal else (None, None)
        self.process = subprocess.Popen(
            [sys.executable, str(SUPERVISE), scenario, str(folder), *(["--terminal"] if terminal else [])],
            stdin=inner,
            stdout=inner or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if inner is not None:
            os.close(inner)

    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self) -> list[int]:
        return [int(line.split()[2]) for line in self.events() if line.startswith("started ")]

    def wait_for(self, event: str, times: int = 1) -> None:
        self.until(lambda: sum(line.startswith(event) for line in self.events()) >= times, event)

    def until(self, predicate, what: str) -> None:
        deadline = time.monotonic() + 20
        while not predicate():
            assert time.monotonic() < deadline, f"no {what!r} within 20 s; events: {self.events()}"
            time.sleep(0.02)

    def finish(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=30)
        return self.process.returncode, output

    def nothing_is_left(self) -> None:
        self.until(lambda: not any(map(alive, self.pids())), "end of every process")


@pytest.fixture
def supervise(tmp_path):
    """Starts a scenario; whatever is left of it at the end of the test is killed."""
    running: list[Supervised] = []

    def start(scenario: str, *, terminal: bool = False) -> Supervised:
        running.append(Supervised(tmp_path, scenario, terminal=terminal))
        return running[-1]

    yield start
    for supervised in running:
        for pid in [supervised.process.pid, *supervised.pids()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        supervised.process.communicate()
