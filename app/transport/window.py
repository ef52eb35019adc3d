"""The window: the slots for messages that are received and not settled, counted in messages and in bytes.

A slot is a place here and not in the pool: there are as many as the pool has places, and more as long as tasks are so
quick that what waits begins soon. Polls reserve slots before they ask, so nothing is received that has none.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.delivery import Delivery

#: The largest message. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_LARGEST = 2**20
#: How slowly the size that is expected of a queue's messages shrinks, message by message; it grows at once.
_SHRINK = 0.99


class Window:
    """The slots of one consumer, for all its queues. Belongs to the engine's thread.

    Args:
        size: how many slots there are now; 0 is none to speak of.
        most_bytes: bytes of message bodies held, beyond which nothing is asked for; one message may exceed it.
    """

    def __init__(self, size: Callable[[], int], *, most_bytes: int) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self._held: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        self._held_bytes = 0
        self._reserved_bytes = 0
        self._expected: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Window: {self.held} of {self.size} slots held, {self._reserved.total()} reserved>"

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size()

    @property
    def held(self) -> int:
        """How many messages are in it."""
        return self._held.total()

    @property
    def held_bytes(self) -> int:
        """The bytes of their bodies."""
        return self._held_bytes

    def held_of(self, queue: str) -> int:
        """How many of them are the queue's."""
        return self._held[queue]

    def free(self, queue: str, *, cap: int | None = None) -> int:
        """Slots that a poll of this queue may reserve.

        Args:
            queue: the queue's name.
            cap: the most messages of this queue, held or asked for.
        """
        free = self.size - self.held - self._reserved.total()
        if cap is not None:
            free = min(free, cap - self._held[queue] - self._reserved[queue])
        if free <= 0:
            return 0
        left = self._most_bytes - self._held_bytes - self._reserved_bytes
        by_bytes = int(left / self._expected.get(queue, _LARGEST))
        if by_bytes < 1 and not self._held_bytes and not self._reserved_bytes:
            by_bytes = 1
        return max(0, min(free, by_bytes))

    def reserve(self, queue: str, count: int) -> Reservation:
        """Keep slots for the messages that a poll may bring."""
        size = int(count * self._expected.get(queue, _LARGEST))
        self._reserved[queue] += count
        self._reserved_bytes += size
        return Reservation(queue, count, size)

    def release(self, reservation: Reservation) -> None:
        """The poll is over; what it brought is held, or was not wanted."""
        self._reserved[reservation.queue] -= reservation.count
        self._reserved_bytes -= reservation.size

    def hold(self, delivery: Delivery) -> None:
        """A message takes a slot."""
        self._held[delivery.queue] += 1
        self._held_bytes += delivery.size
        expected = self._expected.get(delivery.queue, 0.0)
        self._expected[delivery.queue] = max(1.0, delivery.size, expected * _SHRINK)

    def free_slot(self, delivery: Delivery) -> None:
        """A message is settled."""
        self._held[delivery.queue] -= 1
        self._held_bytes -= delivery.size


class Reservation:
    """Slots that a poll keeps."""

    __slots__ = ("count", "queue", "size")

    def __init__(self, queue: str, count: int, size: int) -> None:
        self.queue, self.count, self.size = queue, count, size
