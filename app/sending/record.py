r"""What has been sent, beside the file it was sent from: `FILE.sent`, so that `--resume` sends the rest and only that.

Its first line is JSON: the run's id, the task and the queue. Each further line is one that SQS has answered for: line
numbers, and a digest of what was in these lines, so that a file which has changed since is noticed.

    {"sluice_sent":1,"run_id":"8d0c…","task":"tasks.events.post","queue":"sluice"}
    1-10 5f3a6b…
    11,13-20 90cc…

A line is written by one call after each accepted batch, so what the sender knew survives its own death (kill -9). It is
forced to the disk at most once a second and at the end, so a machine that loses power may forget up to a second of it:
then, as after a death between answer and record, lines are sent a second time, under the ids that they had.
A last line that is cut short is what such an end leaves, and is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from app.clock import SystemClock
from app.sending.ids import task_id
from app.sending.ranges import Ranges, parse, ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from app.clock import Clock
    from app.sending.entries import Entry
    from app.sending.lines import BadLine, Line

SYNC_EVERY = 1.0
"""Seconds between two fsyncs while lines are being recorded."""

_VERSION = 1
_BEGINNING = b'{"sluice_sent":'


class RecordError(Exception):
    """A record that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Header:
    """Which run a record is of."""

    run_id: str
    task: str
    queue: str

    def to_line(self) -> bytes:
        """As the record's first line."""
        fields = {"sluice_sent": _VERSION, "run_id": self.run_id, "task": self.task, "queue": self.queue}
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read the first line; ValueError if it is none of ours."""
        found: Any = json.loads(line)
        if not isinstance(found, dict) or found.get("sluice_sent") != _VERSION:
            raise ValueError("no record of this version")
        return cls(str(found.get("run_id")), str(found.get("task")), str(found.get("queue")))


@dataclass(slots=True)
class Sent:
    """The lines on record. The digest is the XOR of the lines' task ids, which are digests of their content."""

    lines: Ranges = field(default_factory=Ranges)
    digest: int = 0

    def add_line(self, line: bytes) -> None:
        """Take in one line of the record; ValueError if it is none, or names a line that is there already."""
        numbers, _, digest = line.decode("ascii").partition(" ")
        if len(digest) != 32:
            raise ValueError("the digest is not whole")
        value = int(digest, 16)
        for start, end in parse(numbers):
            self.lines.add(start, end)
        self.digest ^= value


def entry_line(entries: Sequence[Entry]) -> bytes:
    """A record's line for entries that SQS has."""
    digest = 0
    for entry in entries:
        digest ^= entry.task_id.int
    return f"{ranges_of(entry.number for entry in entries)} {digest:032x}\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Content:
    """What a record's bytes say."""

    header: Header | None
    sent: Sent
    #: Bytes of it that are whole; what follows was cut short and is to be cut off.
    whole: int


def read(data: Iterable[bytes]) -> Content:
    """Read the lines of a record (each with its newline, as a file gives them).

    A header that is cut short is none: then nothing had been sent, since it is written before the first call.

    Raises:
        ValueError: a line in the middle is damaged; the sentence names it.
    """
    header, sent, whole = None, Sent(), 0
    for number, line in enumerate(data, 1):
        is_whole = line.endswith(b"\n")  # only the last one can lack its end
        try:
            if header is None and (is_whole or not _BEGINNING.startswith(line[: len(_BEGINNING)])):
                header = Header.from_line(line)  # a beginning that is not ours raises: somebody's file, not to be cut
            elif is_whole:
                sent.add_line(line[:-1])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        whole += len(line) if is_whole else 0
    return Content(header, sent, whole)


def check_unchanged(sent: Sent, run_id: str, lines: Iterable[Line | BadLine | None]) -> None:
    """See that each line on record still is what was sent, reading no further than the last of them.

    Raises:
        ValueError: it is not; lines after those on record, and bad lines that have been put right, do not count.
    """
    digest, found = 0, 0
    for line in lines if len(sent.lines) else ():
        content = getattr(line, "content", None)
        if line is not None and content is not None and line.number in sent.lines:
            digest ^= task_id(run_id, line.number, content).int
            found += 1
        if line is not None and line.number >= sent.lines.last:
            break
    if found != len(sent.lines) or digest != sent.digest:
        raise ValueError(f"lines 1 to {sent.lines.last:,} are not the ones that were sent")


class Record:
    """An open record, locked against a second sender.

    Args:
        path: where it is.
        clock: when to force it to the disk.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise RecordError(f"{path} cannot be written ({error.strerror}): what is sent must be recorded.") from None
        try:
            self._lock()
            self._load()
        except BaseException:
            os.close(self._fd)
            raise
        self._synced_at = self._clock.monotonic()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordError(f"Another send is writing {self.path}: wait for its end.") from None

    def _load(self) -> None:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            try:
                content = read(file)
            except ValueError as error:
                raise RecordError(
                    f"{self.path} is damaged ({error}). Repair it, or remove it to send the whole file again "
                    f"(with the same --run-id: under the same task ids)."
                ) from None
        os.ftruncate(self._fd, content.whole)
        self.header = content.header
        self.sent = content.sent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def run_id(self) -> str:
        """The run that this is the record of."""
        if self.header is None:
            raise RecordError(f"{self.path} has not been begun.")
        return self.header.run_id

    def begin(self, header: Header) -> None:
        """Write the header, and see it on the disk before anything is sent."""
        self.header = header
        self._write(header.to_line())
        os.fsync(self._fd)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the file's name is the folder's content
        finally:
            os.close(folder)

    def add(self, entries: Sequence[Entry]) -> None:
        """SQS has these."""
        line = entry_line(entries)
        self._write(line)
        self.sent.add_line(line[:-1])
        if self._clock.monotonic() - self._synced_at >= SYNC_EVERY:
            os.fsync(self._fd)
            self._synced_at = self._clock.monotonic()

    def close(self) -> None:
        """Force the rest to the disk and let go."""
        try:
            os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def _write(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        if written != len(line):  # a full disk: leave no half line for the next one to be appended to
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(f"{self.path} could not be written: is the disk full?")


class NoRecord:
    """What stands in for a record where there can be none: standard input cannot be read again."""

    def __init__(self) -> None:
        self.sent = Sent()

    def add(self, entries: Sequence[Entry]) -> None:
        """Forget."""
