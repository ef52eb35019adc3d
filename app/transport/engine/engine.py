"""The engine: the one thread that talks to SQS for this process, whatever its main thread is busy with.

It runs on a thread of the system's with primitives that gevent does not replace, and steps aside while the process
forks (`app.native`). Everything that belongs to it (receiving, leases, outbox) runs in it and needs no lock; other
threads hand it work with `call_soon`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from gevent.monkey import get_original

from app.clock import Clock, SystemClock
from app.native import NativeThread
from app.transport.engine.account import Account
from app.transport.engine.calls import Calls
from app.transport.engine.http import Http
from app.transport.engine.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_sleep = get_original("time", "sleep")

#: Seconds that one wait takes at most: how late a request that curl lost sight of is noticed, and for how long this
#: process may stand still without noticing that.
_LONGEST_WAIT = 1.0
#: Seconds to wait after a round that failed as a whole, so that an error that stays does not make it spin.
_AFTER_ERROR = 0.2
#: Bytes read from the wake-up descriptor at once.
_WAKE_UPS = 4096


class Timer:
    """Something to be done later; `cancel` it if it is not needed any more."""

    __slots__ = ("arguments", "call")

    def __init__(self, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.call: Callable[..., None] | None = call
        self.arguments = arguments

    def cancel(self) -> None:
        """Do not do it."""
        self.call = None


class Engine:
    """A thread with timers, and the calls to SQS that are in flight.

    Args:
        endpoint_url: as in `aws.sqs_client`.
        region: as in `aws.sqs_client`.
    """

    def __init__(
        self, *, endpoint_url: str | None = None, region: str | None = None, clock: Clock | None = None
    ) -> None:
        self.clock = clock or SystemClock()
        self._reader, self._writer = os.pipe()
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        self._is_woken = False
        account = Account(endpoint_url=endpoint_url, region=region, wake=self._wake, clock=self.clock)
        self._http = Http(account.route, names=Names(wake=self._wake, clock=self.clock), clock=self.clock)
        #: Calls to SQS; only for what runs in the engine's thread.
        self.calls = Calls(self._http, account, clock=self.clock)
        self._handed_in: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._thread = NativeThread(self._run, wake=self._wake, name="sqs-engine")
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Engine: {len(self._http)} calls in flight, {'running' if self._thread.is_running else 'stopped'}>"

    @property
    def late_by(self) -> float:
        """By how many seconds the answer being given now may have been here before, while this process stood still."""
        return self._http.late_by

    def start(self) -> None:
        """Run, unless it does already."""
        if not self._is_closed:
            self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread for good; calls in flight are abandoned. False: it has not ended within `timeout` seconds."""
        self._is_closed = True
        self._thread.ask_to_return()
        return self._thread.wait(timeout)

    def call_soon(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have `call(*arguments)` run in the engine's thread; from any thread, never blocks."""
        self._handed_in.append((call, arguments))
        self._wake()

    def call_later(self, delay: float, call: Callable[..., None], *arguments: Any) -> Timer:
        """The same after `delay` seconds; only from the engine's own thread."""
        timer = Timer(call, arguments)
        heapq.heappush(self._timers, (self.clock.monotonic() + delay, next(self._order), timer))
        return timer

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(BlockingIOError):  # it is full, so it is readable, which is all we want
                os.write(self._writer, b"\0")

    def _run(self) -> None:
        while not self._thread.should_return:
            try:
                self.turn()
            except Exception:
                logger.exception("The SQS engine goes on after an error of its own")
                _sleep(_AFTER_ERROR)

    def turn(self) -> None:
        """One round: what was handed in, what is due, what SQS answered; then wait for more."""
        handed_in = self._handed_in
        for _ in range(len(handed_in)):
            call, arguments = handed_in.popleft()
            self._do(call, *arguments)
        now = self.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                self._do(timer.call, *timer.arguments)
        self._http.give_up_overdue()
        self.calls.turn()
        wait = _LONGEST_WAIT
        if self._timers:
            wait = min(wait, self._timers[0][0] - self.clock.monotonic())
        if self._http.turn(0.0 if handed_in else wait, woken_by=self._reader):
            os.read(self._reader, _WAKE_UPS)
        # Last: who hands something in before this line writes nothing, and is seen in the next round.
        self._is_woken = False

    def _do(self, call: Callable[..., None], *arguments: Any) -> None:
        """Run it. Whatever goes wrong in one part, the thread that keeps all leases must not end of it."""
        try:
            call(*arguments)
        except Exception:
            logger.exception("The SQS engine goes on after an error of its own")
