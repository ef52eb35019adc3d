"""The shell around a send: several calls at a time, each batch until SQS has it, a clean end when asked for one."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol

from app.clock import SystemClock
from app.resilience.token_bucket import TokenBucket
from app.sending.answers import CallFailed
from app.sending.batches import MAX_ENTRIES
from app.sending.delivery import Delivery
from app.sending.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from app.clock import Clock
    from app.sending.answers import Answer
    from app.sending.entries import Entry


class SendBatch(Protocol):
    """One call of SendMessageBatch; called from several threads."""

    def __call__(self, batch: Sequence[Entry], /) -> Answer:
        """Send these.

        Raises:
            CallFailed: the call failed as a whole.
        """


class Record(Protocol):
    """Where accepted entries are recorded."""

    def add(self, entries: Sequence[Entry], /) -> None:
        """SQS has these."""


class GaveUp(Exception):
    """SQS does not take what is sent, so the run has ended; the message has the first line not taken and the reason."""


class Sender:
    """Sends batches.

    Args:
        send_batch: the call.
        record: what is told of accepted entries, one caller at a time.
        report: told of a bad line: its number and the reason.
        shown: told of the progress after each call.
        concurrency: calls at a time, default 4.
        rate: messages a second, None for no limit.
        retry_for: seconds until a batch that SQS does not take ends the run.
        clock: for the rate and the deadline.
        sleep: waits so many seconds, or until `stop`; by default it really does.
    """

    def __init__(
        self,
        *,
        send_batch: SendBatch,
        record: Record,
        report: Callable[[int, str], None],
        shown: Callable[[Progress], None] = lambda _: None,
        concurrency: int = 4,
        rate: float | None = None,
        retry_for: float = 120.0,
        clock: Clock | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.progress = Progress()
        self._send_batch = send_batch
        self._record = record
        self._report = report
        self._shown = shown
        self._concurrency = concurrency
        self._retry_for = retry_for
        self._clock = clock or SystemClock()
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._lock = threading.Lock()
        self._gave_up = ""
        self.max_entries = MAX_ENTRIES if rate is None else max(1, min(MAX_ENTRIES, int(rate)))
        """Entries that a batch may have: fewer than SQS allows, if the rate is so low that ten would come in bursts."""
        self._bucket = TokenBucket(rate, burst=self.max_entries, now=self._clock.monotonic()) if rate else None

    def stop(self) -> None:
        """Begin no further call, and wait for no retry. Calls in flight end by themselves and are recorded."""
        self._stopped.set()

    def bad(self, number: int, reason: str) -> None:
        """Count and report a line that cannot be sent."""
        with self._lock:
            self._bad(number, reason)

    def _bad(self, number: int, reason: str) -> None:
        self.progress.bad += 1
        self._report(number, reason)

    def run(self, batches: Iterable[Sequence[Entry]]) -> None:
        """Send all batches; an empty one is nothing to send yet. Holds as many as there are calls at a time, and one.

        An exception that ends it (KeyboardInterrupt) leaves when the calls in flight have ended.

        Raises:
            GaveUp: SQS does not take what is sent.
        """
        in_flight: set[Future[None]] = set()
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="send") as threads:
            try:
                for batch in batches:
                    self._wait_for_rate(len(batch))
                    if self._stopped.is_set():
                        self.progress.unsent += len(batch)
                        break
                    if batch:
                        in_flight.add(threads.submit(self._deliver, batch))
                    if len(in_flight) >= self._concurrency:
                        in_flight = _finish(in_flight)
                while in_flight:
                    in_flight = _finish(in_flight)
            finally:
                self.stop()
        if self._gave_up:
            raise GaveUp(self._gave_up)

    def _wait_for_rate(self, entries: int) -> None:
        while self._bucket is not None and entries and not self._stopped.is_set():
            pause = self._bucket.take(entries, now=self._clock.monotonic())
            if not pause:
                return
            self._sleep(pause)

    def _deliver(self, batch: Sequence[Entry]) -> None:
        """In a thread: call, record, and again for what is left."""
        delivery = Delivery(batch, started=self._clock.monotonic(), retry_for=self._retry_for)
        try:
            while not self._stopped.is_set():
                try:
                    answer = self._send_batch(delivery.pending)
                except CallFailed as failure:
                    step = delivery.failed(failure, now=self._clock.monotonic())
                else:
                    step = delivery.answered(answer, now=self._clock.monotonic())
                with self._lock:
                    if step.accepted:
                        self._record.add(step.accepted)
                    self.progress.sent += len(step.accepted)
                    self.progress.uncertain_calls += step.is_uncertain
                    for number, reason in step.refused.items():
                        self._bad(number, f"SQS refuses it: {reason}")
                    self._shown(self.progress)
                    if step.given_up and not self._gave_up:
                        self._gave_up = f"line {delivery.pending[0].number:,}: {step.given_up}"
                if step.given_up:
                    self.stop()
                if step.pause is None:
                    return
                self._sleep(step.pause)
        finally:
            with self._lock:
                self.progress.unsent += len(delivery.pending)


def _finish(in_flight: set[Future[None]]) -> set[Future[None]]:
    """Wait until one of the calls has ended, and raise what it raised; the others are left."""
    done, left = wait(in_flight, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return left
