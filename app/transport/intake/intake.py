"""The intake of one consumer: its queues' receivers, the window that they fill, and what waits for the pool.

Receiving and settling belong to the engine's thread; giving messages to Celery belongs to the thread that consumes. A
message is given when the pool has a place, and not before: what waits here can go back at any time, what waits inside
of a pool cannot.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from app.outcome import RETURNED, early
from app.transport.intake.pace import Pace
from app.transport.intake.receiver import Receiver
from app.transport.intake.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.custody import Custody
    from app.transport.custody.delivery import Delivery
    from app.transport.inbox import Inbox
    from app.transport.options import Options

#: Slots of a consumer that sets no limit (no pool, no prefetch count).
_UNLIMITED = 1_000
#: The part of the slots that all idle queues together may reserve.
_IDLE_PART = 4
_ALL = 10_000
#: Seconds for which the mean age of the running tasks is taken as it was.
_LOOK_EVERY = 0.1
#: Seconds between two looks at what waits; and how many receives a queue must allow for each that a hand-back may cost.
_WATCH_EVERY, _SPARED_OF = 0.5, 4
#: How many times as long as it was reckoned with a message may wait here.
_PATIENCE = 4
#: Messages given to Celery in one go; between two goes it looks at other things.
_AT_ONCE = 10
#: Seconds after which a consumer that takes nothing of what has come stands still: nothing more is asked for.
_STANDS_STILL = 5.0
#: Seconds until a message is due for which it is kept: sending it again would cost two calls.
_SOON = 5.0


class Intake:
    """What one consumer receives.

    Args:
        custody: the process's.
        options: the transport's.
        inbox: runs what belongs to the consuming thread.
        places: how many tasks the pool runs at once; None: there is no pool, and who gets a message has begun with it.
        most_places: how many it can grow to while messages wait.
        give: gives a message to the consumer, in its thread.
        when_missing: called in the engine's thread with the name of a queue that is not there.
    """

    def __init__(
        self,
        custody: Custody,
        options: Options,
        *,
        inbox: Inbox,
        places: Callable[[], int] | None,
        most_places: Callable[[], int] | None,
        give: Callable[[Delivery], None],
        when_missing: Callable[[str], None],
    ) -> None:
        self._custody = custody
        self.options = options
        self._inbox = inbox
        self._places = places
        self._most_places = most_places
        self._give = give
        self._when_missing = when_missing
        self._window = Window(self._size, most_bytes=options.prefetch_bytes)
        self._pace = Pace()
        self._receivers: dict[str, Receiver] = {}
        #: The most messages held; 0: no limit of the consumer's.
        self.prefetch = 0
        self._waiting: deque[Delivery] = deque()
        self._in_pool: set[Delivery] = set()
        #: What the consumer was given and has not settled; and what of it waits for its task's rate limit.
        self.given: dict[str, Delivery] = {}
        self._rate_limited: set[Delivery] = set()
        #: What is settled while its task runs on: done with when it began, or revoked and not dead yet.
        self._running_on: set[Delivery] = set()
        #: What its rate limit lets go, as soon as the pool has a place.
        self._let_go: deque[Callable[[], None]] = deque()
        #: Who wants to know when a place of the pool is free: the intake that has come after this one.
        self.when_place_is_free: Callable[[], None] | None = None
        #: What is kept until it is due.
        self._kept: set[Delivery] = set()
        #: Since when the consumer has not answered, while it is to take something.
        self._unanswered_since: float | None = None
        self._is_looking = False
        self._is_watching = False
        self._is_pumping = False
        self._is_draining = False
        self._looked_at = float("-inf")
        self._running_for = 0.0
        custody.announce.listen(inbox)

    def __repr__(self) -> str:
        return f"<Intake: {self._window!r}, {len(self._waiting)} waiting, {list(self._receivers.values())}>"

    # -- receiving: what the engine's thread asks and says ------------------------------------------------------

    def consume(self, queue: str, url: str | None) -> None:
        """Receive from this queue, unless that is done already; from the consuming thread."""
        if queue in self._receivers or self._is_draining:
            return
        receiver = Receiver(
            queue=queue,
            url=url,
            custody=self._custody,
            window=self._window,
            options=self.options,
            intake=self,
            when_missing=self._when_missing,
        )
        self._receivers[queue] = receiver
        receiver.start()
        if self._is_draining:  # since just now: who began to drain did not see it
            receiver.stop()

    @property
    def is_alone(self) -> bool:
        """Whether there is one queue, or none."""
        return len(self._receivers) <= 1

    @property
    def share(self) -> int:
        """How many slots a queue may reserve while it is idle: all if it is the only one.

        Else none of those that a busy queue needs to fill the pool: the idle ones divide what there is beyond its
        places. 0: there is too little for that. Then each idle queue asks for one message without a slot, so that none
        of them waits for another, and so many messages more may be held as there are further queues.
        """
        if self.is_alone:
            return _ALL
        queues = max(1, len(self._receivers))
        slots = self._window.size
        spare = slots if self._most_places is None else max(0, slots - self._most_places())
        return min(slots // _IDLE_PART, spare) // queues

    @property
    def share_bytes(self) -> int | None:
        """How many bytes a queue may reserve while it is idle; None: as many as there are, as it is the only one."""
        return None if self.is_alone else self.options.prefetch_bytes // _IDLE_PART // max(1, len(self._receivers))

    @property
    def waiting(self) -> int:
        """How many messages wait for the pool."""
        return len(self._waiting)

    @property
    def is_dry(self) -> bool:
        """Whether nothing waits for the pool."""
        return not self._waiting

    def deliver(self, deliveries: list[Delivery]) -> bool:
        """They are to be given to the consumer, in its thread. False: there is none any more."""
        if not self._is_watching:
            self._is_watching = True
            self._custody.engine.call_later(_WATCH_EVERY, self._watch)
        if self._unanswered_since is None:
            self._unanswered_since = self._custody.engine.clock.monotonic()
        self._waiting.extend(deliveries)  # one step for the interpreter, and only the consuming thread takes out
        return self._inbox.put(self._pump)

    @property
    def stands_still(self) -> bool:
        """Whether the consumer takes nothing: a task computes in its thread, or something there waits.

        What came would go back after one lease, and come again, one receive nearer to the dead-letter queue each time.
        """
        since = self._unanswered_since
        return since is not None and self._custody.engine.clock.monotonic() - since > _STANDS_STILL

    def _watch(self) -> None:
        """While messages wait: hand back what the window has shrunk by, since tasks have got slow and others may not.

        Only what has waited for longer than was reckoned with, the newest first, and of no message more receives than
        it can spare.
        """
        self._is_watching = bool(self._waiting) and self._inbox.put(self._tidy)
        if not self._is_watching:
            return
        self._custody.engine.call_later(_WATCH_EVERY, self._watch)
        # So that not each slower moment sends messages round: fetched for one second, they may wait for a few. And one
        # more than there are slots may have come of each further queue.
        keep = self._slots(within=_PATIENCE * self.options.prefetch_seconds) + len(self._receivers) - 1
        excess = self._window.in_the_way - keep
        if excess <= 0:
            return
        came_before = self._custody.engine.clock.monotonic() - max(self.options.prefetch_seconds, _WATCH_EVERY)
        for delivery in reversed(list(self._waiting)):
            if excess > 0 and delivery.received_at < came_before and self._can_spare_one(delivery) and delivery.claim():
                delivery.settle(RETURNED)
                excess -= 1

    def _tidy(self) -> None:
        """In the consuming thread: what was handed back waits no more."""
        for _ in range(len(self._waiting)):
            if not (delivery := self._waiting.popleft()).is_claimed:
                self._waiting.append(delivery)

    def _can_spare_one(self, delivery: Delivery) -> bool:
        most = self._custody.dead_letters.max_receives(delivery.url)
        return delivery.receive_count * _SPARED_OF <= (most or _SPARED_OF)

    def settled(self, delivery: Delivery) -> None:
        """A message is settled (in the engine's thread)."""
        if not delivery.runs_on:
            self._over(delivery)

    def _over(self, delivery: Delivery) -> None:
        """It is settled and its task has ended, if it ever began: a slot is free again."""
        self._window.free_slot(delivery)
        self.look_soon()
        if delivery.started_at is not None:
            # What its rate limit held back could not begin any sooner: no more is to be fetched for it.
            since = delivery.started_at if delivery.rate_limited_at is None else delivery.rate_limited_at
            self._pace.finished(self._custody.engine.clock.monotonic() - since)

    def look_soon(self) -> None:
        """Slots are free again (in the engine's thread): whoever found none looks, once for all that happens."""
        if not self._is_looking:
            self._is_looking = True
            self._custody.engine.call_soon(self._look)

    def _look(self) -> None:
        """Slots are free: first for those queues that are not asked at all, and of these for who has waited longest."""
        self._is_looking = False
        for receiver in sorted(self._receivers.values(), key=_turn):
            receiver.consider()

    def _size(self) -> int:
        """How many slots there are now."""
        return self._slots(within=self.options.prefetch_seconds)

    def _slots(self, *, within: float) -> int:
        """How many messages can be held and begin within so many seconds."""
        most = self.prefetch or _UNLIMITED
        if self._most_places is None:
            return most
        if (places := self._most_places()) <= 0:
            return 0
        return self._pace.window(places, most=most, within=within, running_for=self._mean_age(places))

    def _mean_age(self, places: int) -> float:
        """How long the tasks that run now have run on average; those of the places that are free count as 0."""
        now = self._custody.engine.clock.monotonic()
        if now - self._looked_at >= _LOOK_EVERY:
            running = [*self._in_pool, *self._running_on]
            started = [each.started_at for each in running if each.started_at is not None]
            self._running_for = sum(now - at for at in started) / max(places, len(started))
            self._looked_at = now
        return self._running_for

    # -- giving: in the consuming thread ------------------------------------------------------------------------

    def _pump(self) -> None:
        """Give messages while there are places."""
        self._is_pumping = False
        self._answer()
        for _ in range(_AT_ONCE):
            if self._is_draining or not self._has_place:
                return
            if self._let_go:
                self._let_go.popleft()()
                continue
            if not self._waiting:
                return
            delivery = self._waiting.popleft()
            self._answer()
            if delivery.is_claimed or delivery.leased_until <= self._custody.engine.clock.monotonic():
                continue  # it was handed back meanwhile, or somebody else may have it
            if self._places is None and not delivery.claim():
                continue
            self.given[delivery.tag] = delivery
            self._give(delivery)
            if delivery.is_settled:  # handed back by the engine's thread in between: nobody takes it off the list then
                self.given.pop(delivery.tag, None)
        self._pump_soon()

    def _answer(self) -> None:
        """The consumer takes what has come."""
        since, self._unanswered_since = self._unanswered_since, None
        if since is not None and self._custody.engine.clock.monotonic() - since > _STANDS_STILL / 2:
            self._custody.engine.call_soon(self.look_soon)  # who found it standing still, or was about to

    @property
    def _has_place(self) -> bool:
        """Whether the pool has a place for one more than it has and is about to get."""
        if self._places is None:
            return True
        return self.in_pool < self._places()

    @property
    def in_pool(self) -> int:
        """How many the pool has, or is about to get."""
        return len(self.given) - len(self._rate_limited) + len(self._running_on)

    @property
    def is_draining(self) -> bool:
        """Whether nothing more is to begin."""
        return self._is_draining

    def when_there_is_a_place(self, call: Callable[[], None]) -> None:
        """Give the pool what its rate limit lets go now, once it has a place; in the consuming thread."""
        self._let_go.append(call)
        self._pump_soon()

    def runs_on(self, delivery: Delivery) -> None:
        """It is about to be settled, and its task keeps its place; from any thread."""
        delivery.runs_on = True
        self._running_on.add(delivery)

    def ended(self, delivery: Delivery) -> None:
        """Its task has ended; from any thread."""
        if delivery in self._running_on:
            self._running_on.discard(delivery)
            self._custody.engine.call_soon(self._over, delivery)
            self.fill_places()

    def postpone(self, delivery: Delivery, seconds: float) -> None:
        """It was given, and is not due yet: keep it if it soon is and leaves room for others, else send it again."""
        self.given.pop(delivery.tag, None)
        due_at = self._custody.engine.clock.monotonic() + seconds
        has_room = 2 * (len(self._kept) + 1) <= self._window.size
        if seconds <= _SOON and due_at < delivery.leased_until and has_room:
            self._kept.add(delivery)
            self._custody.engine.call_soon(self._keep, delivery, seconds)
        else:
            delivery.settle(early(seconds))

    def _keep(self, delivery: Delivery, seconds: float) -> None:
        self._custody.engine.call_later(seconds, self._due, delivery)

    def _due(self, delivery: Delivery) -> None:
        self._kept.discard(delivery)
        if not self.deliver([delivery]):
            delivery.settle(RETURNED)

    def rate_limited(self, delivery: Delivery) -> None:
        """Its task's rate limit holds it back."""
        self._rate_limited.add(delivery)
        if delivery.is_settled:  # handed back by the engine's thread in between: nobody takes it off the list then
            self._rate_limited.discard(delivery)
        self._custody.engine.call_soon(self._limited, delivery)
        self.fill_places()

    def _limited(self, delivery: Delivery) -> None:
        """In the engine's thread: the other queues may ask for more."""
        self._window.limit(delivery)
        self.look_soon()

    def resize(self, prefetch: int | None = None) -> None:
        """The pool has another size: fill its new places, and ask for more; from any thread.

        Args:
            prefetch: the most messages held from now on.
        """
        if prefetch is not None:
            self.prefetch = prefetch
        self.fill_places()
        self._custody.engine.call_soon(self.look_soon)

    def fill_places(self) -> None:
        """Give what waits, if there are places; from any thread."""
        if self._waiting or self._let_go:
            self._pump_soon()
        if self.when_place_is_free is not None:
            self.when_place_is_free()

    def _pump_soon(self) -> None:
        if not self._is_pumping:
            self._is_pumping = True
            self._inbox.put(self._pump)

    def entered(self, delivery: Delivery) -> None:
        """The pool has it."""
        self._in_pool.add(delivery)
        if delivery.rate_limited_at is not None:
            self._rate_limited.discard(delivery)
            self._custody.engine.call_soon(self._window.unlimit, delivery)

    def left(self, delivery: Delivery) -> None:
        """It is settled; from any thread."""
        if delivery.rate_limited_at is not None:
            self._rate_limited.discard(delivery)
        self.given.pop(delivery.tag, None)  # after that: in between the pool must not seem to have a place more
        if delivery.is_in_pool:
            self._in_pool.discard(delivery)
        self.fill_places()

    # -- stopping -----------------------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Receive and give nothing more; from any thread."""
        self._is_draining = True
        for receiver in list(self._receivers.values()):
            receiver.stop()
        self._custody.hand_back(of=self)

    def cancel(self, queue: str) -> None:
        """Receive nothing more from this queue, and hand back what has not begun; from the consuming thread."""
        if (receiver := self._receivers.pop(queue, None)) is None:
            return
        receiver.stop()
        for delivery in [*self._waiting, *self.given.values()]:
            if delivery.queue == queue and delivery.claim():
                delivery.settle(RETURNED)

    def close(self) -> None:
        """The consumer is gone: hand back all that it has not begun, or that only it could settle."""
        for queue in list(self._receivers):
            self.cancel(queue)
        for delivery in list(self.given.values()):
            if self._places is None or delivery.claim():
                delivery.settle(RETURNED)
        self._custody.hand_back(of=self)  # and what has come since, which nobody takes any more


def _turn(receiver: Receiver) -> tuple[int, float]:
    return receiver.in_flight, receiver.asked_at
