"""Hops: a message that is due later than SQS can hold it back is sent again with the longest delay, until it is due.

The message is deleted once its copy is there, so none is lost if the process dies in between; but then there are two of
it, as where SQS's answer is lost. So each copy says of which message it is a copy, and which hop this is: what comes
here and is another one of a message that is in work here, or was done or sent on, is dropped.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.transport.copies import copy_of
from app.transport.engine import Failure, Kind
from app.transport.episode import Episode

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.announcer import Announcer
    from app.transport.delivery import Delivery
    from app.transport.engine import Engine
    from app.transport.outbox import Outbox

#: The name of the attribute that a copy has: JSON, with `message_id` (the first message's) and `hop` (1, 2, …).
ATTRIBUTE = "sluice-hop"
#: Messages that are remembered.
_MOST = 10_000

_FIFO = Failure(Kind.PERMANENT, "FIFO", "a FIFO queue delays no single message")


@dataclass(slots=True)
class _Way:
    """How far a message has come here: its last hop, as which message that came, and whether it was sent on."""

    hop: int
    message_id: str
    is_sent_on: bool = False


class Hops:
    """Sends messages again that are not due. Belongs to the engine's thread.

    Args:
        engine: its clock.
        outbox: carries the copies.
        longest: seconds that SQS can hold a message back.
        in_work: whether the message with this id is in work here.
        is_done: whether it was done here: run, sent on, or sent to the dead-letter queue.
        announce: sends signals.
        most: messages that are remembered.
    """

    def __init__(
        self,
        engine: Engine,
        outbox: Outbox,
        *,
        longest: int,
        in_work: Callable[[str], bool],
        is_done: Callable[[str], bool],
        announce: Announcer,
        most: int = _MOST,
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self._longest = longest
        self._in_work = in_work
        self._is_done = is_done
        self._announce = announce
        self._most = most
        self._ways: OrderedDict[str, _Way] = OrderedDict()
        self._episodes: dict[str, Episode] = {}

    def __len__(self) -> int:
        """Messages that are remembered."""
        return len(self._ways)

    def is_duplicate(self, delivery: Delivery) -> bool:
        """Whether what is received here is in work here already, or was done, as another copy of the same message."""
        is_copy = ATTRIBUTE in delivery.message_attributes
        if not is_copy and delivery.message_id not in self._ways:
            return False
        first, hop = _hop(delivery)
        way = self._ways.get(first) or _Way(0, first)
        if way.message_id != delivery.message_id:
            is_next = way.is_sent_on and hop > way.hop
            if self._in_work(way.message_id) or (self._is_done(way.message_id) and not is_next):
                return True
        if hop >= way.hop:
            self._remember(first, _Way(hop, delivery.message_id))
        return False

    def _remember(self, first: str, way: _Way) -> None:
        self._ways[first] = way
        self._ways.move_to_end(first)
        if len(self._ways) > self._most:
            self._ways.popitem(last=False)

    def send(self, delivery: Delivery, seconds: float, done: Callable[[bool], None]) -> None:
        """Send it once more, to come in `seconds` or in as many as SQS allows; `done` gets whether that was done."""
        episode = self._episode(delivery.queue)

        def sent(failure: Failure | None) -> None:
            if failure is None:
                episode.worked()
            else:
                episode.failed(failure)
            done(failure is None)

        if delivery.url.endswith(".fifo"):
            sent(_FIFO)
            return
        first, hop = _hop(delivery)
        self._remember(first, _Way(hop, delivery.message_id, is_sent_on=True))
        note = json.dumps({"message_id": first, "hop": hop + 1})
        delay = min(math.ceil(seconds), self._longest)
        copy = copy_of(delivery, delivery.url, note=(ATTRIBUTE, note), delay=delay)
        # Half of what is left of the lease is kept, to have the message stay invisible where this fails.
        now = self._engine.clock.monotonic()
        self._outbox.send(delivery, copy, sent, until=now + (delivery.leased_until - now) / 2)

    def _episode(self, queue: str) -> Episode:
        if queue not in self._episodes:
            self._episodes[queue] = Episode(
                queue, "sending again what is due later", clock=self._engine.clock, announce=self._announce
            )
        return self._episodes[queue]


def _hop(delivery: Delivery) -> tuple[str, int]:
    """Of which message it is a copy, and which hop it is on; what says neither is the first message itself."""
    try:
        said = json.loads(delivery.message_attributes[ATTRIBUTE]["StringValue"])
        return str(said["message_id"]), int(said["hop"])
    except (KeyError, TypeError, ValueError):
        return delivery.message_id, 0
