"""Slots: the places for messages of one queue, shared by its polls so that no two of them fill the same one."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Slots:
    """The slots that the polls of one queue may fill.

    Polls of other queues do not count: an idle queue's poll would hold its slots for twenty seconds at a time. So the
    worker's whole window can be exceeded, by at most ten messages for each further queue; a queue's own `prefetch`
    cannot.

    Args:
        free: how many slots there are now, those included that an open poll may still fill.
        polls: how many polls share them; each gets its part, so that all of them can be open.
    """

    def __init__(self, free: Callable[[], int], *, polls: int = 1) -> None:
        self._free = free
        self._polls = polls
        self._lock = Lock()
        self._promised = 0

    def __repr__(self) -> str:
        return f"<Slots: {self._promised} promised to polls>"

    def take(self, most: int) -> int:
        """Promise up to `most` slots to a poll; how many there are for it, maybe none."""
        with self._lock:
            free = self._free()
            part = max(1, free // self._polls)
            count = max(0, min(most, part, free - self._promised))
            self._promised += count
            return count

    def give_back(self, count: int) -> None:
        """The poll is over, and the messages that it brought are counted as such."""
        with self._lock:
            self._promised -= count
