"""Tasks for the integration tests' workers: each says in the file PROBE_FILE when it starts and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from celery import bootsteps
from celery import signals as celery_signals
from celery.backends.base import DisabledBackend
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded, WorkerShutdown, WorkerTerminate

from app import signals, task
from app.base_task import Request
from app.celery import app

#: Limits of SQS's that no test can wait for, made shorter.
if "PROBE_LIMITS" in os.environ:
    options = app.conf.broker_transport_options
    options["sqs"] = dataclasses.replace(options["sqs"], **json.loads(os.environ["PROBE_LIMITS"]))


def note(*words: Any) -> None:
    """One line, written in one go: processes share the file."""
    with open(os.environ["PROBE_FILE"], "ab", buffering=0) as file:  # noqa: PTH123 - unbuffered
        file.write((" ".join(map(str, words)) + "\n").encode())


def note_signal(signal: Any, sender: Any, **facts: Any) -> None:
    note("signal", signal.name, json.dumps(facts))


if "PROBE_SIGNALS" in os.environ:
    for each in (
        signals.queue_parked,
        signals.episode_began,
        signals.episode_ended,
        signals.lease_lost,
        signals.drain_began,
        signals.drain_ended,
    ):
        each.connect(note_signal)


if "PROBE_SETTINGS" in os.environ:
    app.conf.update(json.loads(os.environ["PROBE_SETTINGS"]))


class FailsToStart(bootsteps.StartStopStep):
    """Raises when the pool runs and the consumer has begun to receive."""

    requires = ("celery.worker.consumer:Tasks",)

    def start(self, _: Any) -> None:
        raise RuntimeError("as asked")  # an OSError would have Celery start the consumer again


class FailsLater(bootsteps.StartStopStep):
    """Raises where the consumer consumes, once the probe was told to."""

    requires = ("celery.worker.consumer:Tasks",)

    def start(self, parent: Any) -> None:
        celery_signals.task_received.connect(partial(self._received, parent), weak=False)

    @staticmethod
    def _received(consumer: Any, request: Any, **_: Any) -> None:
        if request.name == "probe.crash" and consumer.connection is not None:
            consumer.connection.transport.inbox.put(partial(_raise, request.id))


_raised: set[str] = set()


def _raise(task_id: str) -> None:
    if task_id not in _raised:
        _raised.add(task_id)
        raise ConnectionError("as asked") if os.environ["PROBE_FAILS"] == "connection" else MemoryError("as asked")


if os.environ.get("PROBE_FAILS") == "start":
    app.steps["consumer"].add(FailsToStart)
if os.environ.get("PROBE_FAILS") in ("later", "connection"):
    app.steps["consumer"].add(FailsLater)


@task
def crash() -> None:
    """Have the whole worker fail."""
    note("end", "crash")


@task
def work(name: str, seconds: float = 0.0) -> str:
    note("start", name, time.time())
    if seconds:
        time.sleep(seconds)
    note("end", name)
    return f"result-of-{name}"


@task(show_arguments=True)
def open_work(name: str, seconds: float = 0.0) -> str:
    return work(name, seconds)


@task
def die_writing(name: str, seconds: float) -> None:
    """Be killed in the middle of telling how it ended, as by a machine that is out of memory."""
    note("start", name)
    time.sleep(seconds)
    frame: Any = sys._getframe()
    while "put" not in frame.f_locals:  # billiard's `workloop`, which tells it by that
        frame = frame.f_back
    pipe = frame.f_locals["self"].outq._writer.fileno()
    os.write(pipe, struct.pack("!i", 1000) + b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)


@task(soft_time_limit=1.0, time_limit=8.0)
def tidy_up(name: str) -> None:
    """Take two seconds to put things in order when the soft limit is over."""
    note("start", name)
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        note("tidying", name)
        time.sleep(2.0)
        note("end", name)


@task
def leave_thread(name: str) -> None:
    """Leave a thread behind for which Python waits at its end."""
    if name == "executor":
        ThreadPoolExecutor(1).submit(time.sleep, 600)
    else:
        threading.Thread(target=time.sleep, args=(600,)).start()
    note("end", name)


@task
def die(name: str) -> None:
    note("start", name)
    os.kill(os.getpid(), signal.SIGKILL)


@task(rate_limit="2/s")
def limited(name: str) -> None:
    note("start", name, time.time())
    note("end", name)


@task
def send_later(name: str, seconds: float) -> None:
    work.apply_async([name], countdown=seconds)


@task(bind=True)
def retry_later(self: Any, name: str, seconds: float) -> None:
    note("start", name, time.time())
    if self.request.retries == 0:
        raise self.retry(countdown=seconds)
    note("end", name)


@task
def hog(name: str, seconds: float) -> None:
    """Use the CPU, and let no other greenlet have it."""
    note("start", name)
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        pass
    note("end", name)


@task
def stubborn(name: str) -> None:
    """Will not be killed where that is done by an exception."""
    note("start", name, time.time())
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with contextlib.suppress(BaseException):
            time.sleep(1)
    note("end", name)


@task(acks_late=False)
def work_once(name: str, seconds: float) -> None:
    """Done with when it begins."""
    note("start", name, time.time())
    time.sleep(seconds)
    note("end", name)


@task(bind=True)
def watch_lease(self: Any, name: str, seconds: float, fails: bool = False) -> None:
    """Say how long the lease has left, again and again, and when it is lost; then fail, if that is asked for."""
    note("start", name)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not self.lease.lost:
        note("lease", name, self.lease.remaining())
        time.sleep(0.05)
    note("end" if not self.lease.lost else "lost", name)
    if self.lease.lost and fails:
        raise RuntimeError("lost")


@task(time_limit=1.0)
def hang(name: str) -> None:
    note("start", name, time.time())
    time.sleep(60)
    note("end", name)


class SlowStore(DisabledBackend):
    """A store of results that takes long over a failure."""

    def mark_as_failure(self, *_: Any, **__: Any) -> None:
        time.sleep(3.0)


@task(bind=True, time_limit=1.0, _backend=SlowStore(app))
def beat(self: Any, name: str) -> None:
    """Note again and again that it runs, whatever it is told, the first time that the message is received."""
    note("start", name)
    while not self.request.delivery_info["redelivered"]:
        with contextlib.suppress(SoftTimeLimitExceeded):
            note("beat", name)
            time.sleep(0.02)
    note("end", name)


@task(bind=True)
def pulse(self: Any, name: str) -> None:
    """Note the time again and again until it is killed, the first time that the message is received; then once."""
    note("pulse", time.time(), name)
    while not self.request.delivery_info["redelivered"]:
        time.sleep(0.005)
        note("pulse", time.time(), name)


@task(bind=True, time_limit=2.0)
def hang_once(self: Any, name: str) -> None:
    """Not return, the first time that the message is received."""
    note("start", name)
    if not self.request.delivery_info["redelivered"]:
        time.sleep(3.0)
    note("end", name)


@task(soft_time_limit=1.0, time_limit=20.0)
def hang_softly(name: str) -> None:
    note("start", name, time.time())
    time.sleep(60)
    note("end", name)


def _known_here_only() -> type[Exception]:
    """An exception's class as libraries make them while they run: other processes have not got it."""
    globals()["NotFound"] = type("NotFound", (Exception,), {"__module__": __name__})
    return globals()["NotFound"]


