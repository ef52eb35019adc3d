"""Messages that waited longer than their queue promises: counted, and told at most once a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds between two reports on a queue.
_REPORT_EVERY = 60.0


class Lateness:
    """What came late from one queue since the last report; late messages run all the same. For one thread.

    Args:
        queue: the queue's name.
        max_age: seconds from send to receive above which a message is late.
    """

    def __init__(self, queue: str, *, max_age: float, clock: Clock | None = None) -> None:
        self._queue = queue
        self._max_age = max_age
        self._clock = clock or SystemClock()
        self._late = 0
        self._oldest = 0.0
        self._reported: float | None = None

    def received(self, sent: Iterable[float]) -> str | None:
        """Take in when the messages of one answer were sent (seconds since the epoch); the report, if one is due.

        Call it for empty answers too, so that what is left to report is reported.
        """
        now = self._clock.time()
        over = [age for age in (now - at - self._max_age for at in sent) if age > 0]
        self._late += len(over)
        self._oldest = max([self._oldest, *over])
        return self._report() if self._is_due() else None

    def _is_due(self) -> bool:
        waited = None if self._reported is None else self._clock.monotonic() - self._reported
        return self._late > 0 and (waited is None or waited >= _REPORT_EVERY)

    def _report(self) -> str:
        text = (
            f"Queue {self._queue}: {self._late} messages were older than its max_age of {self._max_age:g} s when "
            f"received, the oldest by {self._oldest:.0f} s"
        )
        self._late, self._oldest, self._reported = 0, 0.0, self._clock.monotonic()
        return text
