"""How far the system is: counts in, a line for the user and what follows from them out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The counts at one moment."""

    #: Monotonic seconds.
    at: float
    #: Events that SQS has accepted from us.
    sent: int
    #: Messages in the queues, those delayed included.
    waiting: int
    #: Messages received and not settled: running, or waiting in a worker.
    in_work: int
    #: Different events that have arrived at the downstream.
    done: int
    #: Messages in the dead-letter queues.
    dead: int


class Progress:
    """What the readings say.

    Args:
        window: seconds that the rate is measured over; default 15.
    """

    def __init__(self, *, window: float = 15.0) -> None:
        self._window = window
        self._recent: deque[Reading] = deque()
        self._began: Reading | None = None
        self._empty_in_a_row = 0
        self._moved: Reading | None = None
        self._arrived: Reading | None = None

    @property
    def latest(self) -> Reading | None:
        """The last reading."""
        return self._recent[-1] if self._recent else None

    def begin(self, at: float) -> None:
        """Sending begins: before the first reading, which may find that all has arrived already."""
        self._began = Reading(at=at, sent=0, waiting=0, in_work=0, done=0, dead=0)

    def add(self, reading: Reading) -> None:
        """Take in a reading."""
        before = self.latest
        if before is None or (before.sent, before.done, before.dead) != (reading.sent, reading.done, reading.dead):
            self._moved = reading
        if self._began is None or not (reading.sent or reading.done):
            self._began = reading
        if reading.done > (before.done if before else 0):
            self._arrived = reading
        self._empty_in_a_row = 0 if reading.waiting or reading.in_work else self._empty_in_a_row + 1
        self._recent.append(reading)
        while len(self._recent) > 2 and self._recent[1].at <= reading.at - self._window:
            self._recent.popleft()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in the queues: twice in a row, since two counts of one reading are not of one moment."""
        return self._empty_in_a_row >= 2

    @property
    def per_minute(self) -> float:
        """Events done a minute, of late."""
        return _rate(self._recent[0], self._recent[-1]) if self._recent else 0.0

    @property
    def per_minute_in_all(self) -> float | None:
        """Events done a minute, from the first one sent to the last arrival; None if that cannot be told."""
        return (_rate(self._began, self._arrived) or None) if self._began and self._arrived else None

    def idle(self, now: float) -> float:
        """Seconds since something was sent, done or given up."""
        return now - self._moved.at if self._moved else 0.0

    def line(self) -> str:
        """For the user."""
        latest = self.latest
        if latest is None:
            return "starting"
        dead = f" · dead-letter {latest.dead:,}" if latest.dead else ""
        return (
            f"sent {latest.sent:,} · waiting {latest.waiting:,} · in work {latest.in_work:,}"
            f" · done {latest.done:,}{dead} · {self.per_minute:,.0f} messages/min"
        )


def _rate(first: Reading, last: Reading) -> float:
    seconds = last.at - first.at
    return (last.done - first.done) * 60 / seconds if seconds > 0 else 0.0