class Odd(BaseException):
    """Can be pickled, and not be made again of that; a subclass of SystemExit can likewise."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


class OddExit(SystemExit):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


#: What a task may raise that is no failure of its own in Python's eyes, or in Celery's.
_NO_FAILURES = {
    "exit": SystemExit(3),
    "memory": MemoryError(),
    "interrupt": KeyboardInterrupt(),
    "cancelled": asyncio.CancelledError(),
    "generator-exit": GeneratorExit(),
    "shutdown": WorkerShutdown(0),
    "terminate": WorkerTerminate(True),
    "odd": Odd("a", "b"),
    "odd-exit": OddExit("a", "b"),
}


@task(bind=True)
def end(self: Any, name: str, how: str) -> None:
    """End in the way that is asked for, the first time that the message is received; after that, well."""
    is_first = not self.request.delivery_info["redelivered"]
    note("start", name, time.time())
    if how == "retry" and self.request.retries == 0:
        raise self.retry(countdown=1)
    if how == "ignore":
        raise Ignore
    if is_first:
        if how.startswith("raise"):
            raise (ValueError if how == "raise" else _known_here_only())("as asked")
        if how == "requeue":
            raise Reject("as asked", requeue=True)
        if how.startswith("reject"):
            # The other is no string, and nothing that can be pickled.
            raise Reject("as asked" if how == "reject" else note, requeue=False)
        if how in _NO_FAILURES:
            raise _NO_FAILURES[how]
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
    note("end", name)


@task
def send_to(name: str, queue: str) -> None:
    work.apply_async([name], queue=queue)


@task
def send_another(name: str) -> None:
    work.delay(name)
    note("end", f"sender-of-{name}")


@task(bind=True)
def revoke(self: Any, task_id: str) -> None:
    self.app.control.revoke(task_id)
    note("end", "revoke")


class Unfit(Request):
    """One of which the pool cannot be given anything."""

    def revoked(self) -> bool:
        raise TypeError("unfit")


@task(Request=f"{__name__}:Unfit")
def unfit() -> None:
    note("start", "unfit")


@task(bind=True)
def stop_worker(self: Any) -> None:
    self.app.control.shutdown(destination=[self.request.hostname])


@task(bind=True)
def inspect(self: Any) -> None:
    note("end", "inspect", sorted(self.app.control.inspect(timeout=2).ping() or {}))
