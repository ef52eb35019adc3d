"""The poller: one long poll at a time on one queue, for as long as there are free slots and a consumer."""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from app.resilience import backoff
from app.transport import aws

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Seconds between two looks at the slots when none is free and nobody says that one has become so.
_LOOK_AGAIN = 0.5
#: Seconds to wait after a failed receive: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 20.0


class Poller:
    """Receives in a thread of its own (under gevent a greenlet) and hands over what came.

    Args:
        queue: the queue's name, for the log.
        receive: one ReceiveMessage: takes the most messages wanted (1 to 10), returns those that came.
        free: how many slots are free now.
        deliver: takes the messages over without blocking, and calls back when the consumer has taken them: until
            then they have no slot, and nothing more is asked for.
    """

    def __init__(
        self,
        *,
        queue: str,
        receive: Callable[[int], list[dict[str, Any]]],
        free: Callable[[], int],
        deliver: Callable[[list[dict[str, Any]], Callable[[], None]], None],
    ) -> None:
        self.queue = queue
        self._receive = receive
        self._free = free
        self._deliver = deliver
        self._slot_freed = Event()
        self._taken = Event()
        self._stopped = Event()
        self._failures = 0

    def __repr__(self) -> str:
        state = "stopped" if self._stopped.is_set() else f"failing ({self._failures})" if self._failures else "polling"
        return f"<Poller {self.queue}: {state}>"

    def start(self) -> None:
        """Begin. The thread is a daemon: a long poll that is still open must not keep the worker from exiting."""
        Thread(target=self._run, name=f"poll-{self.queue}", daemon=True).start()

    def stop(self) -> None:
        """Ask for nothing more. A poll in flight ends by itself; what it still brings goes to `deliver`."""
        self._stopped.set()
        self._slot_freed.set()

    def slot_freed(self) -> None:
        """Say that a slot may have become free; from any thread."""
        self._slot_freed.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._slot_freed.clear()
            free = self._free()
            if free <= 0:
                self._slot_freed.wait(_LOOK_AGAIN)
                continue
            try:
                messages = self._receive(min(free, aws.MAX_BATCH))
            except Exception as error:  # noqa: BLE001 - whatever it was, a poller that ends in silence is the worst answer
                self._pause(error)
                continue
            self._recovered()
            if messages:
                self._hand_over(messages)

    def _hand_over(self, messages: list[dict[str, Any]]) -> None:
        self._taken.clear()
        self._deliver(messages, self._taken.set)
        while not self._taken.wait(_LOOK_AGAIN) and not self._stopped.is_set():
            pass  # the consumer is busy, or blocked in a task (solo); it is not for us to go round it

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.error("Queue %s: receiving fails (%s: %s); trying on", self.queue, aws.error_code(error), error)
        self._stopped.wait(backoff.delay(self._failures, first=_FIRST_PAUSE, most=_LONGEST_PAUSE))

    def _recovered(self) -> None:
        if self._failures:
            logger.warning("Queue %s: receiving works again, after %d failed calls", self.queue, self._failures)
            self._failures = 0
