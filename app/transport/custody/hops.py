"""Hops: a message that is due later than SQS can hold it back is sent again with the longest delay, until it is due.

The message is deleted once its copy is there, so none is lost if the process dies in between; but then there are two of
it, as where SQS's answer is lost. So each copy says of which message it is a copy, and which hop this is: what comes
here and is not needed any more, since another one has come as far or was done, is dropped.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from app.transport.custody.copies import copy_of
from app.transport.engine import Failure, Kind
from app.transport.episode import Episode

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.announcer import Announcer
    from app.transport.custody.delivery import Delivery
    from app.transport.custody.done import Done
    from app.transport.custody.outbox import Outbox
    from app.transport.engine import Engine

#: The name of the attribute that a copy has: JSON, with `message_id` (the first message's) and `hop` (1, 2, …).
ATTRIBUTE = "sluice-hop"
#: Messages that are remembered.
_MOST = 10_000
#: Hops that a message can take: with the longest delay, some thirty thousand years.
_MOST_HOPS = 1_000_000_000

_FIFO = Failure(Kind.PERMANENT, "FIFO", "a FIFO queue delays no single message")


class Hops:
    """Sends messages again that are not due. Belongs to the engine's thread.

    Args:
        engine: its clock.
        outbox: carries the copies.
        done: what is done here.
        is_ours: whether the message with this id is in our hands, its lease included.
        replace: called with the id of what is not needed any more, if it is in our hands and has not begun, and with
            what has come further.
        longest: seconds that SQS can hold a message back.
        announce: sends signals.
        most: messages that are remembered.
    """

    def __init__(
        self,
        engine: Engine,
        outbox: Outbox,
        done: Done,
        *,
        is_ours: Callable[[str], bool],
        replace: Callable[[str, Delivery], None],
        longest: int,
        announce: Announcer,
        most: int = _MOST,
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self._done = done
        self._is_ours = is_ours
        self._replace = replace
        self._longest = longest
        self._announce = announce
        self._most = most
        #: How far each message has come here: its last hop, and its id then.
        self._ways: OrderedDict[tuple[str, int], tuple[int, str]] = OrderedDict()
        self._episodes: dict[str, Episode] = {}

    def __len__(self) -> int:
        """Messages that are remembered."""
        return len(self._ways)

    def is_wanted(self, delivery: Delivery) -> bool:
        """Whether what is received here is to be kept, and not a copy of what was done here, or has come as far.

        What is dropped must be somewhere else, whatever happens to whoever has it. So what came furthest is never
        dropped for what is on an earlier hop, as that may count as sent on elsewhere; it takes its place.
        """
        is_copy = ATTRIBUTE in delivery.message_attributes
        if not is_copy and (not self._ways or _way(delivery.message_id, delivery) not in self._ways):
            return True  # as nearly all are
        first, hop = _hop(delivery)
        last_hop, last = self._ways.get(_way(first, delivery), (0, first))
        if last != delivery.message_id:
            if self._done.is_for_good(last):
                return False
            if hop <= last_hop and (last in self._done or self._is_ours(last)):
                return False
            if hop > last_hop:
                self._replace(last, delivery)
        if hop >= last_hop:
            self._remember(first, hop, delivery)
        return True

    def _remember(self, first: str, hop: int, delivery: Delivery) -> None:
        way = _way(first, delivery)
        self._ways[way] = hop, delivery.message_id
        self._ways.move_to_end(way)
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
        self._remember(first, hop, delivery)
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


def _way(first: str, delivery: Delivery) -> tuple[str, int]:
    """Names a message over all its hops: by the id that it had at first and by its content, which no copy can change.

    The id alone would let any message name itself another's copy, and have that one dropped.
    """
    return first, hash(delivery.body)


def _hop(delivery: Delivery) -> tuple[str, int]:
    """Of which message it is a copy, and which hop it is on; what says neither is the first message itself."""
    try:
        said = json.loads(delivery.message_attributes[ATTRIBUTE]["StringValue"])
        first, hop = said["message_id"], said["hop"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return delivery.message_id, 0
    is_said = isinstance(first, str) and type(hop) is int and 0 < hop < _MOST_HOPS
    return (first, hop) if is_said else (delivery.message_id, 0)
