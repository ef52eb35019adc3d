"""Leases: every message that we received and have not settled, and the renewal of its visibility timeout, in time.

A message is ours from the receive on: while it waits for a slot in the pool or for a rate limit, and while its task
runs. Its lease is short, so that a crash gives it back soon, and is renewed in batches when somewhat more than half of
it is over. What has not begun after one lease goes back: it could have begun elsewhere. Only what its task's rate limit
holds back is kept: going round would cost it a receive each time, and there are so many until the dead-letter queue.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from app.outcome import RETURNED
from app.signals import lease_lost
from app.transport.aws import MAX_VISIBILITY
from app.transport.custody.outbox import OUTDATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.transport.custody.delivery import Delivery
    from app.transport.custody.outbox import Outbox
    from app.transport.engine import Engine, Failure

logger = logging.getLogger(__name__)

#: The part of a lease after which it is renewed; the rest is for the renewal's own trouble.
_RENEW_AFTER = 0.55
#: The part of a lease by which what is planned may be late, to share a call.
_SPAN = 0.05
#: Seconds by which the longest lease is kept short of what SQS allows: it hears of a renewal later than we ask.
_SHORT_OF = 5


class Leases:
    """The deliveries in our hands, by message. Belongs to the engine's thread.

    Args:
        engine: its timers and its clock.
        outbox: carries the renewals.
        longest: seconds for which SQS lets a message be kept, renewals included.
    """

    def __init__(self, engine: Engine, outbox: Outbox, *, longest: int = MAX_VISIBILITY) -> None:
        self._engine = engine
        self._outbox = outbox
        self._longest = longest - _SHORT_OF
        self._held: dict[str, Delivery] = {}
        self._renewals = _Schedule(engine, self._renew)
        self._returns = _Schedule(engine, self._give_back)
        #: Leases lost so far.
        self.lost = 0

    def __repr__(self) -> str:
        return f"<Leases: {len(self._held)} held, {self.lost} lost>"

    def __len__(self) -> int:
        return len(self._held)

    def held(self, message_id: str) -> Delivery | None:
        """What we have of this message."""
        return self._held.get(message_id)

    def is_ours(self, message_id: str) -> bool:
        """Whether this message is in our hands, and nobody else can have it."""
        held = self._held.get(message_id)
        return held is not None and not held.is_lost and held.leased_until > self._engine.clock.monotonic()

    def overdue(self, message_id: str) -> Delivery | None:
        """What we have of this message if its task still runs although its time limit is over."""
        held = self._held.get(message_id)
        is_overdue = held is not None and held.ends_at is not None and held.ends_at <= self._engine.clock.monotonic()
        return held if is_overdue else None

    def __iter__(self) -> Iterator[Delivery]:
        return iter(list(self._held.values()))

    def take(self, delivery: Delivery) -> bool:
        """A message was received. False: it is in our hands already, and what we have of it has the new receipt now.

        That holds for one that is settled and of which SQS is to be told in a moment, too.
        """
        held = self._held.setdefault(delivery.message_id, delivery)
        if held is delivery:
            self._returns.add(delivery, delivery.leased_until)
        else:
            held.receive_again(delivery)
        self._plan(held)
        return held is delivery

    def started(self, delivery: Delivery) -> None:
        """Its task begins, and its time limit begins anew; from any thread.

        If its lease was looked at already, that was by the earlier limit.
        """
        if self._engine.clock.monotonic() >= _renew_at(delivery):
            self._engine.call_soon(self._look_again, delivery)

    def let_go(self, delivery: Delivery) -> None:
        """It is settled: nothing is renewed any more."""
        if self._held.get(delivery.message_id) is delivery:
            del self._held[delivery.message_id]
            self._renewals.remove(delivery)
            self._returns.remove(delivery)

    def _look_again(self, delivery: Delivery) -> None:
        if self._held.get(delivery.message_id) is delivery:
            self._plan(delivery)

    def _plan(self, delivery: Delivery) -> None:
        self._renewals.add(delivery, _renew_at(delivery))

    def _give_back(self, delivery: Delivery) -> None:
        """One lease is over since the receive; what its rate limit holds back is kept for as long as SQS allows."""
        end = delivery.received_at + self._longest - delivery.visibility
        if delivery.rate_limited_at is not None and self._engine.clock.monotonic() < end:
            self._returns.add(delivery, end)
        elif delivery.claim():
            delivery.settle(RETURNED)

    def _renew(self, delivery: Delivery) -> None:
        if delivery.is_settled or delivery.is_lost:
            return
        now = self._engine.clock.monotonic()
        if delivery.leased_until <= now:
            self._lose(delivery, self._why_over(delivery, now))
            return
        end = delivery.received_at + self._longest
        if delivery.ends_at is not None:
            end = min(end, delivery.ends_at)
        if delivery.leased_until >= end:
            self._renewals.add(delivery, delivery.leased_until)
            return
        seconds = math.ceil(min(delivery.visibility, end - now))
        receipt, until = delivery.receipt, now + seconds
        self._outbox.renew(
            delivery,
            seconds,
            lambda failure: self._renewed(delivery, receipt, until, failure),
            until=delivery.leased_until,
        )

    def _renewed(self, delivery: Delivery, receipt: str, until: float, failure: Failure | None) -> None:
        if delivery.is_settled or delivery.receipt != receipt:
            return  # received once more since, it has a newer lease
        if failure is None:
            delivery.leased_until = until
            self._plan(delivery)
        elif failure is OUTDATED:
            self._renew(delivery)
        else:
            self._lose(delivery, str(failure))

    def _lose(self, delivery: Delivery, why: str) -> None:
        self.lost += 1
        delivery.is_lost = True
        logger.error(
            "Queue %s: the lease of message %s is lost (%s): it may run a second time",
            delivery.queue,
            delivery.message_id,
            why,
        )
        facts = {"queue": delivery.queue, "message_id": delivery.message_id, "reason": why}
        delivery.custody.announce(lease_lost, sender=delivery.queue, **facts)
        if delivery.claim():
            delivery.custody.drop(delivery)

    def _why_over(self, delivery: Delivery, now: float) -> str:
        if delivery.ends_at is not None and delivery.ends_at <= now:
            return "its time limit is over and it still runs"
        if now - delivery.received_at >= self._longest:
            return "SQS lets nobody keep a message for more than 12 hours"
        return "it was not renewed in time: this process stood still"


def _renew_at(delivery: Delivery) -> float:
    return delivery.leased_until - delivery.visibility * (1 - _RENEW_AFTER)


class _Schedule:
    """What is to be done to deliveries at their time, in batches.

    Time is cut into spans, each a part of a lease long, and what is planned for a span is done at its end: never early,
    and one span late at most. Adding and removing take the same time however much is planned, since both are done with
    every message, and what is removed leaves nothing behind: a lease may be hours long.

    Args:
        engine: its timers and its clock.
        call: gets the delivery.
    """

    def __init__(self, engine: Engine, call: Callable[[Delivery], None]) -> None:
        self._engine = engine
        self._call = call
        #: By the length of the lease and the number of the span.
        self._planned: dict[tuple[int, int], dict[Delivery, None]] = {}
        self._span_of: dict[Delivery, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._span_of)

    def add(self, delivery: Delivery, at: float) -> None:
        """Plan it for that time, and for no other."""
        self.remove(delivery)
        length = delivery.visibility * _SPAN
        span = delivery.visibility, math.floor(at / length) + 1
        if span not in self._planned:
            self._engine.call_later(max(0.0, span[1] * length - self._engine.clock.monotonic()), self._run, span)
            self._planned[span] = {}
        self._planned[span][delivery] = None
        self._span_of[delivery] = span

    def remove(self, delivery: Delivery) -> None:
        """Plan it no more."""
        if (span := self._span_of.pop(delivery, None)) is not None:
            del self._planned[span][delivery]

    def _run(self, span: tuple[int, int]) -> None:
        for delivery in self._planned.pop(span):
            del self._span_of[delivery]
            self._engine.call_soon(self._call, delivery)  # each by itself: an error with one is none with all
