"""The poller: one long poll at a time on one queue, for as long as there are free slots and a consumer."""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from app.clock import Clock, SystemClock
from app.resilience import backoff
from app.transport import aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.slots import Slots

logger = logging.getLogger(__name__)

#: Seconds between two looks at the slots when none is free and nobody says that one has become so.
_LOOK_AGAIN = 0.5
#: Seconds to wait after a failed receive: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 20.0
#: Seconds that an empty receive takes at least. It waits for messages; where it does not, we do.
_EMPTY_TAKES = 0.25


class Poller:
    """Receives in a thread of its own (under gevent a greenlet) and hands over what came.

    Args:
        queue: the queue's name, for the log.
        receive: one ReceiveMessage: takes the most messages wanted (1 to 10), returns those that came.
        slots: where messages can go.
        deliver: takes the messages over without blocking, and calls back when the consumer has taken them: until
            then nothing more is asked for.
        release: hands messages back that came when nobody wanted them any more; may block, and must not raise.
    """

    def __init__(
        self,
        *,
        queue: str,
        receive: Callable[[int], list[dict[str, Any]]],
        slots: Slots,
        deliver: Callable[[list[dict[str, Any]], Callable[[], None]], None],
        release: Callable[[list[dict[str, Any]]], None],
        clock: Clock | None = None,
    ) -> None:
        self.queue = queue
        self._receive = receive
        self._slots = slots
        self._deliver = deliver
        self._release = release
        self._clock = clock or SystemClock()
        self._wake = Event()
        self._stopped = Event()
        #: Slots that were promised for the messages that the consumer has not taken yet.
        self._handed_over: int | None = None
        self._failures = 0
        self._not_before = 0.0

    def __repr__(self) -> str:
        state = "stopped" if self._stopped.is_set() else f"failing ({self._failures})" if self._failures else "polling"
        return f"<Poller {self.queue}: {state}>"

    def start(self) -> None:
        """Begin. The thread is a daemon: a long poll that is still open must not keep the worker from exiting."""
        Thread(target=self._run, name=f"poll-{self.queue}", daemon=True).start()

    def stop(self) -> None:
        """Ask for nothing more. A poll in flight ends by itself; what it still brings is released."""
        self._stopped.set()
        self._wake.set()

    def slot_freed(self) -> None:
        """Say that a slot may have become free; from any thread."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            if (pause := self.turn()) > 0:
                self._wake.wait(pause)

    def turn(self) -> float:
        """Do what can be done now; the seconds after which to look again, or sooner if something happens."""
        if (left := self._not_before - self._clock.monotonic()) > 0:
            return left
        if self._handed_over is not None:
            return _LOOK_AGAIN  # the consumer is busy, or blocked in a task (solo); it is not for us to go round it
        try:
            wanted = self._slots.take(aws.MAX_BATCH)
            return self._poll(wanted) if wanted else _LOOK_AGAIN
        except Exception as error:  # noqa: BLE001 - whatever it was, a poller that ends in silence is the worst answer
            return self._pause(error)

    def _poll(self, wanted: int) -> float:
        began = self._clock.monotonic()
        messages: list[dict[str, Any]] = []
        try:
            messages = self._receive(wanted)
        finally:
            if not messages:
                self._slots.give_back(wanted)
        self._recovered()
        if not messages:
            return max(0.0, began + _EMPTY_TAKES - self._clock.monotonic())
        if self._stopped.is_set():
            self._slots.give_back(wanted)
            self._release(messages)
        else:
            self._handed_over = wanted
            self._deliver(messages, self._taken)
        return 0.0

    def _taken(self) -> None:
        """The consumer has the messages: they count as its own."""
        promised, self._handed_over = self._handed_over, None
        self._slots.give_back(promised or 0)
        self._wake.set()

    def _pause(self, error: Exception) -> float:
        self._failures += 1
        if self._failures == 1:
            logger.error("Queue %s: receiving fails (%s: %s); trying on", self.queue, aws.error_code(error), error)
        pause = backoff.delay(self._failures, first=_FIRST_PAUSE, most=_LONGEST_PAUSE)
        self._not_before = self._clock.monotonic() + pause  # a slot that is freed meanwhile must not cut it short
        return pause

    def _recovered(self) -> None:
        if self._failures:
            logger.warning("Queue %s: receiving works again, after %d failed calls", self.queue, self._failures)
            self._failures = 0
