"""All queues of one account in one region: their names, their dead-letter queues, the moves from those back."""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass, field

from app.testing.sqs.attributes import QueueAttributes
from app.testing.sqs.errors import SQSError, invalid_parameter
from app.testing.sqs.queue import MAX_IN_FLIGHT, Delivery, Queue

RECREATE_AFTER = 60
"""Seconds before the name of a deleted queue may be used again.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html"""
MAX_LISTED_MOVES = 10
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(slots=True)
class Move:
    """A message move task: from a dead-letter queue to another queue, or to where each message came from."""

    handle: str
    source: Queue
    destination_arn: str | None
    rate: int | None
    started_at: float
    to_move: int
    moved: int = 0
    status: str = "RUNNING"
    failure: str | None = None

    def allowed(self, now: float) -> int:
        """How many more messages may be moved by now."""
        left = self.to_move - self.moved
        if self.rate is None:
            return left
        return max(0, min(left, int((now - self.started_at) * self.rate) - self.moved))

    def next_at(self) -> float:
        """When the next message may be moved."""
        return self.started_at if self.rate is None else self.started_at + (self.moved + 1) / self.rate


@dataclass(slots=True)
class Account:
    """The queues there are.

    Args:
        region: as in the ARNs.
        account_id: as in the ARNs and URLs.
        random_source: where ids come from; a seeded one gives the same ids again.
        max_in_flight: the quota of each queue.
    """

    region: str = "us-east-1"
    account_id: str = "000000000000"
    random_source: random.Random = field(default_factory=random.Random)
    max_in_flight: int = MAX_IN_FLIGHT
    queues: dict[str, Queue] = field(default_factory=dict)
    changed: set[Queue] = field(default_factory=set)
    """Queues in which something may have become visible, for those who wait; they take it away."""
    _by_arn: dict[str, Queue] = field(default_factory=dict)
    _deleted_at: dict[str, float] = field(default_factory=dict)
    _moves: deque[Move] = field(default_factory=lambda: deque(maxlen=1000))

    def arn(self, name: str) -> str:
        """The ARN of the queue with this name."""
        return f"arn:aws:sqs:{self.region}:{self.account_id}:{name}"

    def queue(self, name: str) -> Queue:
        """The queue with this name; `QueueDoesNotExist` if there is none."""
        queue = self.queues.get(name)
        if queue is None:
            raise SQSError("QueueDoesNotExist", "The specified queue does not exist.")
        return queue

    def create(
        self, now: float, name: str, attributes: dict[str, str] | None = None, tags: dict[str, str] | None = None
    ) -> Queue:
        """Make a queue, or give the one there is if its attributes agree with those that are asked for."""
        attributes = attributes or {}
        check_name(name, is_fifo=attributes.get("FifoQueue") == "true")
        if (existing := self.queues.get(name)) is not None:
            if (different := existing.attributes.different(attributes)) is not None:
                raise SQSError(
                    "QueueNameExists",
                    f"A queue already exists with the same name and a different value for attribute {different}",
                )
            return existing
        self._deleted_at = {n: at for n, at in self._deleted_at.items() if now - at < RECREATE_AFTER}
        if name in self._deleted_at:
            raise SQSError(
                "QueueDeletedRecently",
                f"You must wait {RECREATE_AFTER} seconds after deleting a queue before you can create another with "
                "the same name.",
            )
        arn = self.arn(name)
        settings = QueueAttributes(attributes)
        self._check_dead_letters(arn, settings)
        queue = Queue(
            name,
            arn=arn,
            attributes=settings,
            now=now,
            random_source=self.random_source,
            max_in_flight=self.max_in_flight,
        )
        queue.tags.update(tags or {})
        self.queues[name] = self._by_arn[arn] = queue
        return queue

    def set_attributes(self, now: float, queue: Queue, attributes: dict[str, str]) -> None:
        """Change some attributes of a queue; retention holds for the messages that are there too."""
        settings = queue.attributes.changed(attributes)
        if "RedrivePolicy" in attributes:
            self._check_dead_letters(queue.arn, settings)
        queue.attributes = settings
        queue.modified_at = now
        queue.advance(now)

    def _check_dead_letters(self, source_arn: str, settings: QueueAttributes) -> None:
        arn = settings.dead_letter_arn
        if arn is None:
            return
        target = self._by_arn.get(arn)
        policy = settings.values["RedrivePolicy"]
        if target is None and arn != source_arn:
            raise invalid_parameter(
                f"Value {policy} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist."
            )
        if target is not None and not target.attributes.allows_source(source_arn):
            raise invalid_parameter(
                f"Value {policy} for parameter RedrivePolicy is invalid. Reason: The dead letter target's "
                "RedriveAllowPolicy does not allow this queue."
            )

    def delete(self, now: float, queue: Queue) -> None:
        """Delete a queue and all that is in it."""
        queue.purge(now)
        del self.queues[queue.name]
        del self._by_arn[queue.arn]
        self._deleted_at[queue.name] = now

    def purge(self, now: float, queue: Queue) -> None:
        """Delete a queue's messages; not twice within 60 seconds."""
        if queue.purged_at is not None and 0 <= now - queue.purged_at < RECREATE_AFTER:
            raise SQSError(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {queue.name} is allowed every {RECREATE_AFTER} seconds.",
            )
        queue.purge(now)

    def receive(
        self, now: float, queue: Queue, *, count: int, visibility: float | None, stay_visible: bool = False
    ) -> list[Delivery]:
        """Receive from a queue; what has been received too often goes to its dead-letter queue instead."""
        arn = queue.attributes.dead_letter_arn
        target = None if arn is None else self._by_arn.get(arn)
        if target is queue:
            target = None  # a queue may name itself; nothing ever leaves it then
        before = 0 if target is None else len(target)
        deliveries = queue.receive(
            now, count=count, visibility=visibility, dead_letters=target, stay_visible=stay_visible
        )
        if target is not None and len(target) != before:
            self.changed.add(target)
        return deliveries

    def sources_of(self, queue: Queue) -> list[Queue]:
        """The queues whose dead-letter queue this is, by name."""
        return sorted(
            (q for q in self.queues.values() if q.attributes.dead_letter_arn == queue.arn), key=lambda q: q.name
        )

    # --- moves

    def start_move(self, now: float, source_arn: str, destination_arn: str | None, rate: int | None) -> Move:
        """Begin to move what is visible in a dead-letter queue; `run_moves` does it."""
        source = self._by_arn.get(source_arn)
        if source is None:
            raise _no_such_resource("SourceArn")
        if destination_arn is not None and destination_arn not in self._by_arn:
            raise _no_such_resource("DestinationArn")
        if destination_arn == source_arn:
            raise invalid_parameter("Source queue arn and destination queue arn cannot be the same.")
        if not self.sources_of(source):
            raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
        if any(move.source is source and move.status == "RUNNING" for move in self._moves):
            raise invalid_parameter(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given "
                "time."
            )
        source.advance(now)
        handle = f"AQEBmove{self.random_source.getrandbits(128):032x}"
        move = Move(handle, source, destination_arn, rate, now, source.visible)
        self._moves.append(move)
        return move

    def cancel_move(self, handle: str) -> Move:
        """Stop a move; what was moved stays moved."""
        for move in self._moves:
            if move.handle == handle:
                if move.status != "RUNNING":
                    raise SQSError("ResourceNotFoundException", "Only active tasks can be cancelled.")
                move.status = "CANCELLED"
                return move
        if not handle.startswith("AQEBmove"):
            raise invalid_parameter("Value for parameter TaskHandle is invalid.")
        raise SQSError("ResourceNotFoundException", "Task does not exist.")

    def moves_from(self, source_arn: str, count: int) -> list[Move]:
        """The latest moves from a queue, newest first."""
        source = self._by_arn.get(source_arn)
        if source is None:
            raise _no_such_resource("SourceArn")
        moves = [move for move in self._moves if move.source is source]
        return moves[::-1][: min(count, MAX_LISTED_MOVES)]

    def run_moves(self, now: float, *, at_most: int = 1000) -> float | None:
        """Move what may be moved by now, up to `at_most` messages; when to come back, `None` when all is done."""
        again: float | None = None
        for move in self._moves:
            if move.status != "RUNNING":
                continue
            for _ in range(min(at_most, move.allowed(now))):
                if not self._move_one(now, move):
                    break
            if move.status == "RUNNING" and move.moved >= move.to_move:
                move.status = "COMPLETED"
            if move.status == "RUNNING":
                again = move.next_at() if again is None else min(again, move.next_at())
        return again

    def _move_one(self, now: float, move: Move) -> bool:
        if self.queues.get(move.source.name) is not move.source:
            move.status, move.failure = "FAILED", "AWS.SimpleQueueService.NonExistentQueue"
            return False
        message = move.source.peek(now)
        if message is None:  # others received or deleted what was to be moved
            move.to_move = move.moved
            return False
        arn = move.destination_arn or message.source_arn
        target = None if arn is None else self._by_arn.get(arn)
        if target is None:
            move.status = "FAILED"
            move.failure = (
                "CouldNotDetermineMessageSource" if arn is None else "AWS.SimpleQueueService.NonExistentQueue"
            )
            return False
        move.source.discard(message)
        # A redriven message is a new one: its id, its time and its retention begin again.
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
        target.send(now, message.draft, delay=0)
        self.changed.add(target)
        move.moved += 1
        return True


def check_name(name: str, *, is_fifo: bool = False) -> None:
    """Whether a queue may have this name; `SQSError` if not."""
    if is_fifo or name.endswith(".fifo"):
        raise SQSError("UnsupportedOperation", "This local server has standard queues only, no FIFO queues.")
    if not _QUEUE_NAME.fullmatch(name):
        raise invalid_parameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")


def _no_such_resource(parameter: str) -> SQSError:
    return SQSError(
        "ResourceNotFoundException", f"The resource that you specified for the {parameter} parameter doesn't exist."
    )
