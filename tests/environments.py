"""What tests run against that is not installed with them: foreign servers, other versions. Made once, in `.cache/`."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


@contextlib.contextmanager
def to_be_made(name: str, source: Path) -> Iterator[Path | None]:
    """The folder under `CACHE` that the block has to fill from `source`, or None if it is filled already.

    Test processes run side by side on one cache: one makes it, the others wait for its lock and find it made.
    """
    folder = CACHE / name
    made_from = CACHE / f"{name}.made-from"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        # Let go when its holder ends, in whatever way; the test's own time limit bounds the wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made_from.exists() and made_from.read_text() == source.read_text():
            yield None
        else:
            yield folder
            made_from.write_text(source.read_text())


def python_environment(name: str) -> Path:
    """The folder of a virtual environment with what `locks/NAME.txt` says."""
    lock = ROOT / "locks" / f"{name}.txt"
    with to_be_made(name, lock) as environment:
        if environment is not None:
            run(sys.executable, "-m", "venv", "--clear", environment)
            run(environment / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r", lock)
    return CACHE / name
