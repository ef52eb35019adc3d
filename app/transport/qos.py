"""The prefetch window: what was received and is not settled."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kombu.transport import virtual


class QoS(virtual.QoS):
    """What is in the window, by receipt handle; only the consumer's thread changes it."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        #: How many messages of each queue are in the window.
        self.held: Counter[str] = Counter()

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message takes a slot."""
        super().append(message, delivery_tag)
        self.held[message.delivery_info["routing_key"]] += 1

    def unsettled(self, delivery_tag: str) -> Any:
        """The message, as long as it has a slot; else None."""
        return None if delivery_tag in self._dirty else self._delivered.get(delivery_tag)

    def settle(self, delivery_tag: str) -> None:
        """The message gives its slot back, if it has one."""
        message = self.unsettled(delivery_tag)
        if message is not None:
            self.held[message.delivery_info["routing_key"]] -= 1
            self.ack(delivery_tag)

    def restore_unacked(self) -> list[tuple[BaseException, Any]]:
        """Hand everything unsettled back to SQS at once (visibility 0), ten a call."""
        self._flush()
        by_queue: dict[str, list[str]] = {}
        for receipt, message in self._delivered.items():
            by_queue.setdefault(message.delivery_info["sqs_queue"], []).append(receipt)
        self._delivered.clear()
        self.held.clear()
        for queue_url, receipts in by_queue.items():
            self.channel.release(queue_url, receipts)
        return []
