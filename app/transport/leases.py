"""Leases: every message that we received and have not settled, and the renewal of its visibility timeout, in time.

A message is ours from the receive on: while it waits for a slot in the pool or for a rate limit, and while its task
runs. Its lease is short, so that a crash gives it back soon, and is renewed in batches when six tenths of it are over.
What has not begun after one lease goes back: it could have begun elsewhere.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import TYPE_CHECKING

from app.outcome import RETURNED
from app.transport.aws import MAX_VISIBILITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.transport.delivery import Delivery
    from app.transport.engine import Engine, Failure, Timer
    from app.transport.outbox import Outbox

logger = logging.getLogger(__name__)

#: The part of a lease after which it is renewed; the rest is for the renewal's own trouble.
_RENEW_AFTER = 0.6
#: The part of a lease by which a renewal may be early, to share a call.
_EARLY = 0.1


class Leases:
    """The deliveries in our hands, by message. Belongs to the engine's thread.

    Args:
        engine: its timers and its clock.
        outbox: carries the renewals.
    """

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._held: dict[str, Delivery] = {}
        self._renewals = _Schedule(engine, self._renew, early=_EARLY)
        self._returns = _Schedule(engine, self._give_back, early=0.0)
        #: Leases lost so far.
        self.lost = 0

    def __repr__(self) -> str:
        return f"<Leases: {len(self._held)} held, {self.lost} lost>"

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(list(self._held.values()))

    def take(self, delivery: Delivery) -> bool:
        """A message was received. False: it is in work here already, and that one has the new receipt now."""
        held = self._held.get(delivery.message_id)
        if held is not None and not held.is_settled:
            held.receipt, held.attributes = delivery.receipt, delivery.attributes
            held.leased_until, held.is_lost = delivery.leased_until, False
            self._plan(held)
            return False
        self._held[delivery.message_id] = delivery
        self._plan(delivery)
        self._returns.add(delivery, delivery.received_at + delivery.visibility)
        return True

    def let_go(self, delivery: Delivery) -> None:
        """It is settled: nothing is renewed any more."""
        if self._held.get(delivery.message_id) is delivery:
            del self._held[delivery.message_id]

    def _plan(self, delivery: Delivery) -> None:
        self._renewals.add(delivery, delivery.leased_until - delivery.visibility * (1 - _RENEW_AFTER))

    def _give_back(self, delivery: Delivery, at: float) -> None:
        """One lease is over since the receive."""
        if at == delivery.received_at + delivery.visibility and delivery.claim():
            delivery.settle(RETURNED)

    def _renew(self, delivery: Delivery, at: float) -> None:
        if at != delivery.leased_until - delivery.visibility * (1 - _RENEW_AFTER):
            return  # it has a newer lease
        now = self._engine.clock.monotonic()
        if delivery.leased_until <= now:
            self._lose(delivery, "it was not renewed in time: this process stood still")
            return
        seconds: float = min(delivery.visibility, MAX_VISIBILITY - (now - delivery.received_at))
        if delivery.ends_at is not None:
            seconds = min(seconds, delivery.ends_at - now)
        seconds = math.ceil(seconds)
        if now + seconds > delivery.leased_until:
            until = now + seconds
            self._outbox.make_visible(
                delivery,
                seconds,
                lambda failure: self._renewed(delivery, until, failure),
                until=delivery.leased_until,
            )
        else:
            self._engine.call_later(delivery.leased_until - now, self._end, delivery, delivery.leased_until)

    def _renewed(self, delivery: Delivery, until: float, failure: Failure | None) -> None:
        if delivery.is_settled:
            return
        if failure is None:
            delivery.leased_until = until
            self._plan(delivery)
        elif failure.may_pass:
            self._end(delivery, delivery.leased_until, str(failure))
        else:
            self._lose(delivery, str(failure))

    def _end(
        self, delivery: Delivery, leased_until: float, why: str = "its time limit is over and it still runs"
    ) -> None:
        """The lease is over and was not renewed."""
        if not delivery.is_settled and delivery.leased_until == leased_until:
            self._lose(delivery, why)

    def _lose(self, delivery: Delivery, why: str) -> None:
        self.lost += 1
        delivery.is_lost = True
        logger.error(
            "Queue %s: the lease of message %s is lost (%s): it may run a second time",
            delivery.queue,
            delivery.message_id,
            why,
        )
        if delivery.claim():
            delivery.custody.drop(delivery)


class _Schedule:
    """What is to be done to deliveries at their time, in batches; by length of lease, since these come in order.

    Args:
        engine: its timers and its clock.
        call: gets the delivery and the time it was planned for.
        early: by what part of the lease it may be done too early.
    """

    def __init__(self, engine: Engine, call: Callable[[Delivery, float], None], *, early: float) -> None:
        self._engine = engine
        self._call = call
        self._early = early
        self._planned: dict[int, deque[tuple[float, Delivery]]] = {}
        self._timers: dict[int, Timer] = {}

    def add(self, delivery: Delivery, at: float) -> None:
        lease = delivery.visibility
        planned = self._planned.setdefault(lease, deque())
        planned.append((at, delivery))
        if len(planned) == 1:
            self._wait(lease)

    def _wait(self, lease: int) -> None:
        delay = self._planned[lease][0][0] - self._engine.clock.monotonic()
        self._timers[lease] = self._engine.call_later(max(0.0, delay), self._run, lease)

    def _run(self, lease: int) -> None:
        planned = self._planned[lease]
        soon = self._engine.clock.monotonic() + lease * self._early
        while planned and (planned[0][0] <= soon or planned[0][1].is_settled):
            at, delivery = planned.popleft()
            if not delivery.is_settled:
                self._call(delivery, at)
        if planned:
            self._wait(lease)
