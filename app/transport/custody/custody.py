"""Custody: every message from its receive to its settling. There is one in a process, whatever connections it has."""

from __future__ import annotations

import atexit
import logging
import math
import os
from typing import TYPE_CHECKING

from app.native import allocate_lock
from app.outcome import RETURNED, reject, retry
from app.resilience import backoff
from app.transport.announcer import Announcer
from app.transport.custody.casualties import Casualties
from app.transport.custody.dead_letters import DeadLetters
from app.transport.custody.done import Done
from app.transport.custody.hops import Hops
from app.transport.custody.leases import Leases
from app.transport.custody.outbox import Outbox
from app.transport.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.outcome import Outcome
    from app.transport.custody.delivery import Delivery
    from app.transport.engine import Failure
    from app.transport.intake import Intake
    from app.transport.options import Options

logger = logging.getLogger(__name__)

#: Seconds for which a delete is tried at least, its lease being lost or nearly over.
_TRY_TO_DELETE = 10.0
#: Seconds to flush at the end of a process that did not close its connection.
_AT_EXIT = 5.0
#: Seconds for the engine's thread to end.
_STOP = 0.5
#: Seconds between two looks at what is waited for.
_LOOK_AGAIN = 0.005


class Custody:
    """The deliveries of a process, and what is to become of them.

    Args:
        engine: the process's.
        options: how long failed messages wait, how long the outbox gathers.
    """

    def __init__(self, engine: Engine, options: Options) -> None:
        self.engine = engine
        self._options = options
        #: Sends signals in the thread of a consumer.
        self.announce = Announcer()
        self.outbox = Outbox(engine, linger=options.settle_linger, announce=self.announce)
        self.leases = Leases(engine, self.outbox, longest=options.longest_lease)
        #: Receives that are not answered; kept by the receivers.
        self.receives_in_flight = 0
        self._done = Done()
        self.dead_letters = DeadLetters(engine, self.outbox)
        self._hops = Hops(
            engine,
            self.outbox,
            self._done,
            is_ours=lambda message_id: message_id in self._leaving or self.leases.is_ours(message_id),
            replace=self._replace,
            longest=options.longest_delay,
            announce=self.announce,
        )
        self._casualties = Casualties(options.max_deaths)
        #: Whose copy is on its way, to the dead-letter queue or to the time when it is due.
        self._leaving: dict[str, Delivery] = {}

    def __repr__(self) -> str:
        return f"<Custody: {self.leases!r}, {self.outbox!r}>"

    def take(self, delivery: Delivery) -> bool:
        """A message was received (in the engine's thread). False: it is not to run.

        It is in work here already, or hangs here; or it is done, and SQS delivered it once more, or would not let us
        delete it; or it was sent twice on its way through a long delay, and the other one is in work here or done.
        """
        if delivery.message_id in self._done:
            delivery.close()
            self._done.again(delivery.message_id)
            self._delete(delivery)
            return False
        if not self._hops.is_wanted(delivery):
            delivery.close()
            self._delete(delivery)
            return False
        if (leaving := self._leaving.get(delivery.message_id)) is not None:
            delivery.close()
            leaving.receive_again(delivery)
            return False
        if (hanging := self.leases.overdue(delivery.message_id)) is not None:
            delivery.close()
            self._leave_to_others(delivery, hanging)
            return False
        return self.leases.take(delivery)

    def _leave_to_others(self, delivery: Delivery, hanging: Delivery) -> None:
        """Its task hangs here beyond its time limit: another worker is to have it. It comes here later each time."""
        logger.warning(
            "Queue %s: message %s came again while its task, whose time limit is over, still runs here: it goes back",
            delivery.queue,
            delivery.message_id,
        )
        hanging.url, hanging.receipt = delivery.url, delivery.receipt  # if it ends after all, this is what deletes it
        self._delay(delivery, retry())

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Carry the outcome out; from any thread."""
        self.engine.call_soon(self._settle, delivery, outcome)

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        try:
            self.leases.let_go(delivery)
            if outcome.kind == "done":
                self._done.add(delivery.message_id)
                self._delete(delivery)
            elif not delivery.is_lost and self.engine.clock.monotonic() < delivery.leased_until:
                self._keep(delivery, self._counted(delivery, outcome))
            # Else somebody else may have it, and would lose it by what we do.
        finally:
            delivery.intake.settled(delivery)  # whatever went wrong, its slot is free

    def _counted(self, delivery: Delivery, outcome: Outcome) -> Outcome:
        """The outcome, or that the message has now killed enough processes."""
        if outcome.kind in ("retry", "reject"):
            self._casualties.survived(delivery.message_id)
        elif outcome.kind == "lost" and (deaths := self._casualties.died(delivery.message_id)) is not None:
            return reject(f"the process that ran it died {deaths} times")
        return outcome

    def _keep(self, delivery: Delivery, outcome: Outcome) -> None:
        """It is not done: it comes back, or a copy of it goes to the dead-letter queue or comes when it is due."""
        if outcome.kind not in ("reject", "early"):
            self._delay(delivery, outcome)
            return

        def sent(is_there: bool) -> None:
            del self._leaving[delivery.message_id]
            if is_there:
                self._done.add(delivery.message_id, for_good=outcome.kind == "reject")
                self._delete(delivery)
            else:
                self._delay(delivery, outcome)

        self._leaving[delivery.message_id] = delivery
        try:
            if outcome.kind == "reject":
                self.dead_letters.send(delivery, outcome.reason, sent)
            else:
                self._hops.send(delivery, outcome.after or 0.0, sent)
        except Exception:
            self._leaving.pop(delivery.message_id, None)
            raise

    def drop(self, delivery: Delivery) -> None:
        """Its lease is lost and it has not begun: forget it (in the engine's thread)."""
        if delivery.close():
            self.leases.let_go(delivery)
            delivery.intake.left(delivery)
            delivery.intake.settled(delivery)

    def _replace(self, message_id: str, newer: Delivery) -> None:
        """Another copy has come further: delete this one, unless it has begun."""
        delivery = self.leases.held(message_id)
        if delivery is not None and delivery.body == newer.body and delivery.claim():
            self.drop(delivery)
            self._done.add(message_id, for_good=False)
            self._delete(delivery)

    def _delete(self, delivery: Delivery) -> None:
        def done(failure: Failure | None) -> None:
            if failure is None:
                self._done.deleted(delivery.message_id)
            elif not self._done.is_deleted(delivery.message_id):  # by a newer receipt
                logger.error(
                    "Queue %s: message %s is done but could not be deleted (%s); if it comes back here, it is deleted "
                    "then and does not run",
                    delivery.queue,
                    delivery.message_id,
                    failure,
                )

        until = max(delivery.leased_until, self.engine.clock.monotonic() + _TRY_TO_DELETE)
        self.outbox.delete(delivery, done, until=until)

    def _delay(self, delivery: Delivery, outcome: Outcome) -> None:
        if outcome.kind == "returned":
            seconds = 0.0
        elif outcome.after is not None:
            seconds = outcome.after
        else:
            options = self._options
            seconds = backoff.delay(delivery.receive_count, first=options.retry_first, most=options.retry_most)
        longest = math.floor(self._options.longest_lease - (self.engine.clock.monotonic() - delivery.received_at))

        def done(failure: Failure | None) -> None:
            if failure is not None:
                logger.warning(
                    "Queue %s: message %s keeps its visibility timeout, since it could not be changed (%s)",
                    delivery.queue,
                    delivery.message_id,
                    failure,
                )

        self.outbox.make_visible(delivery, max(0.0, min(seconds, longest)), done, until=delivery.leased_until)

    def close(self, *, polls: float, flush: float) -> None:
        """Await the polls in flight, hand back what has not begun, flush, end the engine.

        Args:
            polls: seconds for the receives in flight; what is abandoned then may have been given messages.
            flush: seconds for what is settled to be told to SQS.
        """
        if not self._wait_until(lambda: not self.receives_in_flight, polls):
            logger.info(
                "%d receives were abandoned: messages that SQS gave them are invisible for one visibility timeout",
                self.receives_in_flight,
            )
        self.hand_back()
        if not self.flush(flush) and (untold := len(self.outbox) or self.dead_letters.pending):
            logger.error("%d settled messages could not be told to SQS: they will come back", untold)
        self.engine.stop(_STOP)
        if left := [each.message_id for each in self.leases]:
            logger.error(
                "%d messages were in work to the last; they come back when their leases are over: %s",
                len(left),
                ", ".join(left),
            )

    def hand_back(self, *, of: Intake | None = None, all_of_it: bool = False) -> None:
        """Hand back what has not begun; from any thread, also in a signal handler.

        Args:
            of: what this one has received; None: whoever has.
            all_of_it: also what has begun, as far as is known here; only when nothing can be running any more.
        """
        self.engine.call_soon(self._hand_back, of, all_of_it)

    def _hand_back(self, of: Intake | None, all_of_it: bool) -> None:
        for delivery in self.leases:
            if of is not None and delivery.intake is not of:
                continue
            if delivery.claim() or all_of_it:
                delivery.settle(RETURNED)

    def flush(self, timeout: float) -> bool:
        """Send all that is settled, waiting up to `timeout` seconds; from any other thread. Whether that was all."""

        def is_told() -> bool:
            self.outbox.hurry()
            return not len(self.outbox) and not self.dead_letters.pending

        return self._wait_until(is_told, timeout)

    def _wait_until(self, is_so: Callable[[], bool], timeout: float) -> bool:
        """Wait until something is so in the engine's thread; whether it is."""
        happened = allocate_lock()
        happened.acquire()
        give_up_at = self.engine.clock.monotonic() + timeout

        def look() -> None:
            if is_so():
                happened.release()
            elif self.engine.clock.monotonic() < give_up_at:
                self.engine.call_later(_LOOK_AGAIN, look)

        # Behind what is handed in by what is handed in: handing back is settling, which is handed in anew.
        self.engine.call_soon(self.engine.call_soon, look)
        return bool(happened.acquire(True, timeout + _LOOK_AGAIN))


_custodies: dict[tuple[str | None, str | None], Custody] = {}
#: What a forked child has of its parent. Not to be used, and not to be collected either: that would say good-bye on
#: connections that are the parent's.
_inherited: list[Custody] = []


def custody_of(options: Options) -> Custody:
    """This process's custody for that endpoint and region; its engine runs from the first use on."""
    key = options.endpoint_url, options.region
    if key not in _custodies:
        engine = Engine(endpoint_url=options.endpoint_url, region=options.region)
        _custodies.setdefault(key, Custody(engine, options))  # of two threads that come here at once, one is first
    custody = _custodies[key]
    custody.engine.start()
    return custody


def close_all(*, polls: float, flush: float) -> None:
    """Close every custody; at the end of a process."""
    for custody in list(_custodies.values()):
        custody.close(polls=polls, flush=flush)
    _custodies.clear()


def hand_back_all() -> None:
    """Nothing can be running any more: hand back all that is not settled."""
    for custody in list(_custodies.values()):
        custody.hand_back(all_of_it=True)


def unsettled() -> list[str]:
    """The ids of the messages in work."""
    return [each.message_id for custody in list(_custodies.values()) for each in custody.leases if each.is_claimed]


def _forget_in_child() -> None:
    _inherited.extend(_custodies.values())
    _custodies.clear()


os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(close_all, polls=0.0, flush=_AT_EXIT)
