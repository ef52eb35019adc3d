"""The receiver of one queue: asks when there are slots to fill, and goes on asking whatever is answered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from app.errors import QueueMissing
from app.outcome import RETURNED
from app.resilience import backoff
from app.signals import queue_parked
from app.transport.custody.delivery import Delivery
from app.transport.engine import Failure, Kind, not_understood
from app.transport.episode import Episode
from app.transport.intake.crowd import Crowd
from app.transport.intake.lateness import Lateness
from app.transport.intake.polls import Ask, Polls

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.custody import Custody
    from app.transport.engine import Timer
    from app.transport.intake.intake import Intake
    from app.transport.intake.window import Reservation, Window
    from app.transport.options import Options

logger = logging.getLogger(__name__)

#: Seconds that fewer than ten free slots wait for more of them: a call for one message costs as much as one for ten.
_GATHER = 0.02
#: Seconds by which a timer may be early in the eyes of the clock, sums of floats being what they are.
_TICK = 1e-6
#: Seconds to wait after a failed receive: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 20.0
#: Seconds between two looks at a queue that is not there.
_PARKED = 30.0
#: Seconds that an empty receive takes at least. It waits for messages; where it does not, we do.
_EMPTY_TAKES = 0.25
#: Seconds to wait after a receive that brought only what is in work here, or done: the first time, and at most. Such a
#: message has one receive less until the dead-letter queue each time.
_USELESS_PAUSE, _LONGEST_USELESS_PAUSE = 0.25, 5.0
#: Seconds that an answer is on its way at most, and the part of a short lease: by so much less than it looks from here
#: may be left of the lease.
_ANSWER_TAKES, _ANSWER_PART = 2.0, 0.1
#: Seconds until the next look at an outbox that is full, and after an error of our own.
_OUTBOX_FULL, _AFTER_ERROR = 0.1, 1.0

_SYSTEM_ATTRIBUTES = ["ApproximateReceiveCount", "MessageGroupId", "SentTimestamp"]


class Receiver:
    """Fills the window with one queue's messages. Belongs to the engine's thread, but for `start` and `stop`.

    Args:
        queue: the queue's name in Celery.
        url: its URL, as far as it is known.
        custody: takes the messages over.
        window: the slots; shared with other queues.
        options: the transport's.
        intake: gets what is to run.
        when_missing: called with the queue's name when it is not there.
    """

    def __init__(
        self,
        *,
        queue: str,
        url: str | None,
        custody: Custody,
        window: Window,
        options: Options,
        intake: Intake,
        when_missing: Callable[[str], None],
    ) -> None:
        self.queue = queue
        self.url = url
        self._custody = custody
        self._engine = custody.engine
        self._window = window
        self._options = options.of(queue)
        self._intake = intake
        self._when_missing = when_missing
        self._polls = Polls(least=self._options.polls_min, most=self._options.polls_max, wait=options.wait)
        self._episode = Episode(queue, "receiving", clock=self._engine.clock, announce=custody.announce)
        self._crowd = Crowd(queue, engine=self._engine)
        self._lateness = None if self._options.max_age is None else Lateness(queue, max_age=self._options.max_age)
        self._name = {"QueueName": self._options.name or queue} | (
            {"QueueOwnerAWSAccountId": self._options.account} if self._options.account else {}
        )
        self._in_flight = 0
        #: When it last asked.
        self.asked_at = float("-inf")
        #: What came when nobody consumed any more.
        self._returns: list[Delivery] = []
        #: Receives in a row that brought only what was here already.
        self._useless = 0
        self._is_known = False
        self._is_missing = False
        self._is_stopped = False
        self._free_since: float | None = None
        self._not_before = 0.0
        self._timer: Timer | None = None
        self._looks_at = 0.0

    def __repr__(self) -> str:
        return f"<Receiver {self.queue}: {self._in_flight} in flight, {self._polls!r}, {self._episode!r}>"

    @property
    def in_flight(self) -> int:
        """Receives that are not answered."""
        return self._in_flight

    def start(self) -> None:
        """Begin; from any thread."""
        self._engine.call_soon(self.consider)

    def stop(self) -> None:
        """Ask for nothing more; from any thread. What polls in flight still bring is handed back."""
        self._is_stopped = True

    def consider(self) -> None:
        """Ask, if there is reason to. What goes wrong with that is tried again: else it would be silent for ever."""
        try:
            self._consider()
        except Exception:
            logger.exception("Queue %s: receiving goes on after an error of its own", self.queue)
            self._look_again(_AFTER_ERROR)

    def _consider(self) -> None:
        now = self._engine.clock.monotonic()
        if self._is_stopped:
            return
        if now < self._not_before:
            self._look_again(self._not_before - now)
        elif self.url is None:
            self._find()
        elif self._custody.outbox.is_full:
            self._look_again(_OUTBOX_FULL)
        else:
            if not self._is_known:
                self._is_known = True
                self._custody.dead_letters.look_up(self.queue, self.url)
            while (ask := self._wanted(now)) is not None:
                self._ask(ask, now)

    @property
    def _asks_without_slot(self) -> bool:
        """Whether it is idle, and slots are too few for one of each idle queue's own."""
        return self._intake.share == 0 and not self._polls.is_hot

    @property
    def _most_bytes(self) -> int | None:
        """As much as a receive may keep for what it may bring: of an idle queue that is nothing, as a rule."""
        share = self._intake.share_bytes
        return None if self._polls.is_hot or share is None else share // self._options.polls_min

    def _wanted(self, now: float) -> Ask | None:
        """The receive to make now, if one is."""
        if self._intake.stands_still:
            return None
        window, share, cap = self._window, self._intake.share, self._options.prefetch
        if self._asks_without_slot:
            may_ask = self._in_flight == 0 and window.may_ask_for_one(self.queue, cap=cap)
            return Ask(1, self._polls.wait) if may_ask else None
        if not self._polls.may_ask(in_flight=self._in_flight, share=share):
            return None
        free = window.free(self.queue, cap=cap, most_bytes=self._most_bytes)
        if free == 0:
            self._free_since = None
            return None
        if self._free_since is None:
            self._free_since = now
        is_alone = self._intake.is_alone
        ask = self._polls.next(in_flight=self._in_flight, free=free, share=share, is_alone=is_alone)
        waited = now - self._free_since
        would_run_dry = self._in_flight == 0 and self._intake.is_dry
        if ask.count >= self._polls.enough(share) or would_run_dry or waited > _GATHER - _TICK:
            self._free_since = None
            return ask
        self._look_again(_GATHER - waited)
        return None

    def _look_again(self, delay: float) -> None:
        """After `delay` seconds, or before that if a look is planned already."""
        at = self._engine.clock.monotonic() + delay
        if self._timer is not None:
            if self._looks_at <= at:
                return
            self._timer.cancel()
        self._looks_at, self._timer = at, self._engine.call_later(delay, self._looked)

    def _looked(self) -> None:
        self._timer = None
        self.consider()

    # -- finding the queue --------------------------------------------------------------------------------------

    def _find(self) -> None:
        if self._in_flight == 0:
            self._in_flight = 1
            self._engine.calls.call("GetQueueUrl", dict(self._name), self._found)

    def _found(self, answer: dict[str, Any] | Failure) -> None:
        self._in_flight = 0
        if isinstance(answer, Failure):
            self._failed(answer)
        elif isinstance(url := answer.get("QueueUrl"), str) and "://" in url:
            self.url = url
        else:
            self._failed(not_understood("GetQueueUrl"))
        self.consider()

    # -- receiving ----------------------------------------------------------------------------------------------

    def _ask(self, ask: Ask, now: float) -> None:
        url, options = self.url, self._options
        count = 0 if self._asks_without_slot else ask.count
        reservation = self._window.reserve(self.queue, count, most_bytes=self._most_bytes)
        self.asked_at = now
        self._in_flight += 1
        self._custody.receives_in_flight += 1
        parameters = {
            "QueueUrl": url,
            "MaxNumberOfMessages": ask.count,
            "WaitTimeSeconds": ask.wait,
            "VisibilityTimeout": options.visibility,
            "MessageSystemAttributeNames": _SYSTEM_ATTRIBUTES,
            "MessageAttributeNames": ["All"],  # a dead letter keeps them
        }
        try:
            self._engine.calls.call(
                "ReceiveMessage",
                parameters,
                lambda answer: self._answered(answer, ask, reservation, str(url), now),
                wait=ask.wait,
            )
        except Exception:
            self._over(reservation)
            raise

    def _over(self, reservation: Reservation) -> None:
        self._in_flight -= 1
        self._custody.receives_in_flight -= 1
        self._window.release(reservation)

    def _answered(
        self, answer: dict[str, Any] | Failure, ask: Ask, reservation: Reservation, url: str, asked_at: float
    ) -> None:
        self._over(reservation)
        try:
            messages = answer if isinstance(answer, Failure) else messages_in(answer)
            if isinstance(messages, Failure):
                self._failed(messages)
            else:
                self._received(messages, ask, url, asked_at)
        finally:
            if self._returns and not self._in_flight:
                self._settle_returns()
            self.consider()  # whatever came of it: who does not ask again is silent for ever
            if reservation.count:
                self._intake.look_soon()  # likewise whoever found all slots reserved, if it brought less than that

    def _received(self, messages: list[dict[str, Any]], ask: Ask, url: str, asked_at: float) -> None:
        self._episode.worked()
        self._is_missing = False
        now = self._engine.clock.monotonic()
        self._crowd.received(url, len(messages))
        # A lease begins when SQS hands the message out: at the end of the wait, and not before the answer could have
        # been on its way, or have lain here.
        takes = min(_ANSWER_TAKES, self._options.visibility * _ANSWER_PART) + self._engine.late_by
        since = max(asked_at, now - takes)
        wanted = self._take([self._delivery(message, url, since) for message in messages])
        self._polls.answered(asked=ask.count, got=len(messages) if wanted else 0, slots=self._window.size)
        if wanted or not messages:
            self._useless = 0
            self._not_before = asked_at + _EMPTY_TAKES if ask.wait and not wanted else 0.0
        else:
            self._useless += 1
            self._not_before = now + backoff.delay(self._useless, first=_USELESS_PAUSE, most=_LONGEST_USELESS_PAUSE)

    def _delivery(self, message: dict[str, Any], url: str, since: float) -> Delivery:
        return Delivery(
            message,
            queue=self.queue,
            url=url,
            visibility=self._options.visibility,
            now=since,
            custody=self._custody,
            intake=self._intake,
        )

    def _take(self, deliveries: list[Delivery]) -> bool:
        """Keep of them what is to run, and hand it on; whether any was."""
        if self._lateness is not None and (report := self._lateness.received(each.sent_at for each in deliveries)):
            logger.warning(report)
        wanted = [delivery for delivery in deliveries if self._is_taken(delivery)]
        for delivery in wanted:
            self._window.hold(delivery)
        if wanted and (self._is_stopped or not self._intake.deliver(wanted)):
            # Once no other receive of ours is there to take it: with each it is one nearer to the dead-letter queue.
            self._returns += wanted
        return bool(wanted)

    def _settle_returns(self) -> None:
        """Hand back what came too late, and may have been handed back by somebody else meanwhile."""
        returns, self._returns = self._returns, []
        for delivery in returns:
            if delivery.claim():
                delivery.settle(RETURNED)

    def _is_taken(self, delivery: Delivery) -> bool:
        """Whether it is in our hands now and to run. What goes wrong with one must keep none of the others away."""
        try:
            return self._custody.take(delivery)
        except Exception:
            logger.exception(
                "Queue %s: message %s could not be taken, and comes back when its lease is over",
                delivery.queue,
                delivery.message_id,
            )
            return False

    def _failed(self, failure: Failure) -> None:
        if self._engine.clock.monotonic() < self._not_before and self._episode.failures:
            return  # asked before the last failure was known: the same one
        self._polls.failed()
        if failure.kind is Kind.QUEUE_MISSING:
            pause = self._park()
        else:
            if failure.kind is Kind.PERMANENT:
                self.url = self._options.url  # it may have been a wrong answer that gave us this one
            pause = backoff.delay(self._episode.failed(failure), first=_FIRST_PAUSE, most=_LONGEST_PAUSE)
        self._not_before = self._engine.clock.monotonic() + pause

    def _park(self) -> float:
        """The queue is not there: look for it, said once with what to do. Gives the seconds until the next look."""
        why, is_news = QueueMissing(self._name["QueueName"]), not self._is_missing
        failures = self._episode.failed(why, is_other=is_news)
        if is_news:
            self._custody.announce(queue_parked, sender=self.queue, queue=self.queue, reason=str(why))
        self._is_missing = True
        self.url = self._options.url
        self._when_missing(self.queue)
        return backoff.delay(failures, first=_PARKED / 16, most=_PARKED)


def messages_in(answer: Any) -> list[dict[str, Any]] | Failure:
    """The messages in the answer to a receive, each with all that is needed to deliver and to settle it.

    What is no such answer is a failure: whoever gave it, it is not taken for an empty queue.
    """
    if isinstance(answer, dict):
        messages = answer.get("Messages")
        if messages is None:
            return []
        if isinstance(messages, list) and all(_is_message(message) for message in messages):
            return messages
    return not_understood("ReceiveMessage")


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and all(isinstance(message.get(name), str) for name in ("Body", "ReceiptHandle", "MessageId"))
        and all(isinstance(message.get(name) or {}, dict) for name in ("Attributes", "MessageAttributes"))
    )
