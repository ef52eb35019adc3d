"""The window: the slots for messages that are received and not settled, counted in messages and in bytes.

A slot is a place here and not in the pool: there are as many as the pool has places, and more as long as tasks are so
quick that what waits begins soon. Polls reserve slots before they ask, so nothing is received that has none.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from app.transport.aws import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.custody.delivery import Delivery

#: How slowly the size that is expected of a queue's messages shrinks, message by message; it grows at once.
_SHRINK = 0.99


class Window:
    """The slots of one consumer, for all its queues. Belongs to the engine's thread.

    Args:
        size: how many slots there are now; 0 is none to speak of.
        most_bytes: bytes of message bodies held, beyond which nothing is asked for. One message may exceed it; of each
            queue one, if several begin at the same time.
    """

    def __init__(self, size: Callable[[], int], *, most_bytes: int) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self._held: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        # The sums of both: they are asked for with every message, and there may be many queues.
        self._all_held = 0
        self._all_reserved = 0
        self._held_bytes = 0
        self._reserved_bytes = 0
        self._expected: dict[str, float] = {}
        # What waits for a rate limit keeps its own queue's slots and nobody else's: the pool may be idle meanwhile.
        self._limited: set[Delivery] = set()
        self._limited_of: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Window: {self.held} of {self.size} slots held, {self._all_reserved} reserved>"

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size()

    @property
    def held(self) -> int:
        """How many messages are in it."""
        return self._all_held

    @property
    def held_bytes(self) -> int:
        """The bytes of their bodies."""
        return self._held_bytes

    def held_of(self, queue: str) -> int:
        """How many of them are the queue's."""
        return self._held[queue]

    def free(self, queue: str, *, cap: int | None = None, most_bytes: int | None = None) -> int:
        """Slots that a poll of this queue may reserve.

        Args:
            queue: the queue's name.
            cap: the most messages of this queue, held or asked for.
            most_bytes: bytes that the poll may reserve; one message may exceed them.
        """
        others_limited = len(self._limited) - self._limited_of[queue]
        free = self._size() - (self._all_held - others_limited) - self._all_reserved
        if cap is not None:
            free = min(free, cap - self._held[queue] - self._reserved[queue])
        if most_bytes is not None:
            free = min(free, max(1, int(most_bytes / self._expected.get(queue, MAX_MESSAGE))))
        return 0 if free <= 0 else min(free, self._fitting(queue))

    def _fitting(self, queue: str) -> int:
        """How many messages of this queue there are bytes for; they count as the largest until one was seen."""
        left = self._most_bytes - self._held_bytes - self._reserved_bytes
        expected = self._expected.get(queue, MAX_MESSAGE)
        if left >= expected:
            return int(left / expected)
        # What others have reserved may never come: they must not keep a queue from asking for one.
        is_waiting = not self._held[queue] and not self._reserved[queue] and self._held_bytes < self._most_bytes
        return 1 if is_waiting else 0

    def may_ask_for_one(self, queue: str, *, cap: int | None = None) -> bool:
        """Whether this queue may ask for one message without a slot.

        It may while some slot has no message, or one that only waits for a rate limit.

        Args:
            queue: the queue's name.
            cap: the most messages of this queue.
        """
        is_full = self.in_the_way >= self._size()
        return not is_full and (cap is None or self._held[queue] < cap) and self._fitting(queue) > 0

    @property
    def in_the_way(self) -> int:
        """How many messages are in it that do not only wait for a rate limit."""
        return self._all_held - len(self._limited)

    def reserve(self, queue: str, count: int, *, most_bytes: int | None = None) -> Reservation:
        """Keep slots for the messages that a poll may bring; none, for one whose single message finds its place.

        Args:
            queue: the queue's name.
            count: how many slots.
            most_bytes: bytes that are kept at most.
        """
        size = int(count * self._expected.get(queue, MAX_MESSAGE))
        if most_bytes is not None:
            size = min(size, most_bytes)
        self._reserved[queue] += count
        self._all_reserved += count
        self._reserved_bytes += size
        return Reservation(queue, count, size)

    def release(self, reservation: Reservation) -> None:
        """The poll is over; what it brought is held, or was not wanted."""
        self._reserved[reservation.queue] -= reservation.count
        self._all_reserved -= reservation.count
        self._reserved_bytes -= reservation.size

    def hold(self, delivery: Delivery) -> None:
        """A message takes a slot."""
        self._held[delivery.queue] += 1
        self._all_held += 1
        self._held_bytes += delivery.size
        expected = self._expected.get(delivery.queue, 0.0)
        self._expected[delivery.queue] = max(1.0, delivery.size, expected * _SHRINK)

    def limit(self, delivery: Delivery) -> None:
        """A message waits for its task's rate limit: it is in nobody's way but its own queue's."""
        if delivery not in self._limited and not delivery.is_settled:
            self._limited.add(delivery)
            self._limited_of[delivery.queue] += 1

    def unlimit(self, delivery: Delivery) -> None:
        """It waits no more."""
        if delivery in self._limited:
            self._limited.discard(delivery)
            self._limited_of[delivery.queue] -= 1

    def free_slot(self, delivery: Delivery) -> None:
        """A message is settled."""
        if self._limited:
            self.unlimit(delivery)
        self._held[delivery.queue] -= 1
        self._all_held -= 1
        self._held_bytes -= delivery.size


class Reservation:
    """Slots that a poll keeps."""

    __slots__ = ("count", "queue", "size")

    def __init__(self, queue: str, count: int, size: int) -> None:
        self.queue, self.count, self.size = queue, count, size
