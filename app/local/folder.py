"""The folder of one run: logs, addresses, the events. No two runs share one."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Self

_OURS = ("events.jsonl", "events.jsonl.sent", "up.env")
_LOCK = "lock"
_MARK = b"celery -A app up\n"
"""What is in our lock: it tells the folder of an earlier run from one that merely has such names in it."""

_WRITTEN = re.compile(
    r"lock|up\.env|events\.jsonl(\.sent)?|(sqs|valkey|downstream)\.(log|address)|(sample|send|flower|worker\d*)\.log"
)
"""The names of all that a run writes."""


class FolderError(Exception):
    """There is no folder to work in. The message says what to do."""


class Folder:
    """A folder that is ours until we end, however that is; what an earlier run has sent is removed from it."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def take(cls, given: Path | None, *, default: Path = Path("var/up"), most: int = 20) -> Self:
        """Take the folder that is given, else the default one or, while other runs have that, `…-2`, `…-3`.

        Raises:
            FolderError: if it cannot be made, is in use, or holds files of somebody else's that a run would replace.
        """
        if given is not None:
            candidates = [given]
        else:
            candidates = [default, *(default.with_name(f"{default.name}-{n}") for n in range(2, most + 1))]
        for path in candidates:
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                if given is not None and (others := _not_ours(path)):
                    raise FolderError(
                        f"{path} already holds {others} that no earlier `up` wrote: name another folder with --logs"
                    )
                lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise FolderError(
                    f"{path} cannot be used ({error.strerror}): name another folder with --logs"
                ) from None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            os.pwrite(lock, _MARK, 0)
            folder = cls(path.resolve(), lock)
            folder._clear()
            return folder
        raise FolderError(f"another `up` uses {candidates[-1]}: name another folder with --logs, or end that one")

    def close(self) -> None:
        """Leave it to others; what is in it stays."""
        os.close(self._lock)

    def write_private(self, name: str, text: str) -> Path:
        """Write a file that only its owner can read."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _clear(self) -> None:
        for name in _OURS:  # by name: it may be a folder in which others have files too
            (self.path / name).unlink(missing_ok=True)


def _not_ours(path: Path) -> str:
    """Which file a run would replace in a folder that is not of an earlier run; empty if there is none."""
    lock = path / _LOCK
    spared = set()
    if lock.is_file() and lock.stat().st_size <= len(_MARK):
        mark = lock.read_bytes()
        if mark == _MARK:
            return ""
        if not mark:  # by another run that has made it this very moment
            spared = {_LOCK}
    names = (entry.name for entry in path.iterdir())
    return min((name for name in names if name not in spared and _WRITTEN.fullmatch(name)), default="")
