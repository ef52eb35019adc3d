"""One standard queue: what is waiting, what is in flight, what is delayed, and what is too old.

Pure: every method takes the time. Nothing is ever searched for: each structure holds messages in the order in which
something happens to them, entries that no longer hold are skipped when their turn comes, and a structure that is
mostly such entries is made anew. So a call costs the same at a backlog of ten and of a million.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.testing.sqs.errors import SQSError, invalid_parameter
from app.testing.sqs.message import Draft, Message, State

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from app.testing.sqs.attributes import QueueAttributes

MAX_VISIBILITY = 43_200
"""Seconds that one receipt may keep a message, extensions and all: 12 hours."""
MAX_IN_FLIGHT = 120_000
"""Messages of one queue in flight.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
_SLACK = 1024
"""Entries that no longer hold are kept up to some of this number, or to that of the ones that do."""

_HANDLE = re.compile(r"(AQEB[0-9a-f]{16})([0-9a-f]{1,15})-([0-9a-f]{1,15})")
_VISIBLE, _IN_FLIGHT, _DELAYED, _GONE = State.VISIBLE, State.IN_FLIGHT, State.DELAYED, State.GONE


def _still_holds(entry: tuple[float, int, Message]) -> bool:
    """Whether this is what the message waits for; else it was deleted, released or extended since."""
    _, ticket, message = entry
    return message.ticket == ticket and (message.state is _IN_FLIGHT or message.state is _DELAYED)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One receipt of a message."""

    message: Message
    receipt_handle: str
    receives: int


class Queue:
    """The messages of one queue and its attributes.

    Args:
        name: the queue's name.
        arn: its ARN.
        attributes: its settings; replaced as a whole when they change.
        now: seconds since the epoch.
        random_source: where message ids and receipt handles come from.
        max_in_flight: the quota.
    """

    def __init__(
        self,
        name: str,
        *,
        arn: str,
        attributes: QueueAttributes,
        now: float,
        random_source: random.Random,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self.name = name
        self.arn = arn
        self.attributes = attributes
        self.tags: dict[str, str] = {}
        self.created_at = self.modified_at = now
        self.purged_at: float | None = None
        self.max_in_flight = max_in_flight
        self.visible = self.in_flight = self.delayed = 0
        self._random = random_source
        # Handles begin with this, so that those of another queue, or of this name's queue before, are not taken.
        self._token = f"AQEB{random_source.getrandbits(64):016x}"
        self._next_number = 1
        self._messages: dict[int, Message] = {}
        self._fresh: deque[Message] = deque()
        self._returned: deque[Message] = deque()
        self._returned_turn = True
        # Delayed and in flight: (visible at, ticket, message). The message knows its latest ticket.
        self._hidden: list[tuple[float, int, Message]] = []
        self._next_ticket = 1
        self._stale = 0
        # By age: those that came in order, and those that did not (moved here from elsewhere, or the clock went back).
        self._by_age: deque[Message] = deque()
        self._by_age_odd: list[tuple[float, int, Message]] = []

    def __repr__(self) -> str:
        return f"<Queue {self.name}: {self.visible} visible, {self.in_flight} in flight, {self.delayed} delayed>"

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages.values())

    # --- in

    def send(self, now: float, draft: Draft, *, delay: float | None = None) -> Message:
        """Take a message in; `delay` in seconds, by default the queue's own."""
        bits = self._random.getrandbits(128)
        digits = f"{bits:032x}"
        message_id = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
        message = Message(self._next_number, message_id, draft, now)
        self._add(message, now + (self.attributes.delay if delay is None else delay), now)
        return message

    def adopt(self, now: float, message: Message, *, source_arn: str) -> None:
        """Take a message over from the queue whose dead-letter queue this is.

        It keeps its id, the receives that it shows and the time it was sent: a standard queue's retention goes by
        that time. A `maxReceiveCount` of this queue counts the receives from here only.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
        """
        moved = Message(self._next_number, message.id, message.draft, message.sent_at)
        moved.receives = message.receives
        moved.received_at = message.received_at
        moved.first_received_at = message.first_received_at
        moved.source_arn = source_arn
        self._add(moved, now, now)

    def _add(self, message: Message, visible_at: float, now: float) -> None:
        self._next_number += 1
        self._messages[message.number] = message
        if visible_at > now:
            self._hide(message, _DELAYED, visible_at)
        else:
            self.visible += 1
            self._fresh.append(message)
        if self._by_age and message.sent_at < self._by_age[-1].sent_at:
            heapq.heappush(self._by_age_odd, (message.sent_at, message.number, message))
        else:
            self._by_age.append(message)

    def _hide(self, message: Message, state: State, until: float) -> None:
        message.state = state
        if state is _DELAYED:
            self.delayed += 1
        else:
            self.in_flight += 1
        message.ticket = self._next_ticket
        self._next_ticket += 1
        heapq.heappush(self._hidden, (until, message.ticket, message))

    # --- time

    def advance(self, now: float) -> None:
        """Let what is due by `now` happen: delays and visibility timeouts end, old messages go."""
        hidden = self._hidden
        while hidden and hidden[0][0] <= now:
            entry = heapq.heappop(hidden)
            if _still_holds(entry):
                self._show(entry[2])
        oldest = now - self.attributes.retention
        while self._by_age and (self._by_age[0].state is _GONE or self._by_age[0].sent_at <= oldest):
            self._remove(self._by_age.popleft())
        while self._by_age_odd and (self._by_age_odd[0][2].state is _GONE or self._by_age_odd[0][0] <= oldest):
            self._remove(heapq.heappop(self._by_age_odd)[2])

    def next_change(self) -> float | None:
        """When the next hidden message becomes visible; `None` if none is hidden."""
        hidden = self._hidden
        while hidden:
            if _still_holds(hidden[0]):
                return hidden[0][0]
            heapq.heappop(hidden)
        return None

    def _show(self, message: Message) -> None:
        if message.state is _DELAYED:
            self.delayed -= 1
            self._fresh.append(message)
        else:
            self.in_flight -= 1
            self._returned.append(message)
        message.state = _VISIBLE
        self.visible += 1

    def _remove(self, message: Message) -> None:
        state = message.state
        if state is _GONE:
            return
        if state is _VISIBLE:
            self.visible -= 1
        elif state is _IN_FLIGHT:
            self.in_flight -= 1
        else:
            self.delayed -= 1
        message.state = _GONE
        del self._messages[message.number]
        self._stale += 1
        if self._stale > _SLACK:
            self._tidy()

    def _tidy(self) -> None:
        """Make a structure anew once most of it no longer holds: constant cost per message that went."""
        self._stale = 0
        if len(self._hidden) > _SLACK + 2 * (self.in_flight + self.delayed):
            self._hidden = [entry for entry in self._hidden if _still_holds(entry)]
            heapq.heapify(self._hidden)
        if len(self._fresh) + len(self._returned) > _SLACK + 2 * self.visible:
            self._fresh = deque(m for m in self._fresh if m.state is _VISIBLE)
            self._returned = deque(m for m in self._returned if m.state is _VISIBLE)
        if len(self._by_age) + len(self._by_age_odd) > _SLACK + 2 * len(self._messages):
            self._by_age = deque(m for m in self._by_age if m.state is not _GONE)
            self._by_age_odd = [entry for entry in self._by_age_odd if entry[2].state is not _GONE]
            heapq.heapify(self._by_age_odd)

    # --- out

    def receive(
        self,
        now: float,
        *,
        count: int = 1,
        visibility: float | None = None,
        dead_letters: Queue | None = None,
        stay_visible: bool = False,
    ) -> list[Delivery]:
        """Hand out up to `count` visible messages and hide them for `visibility` seconds (by default the queue's own).

        One that has been received `maxReceiveCount` times moves to `dead_letters` instead. `stay_visible` hands them
        out without hiding them: so does AWS now and then, and the next receive gets them again.
        """
        self.advance(now)
        count = min(count, self.max_in_flight - self.in_flight)
        deliveries: list[Delivery] = []
        if count <= 0 or not self.visible:
            return deliveries
        until = now + (self.attributes.visibility if visibility is None else visibility)
        max_receives = self.attributes.max_receives if dead_letters is not None else None
        again: list[Message] = []
        while len(deliveries) < count and self.visible:
            message = self._pop_visible()
            if max_receives is not None and message.receives_here >= max_receives and dead_letters is not None:
                self._remove(message)
                dead_letters.adopt(now, message, source_arn=self.arn)
                continue
            message.receives += 1
            message.receives_here += 1
            message.received_at = now
            if message.receives == 1:
                message.first_received_at = now
            if stay_visible or until <= now:
                again.append(message)
                self.visible -= 1
            else:
                self.visible -= 1
                self._hide(message, _IN_FLIGHT, until)
            handle = f"{self._token}{message.number:x}-{message.receives:x}"
            deliveries.append(Delivery(message, handle, message.receives))
        self.visible += len(again)
        self._returned.extend(again)
        return deliveries

    def _pop_visible(self) -> Message:
        """The next visible message: in turn one that came back and one that is new.

        What was released must not wait behind a long backlog, and must not hold it up either.
        """
        while True:
            self._returned_turn = not self._returned_turn
            source = self._returned if (self._returned_turn and self._returned) or not self._fresh else self._fresh
            message = source.popleft()
            if message.state is _VISIBLE:
                return message

    def delete(self, handle: str) -> bool:
        """Delete by receipt handle; whether a message went.

        A handle from before the latest receive, or of a message that is gone, changes nothing and is no error.
        """
        message, receives = self._find(handle)
        if message is None or message.receives != receives:
            return False
        self._remove(message)
        return True

    def change_visibility(self, now: float, handle: str, timeout: float) -> None:
        """Let a message in flight become visible `timeout` seconds from now; 0 at once."""
        self.advance(now)
        message, _ = self._find(handle)
        if message is None:
            raise invalid_parameter(
                f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not "
                "available for visibility timeout change."
            )
        if message.state is not _IN_FLIGHT:
            raise SQSError("MessageNotInflight", "The specified message isn't in flight.")
        if now + timeout > message.received_at + MAX_VISIBILITY:
            raise invalid_parameter(
                f"Value {timeout:g} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for "
                f"the message is beyond the limit [{MAX_VISIBILITY} seconds]."
            )
        if timeout <= 0:
            self._show(message)
            return
        self.in_flight -= 1
        self._hide(message, _IN_FLIGHT, now + timeout)
        self._stale += 1
        if self._stale > _SLACK:
            self._tidy()

    def _find(self, handle: str) -> tuple[Message | None, int]:
        """The message of a handle, `None` if it is gone, and which receive the handle is of."""
        match = _HANDLE.fullmatch(handle)
        if match is None or match[1] != self._token or (number := int(match[2], 16)) >= self._next_number:
            raise SQSError(
                "ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.'
            )
        return self._messages.get(number), int(match[3], 16)

    def peek(self, now: float) -> Message | None:
        """The visible message that would be received next; `None` if there is none."""
        self.advance(now)
        if not self.visible:
            return None
        message = self._pop_visible()
        (self._returned if message.receives else self._fresh).appendleft(message)
        return message

    def discard(self, message: Message) -> None:
        """Remove a message that is in this queue."""
        self._remove(message)

    def purge(self, now: float) -> None:
        """Delete every message, in flight or not."""
        for message in self._messages.values():
            message.state = _GONE
        self._messages.clear()
        self._fresh.clear()
        self._returned.clear()
        self._hidden.clear()
        self._by_age.clear()
        self._by_age_odd.clear()
        self.visible = self.in_flight = self.delayed = 0
        self.purged_at = now
