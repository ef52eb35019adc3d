"""What a task can know of its lease, in whatever process it runs.

The worker's main process keeps the leases; a task may run in a child of it. Both have the same page of memory: the end
of each running task's lease stands in a row of it, on the clock that all processes of a machine share.
"""

from __future__ import annotations

import itertools
import math
import mmap
from collections import deque
from typing import TYPE_CHECKING

from app.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Tasks that run at once and have a row. One without could not see its lease; there is no such worker.
_ROWS = 65_536
#: Two numbers of eight bytes: whose row it is (its use's number), and when the lease ends on the monotonic clock. Each
#: is written in one step of the processor's, so that no child reads half of it.
_COLUMNS, _BYTES = 2, 8
_LOST = float("-inf")


class Lease:
    """The lease of the message that a task works for, as the task sees it: `self.lease` of a bound task.

    It is renewed as long as the task runs, so it is lost only when SQS cannot be reached for the length of a lease,
    when the process stood still for so long, or when the task's time limit is over and its pool cannot kill it. Then
    another worker may have the message: a task that has not yet done its irrevocable step should leave it to that one.
    """

    def __init__(
        self, place: Sequence[int] | None, *, table: LeaseTable | None = None, clock: Clock | None = None
    ) -> None:
        self._place = place
        self._table = table or leases
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return "<Lease: lost>" if self.lost else f"<Lease: {self.remaining():.1f} s>"

    @property
    def lost(self) -> bool:
        """Whether another worker may have the message now."""
        return self.remaining() <= 0

    def remaining(self) -> float:
        """Seconds until it is lost unless it is renewed before; infinite where there is no lease (eager, in a test)."""
        if self._place is None:
            return math.inf
        return max(0.0, self._table.until(self._place) - self._clock.monotonic())


class LeaseTable:
    """The page that the main process writes and its children read; made before they are forked."""

    def __init__(self, rows: int = _ROWS) -> None:
        self._cells = memoryview(mmap.mmap(-1, rows * _COLUMNS * _BYTES)).cast("d")
        self._free = deque(range(rows))
        self._numbers = itertools.count(1)

    def open(self, until: float) -> tuple[int, int] | None:
        """A row for a lease that ends at `until`; None: all are in use."""
        try:
            row, number = self._free.popleft(), next(self._numbers)
        except IndexError:
            return None
        self.write((row, number), until)
        self._cells[_COLUMNS * row] = number
        return row, number

    def write(self, place: tuple[int, int], until: float) -> None:
        """The lease ends at `until`."""
        self._cells[_COLUMNS * place[0] + 1] = until

    def lose(self, place: tuple[int, int]) -> None:
        """The lease is lost."""
        self.write(place, _LOST)

    def close(self, place: tuple[int, int]) -> None:
        """The task has ended; the row is another's."""
        self.lose(place)
        self._free.append(place[0])

    def until(self, place: Sequence[int]) -> float:
        """When the lease ends, on the monotonic clock."""
        row, number = place
        until = self._cells[_COLUMNS * row + 1]
        return until if self._cells[_COLUMNS * row] == number else _LOST


leases = LeaseTable()
"""This process's, and that of the children it forks."""
