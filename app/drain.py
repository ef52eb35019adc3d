"""The drain: how a worker stops, from SIGTERM to its exit, whatever its pool.

Stop asking -> what has not begun goes back -> running tasks finish, while their leases are renewed and their messages
deleted -> at the deadline they are killed and *then* handed back; what cannot be killed is never handed back, and the
exit status says so -> polls in flight get two seconds more, and what they bring goes back -> flush -> exit.

Celery's own shutdown runs beside it: it stops the consumer and waits for the pool, for ever. What is said here holds by
a thread of the system's, since the main thread may sit in a task (solo) or belong to greenlets that do not yield.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.apps.worker import _reload_current_worker
from celery.platforms import EX_FAILURE
from celery.worker.components import Pool
from celery.worker.state import active_requests
from gevent.monkey import get_original

from app import pools
from app.native import NativeThread, reentrant_lock
from app.signals import drain_began, drain_ended
from app.transport import custody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

_real_sleep = get_original("time", "sleep")

#: Seconds between two looks at the time, and for which a second signal counts as the same one: a group is often told
#: at once by its host and by the parent process.
_LOOK_EVERY, _SAME_SIGNAL = 0.02, 2.0
#: Seconds for killed tasks to be gone and the worker to end; for what polls in flight still bring; then for the last
#: deletes, and for those after the deadline. With the default of 25 s for the tasks all this stays below the 30 s that
#: most hosts grant.
_KILL, _POLLS, _FLUSH, _LATE_FLUSH = 2.5, 2.0, 3.0, 1.0
#: Seconds by which the last two may take longer, as the engine's thread ends too.
_MARGIN = 0.6


class _Step(bootsteps.StartStopStep):
    """The first of what is told that the worker ends, for whatever reason."""

    requires = (Pool,)
    drain: Drain

    def close(self, _: Any) -> None:
        """Before anything is stopped. One that runs in a thread of somebody else's program must not end that."""
        self.drain.begin(may_end_process=threading.current_thread() is threading.main_thread())


class Drain:
    """One worker's way out.

    Args:
        timeout: seconds for running tasks to finish.
    """

    def __init__(self, timeout: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._clock = clock
        self._worker: Any = None
        self._hub: Any = None
        self._began: float | None = None
        self._deadline = 0.0
        #: When the process ends with what was killed at the deadline and is still there, or keeps it from its end.
        self._gives_up_at: float | None = None
        self._was_told = False
        self._is_over = False
        #: A child that is replaced meanwhile is forked without it; nothing need wake it, since it looks so often.
        self._thread = NativeThread(self._run, wake=lambda: None, name="drain")

    def install(self, steps: set[Any]) -> None:
        """Connect to the worker's signals, and to its steps: a worker that fails sends no signal before its end.

        Args:
            steps: of the worker.
        """
        steps.add(type("Drain", (_Step,), {"__module__": __name__, "drain": self}))
        # A second signal may interrupt the handler of the first, which holds this lock for a moment. Celery's own is
        # not reentrant: who was interrupted waited for itself, the main thread or a task that had just ended.
        signals.worker_shutting_down.lock = reentrant_lock()
        signals.worker_init.connect(self._watch, weak=False)
        signals.worker_shutting_down.connect(self._told, weak=False)
        signals.worker_shutdown.connect(self._end, weak=False)

    def _watch(self, sender: Any, **_: Any) -> None:
        self._worker = sender
        self._began = self._gives_up_at = None
        self._was_told = self._is_over = False
        sender.terminate = partial(self._terminate, sender.terminate)

    def _terminate(self, terminate: Callable[..., None], *args: Any, **options: Any) -> None:
        """Celery's cold shutdown, of whose end it tells nobody; the pools have waited for their tasks there too."""
        terminate(*args, **options)
        if not self._is_over:
            self._end()

    def _told(self, **_: Any) -> None:
        """The worker was told to stop. In a signal handler, so nothing here may wait. Told again, it must stop now."""
        now = self._clock()
        self._was_told = True
        _end_for_good()
        if self._began is not None and now - self._began > _SAME_SIGNAL:
            self._deadline = now
        self.begin()

    def begin(self, *, may_end_process: bool = True) -> None:
        """The worker is to stop, for whatever reason, unless it is about to; must not wait either.

        Args:
            may_end_process: whether there is a deadline, at which the process ends.
        """
        if self._began is not None:
            return
        now = self._clock()
        self._began, self._deadline, self._hub = now, now + self._timeout, pools.this_hub()
        if (consumer := getattr(self._worker, "consumer", None)) is not None:
            consumer.begin_drain(partial(drain_began.send, sender=self._worker, timeout=self._timeout))
        if may_end_process:
            self._thread.start()

    def _run(self) -> None:
        while self._began is not None and not self._thread.should_return:
            if self._clock() < (self._gives_up_at or self._deadline):
                _real_sleep(_LOOK_EVERY)
            elif self._is_over and not threading._SHUTTING_DOWN:  # type: ignore[attr-defined] # noqa: SLF001 - it has no public name
                return  # the worker was a part of a program, and that goes on
            elif self._gives_up_at is None and self._kills():
                gives_up_at = self._clock() + _KILL
                self._gives_up_at = max(gives_up_at, self._gives_up_at or 0.0)  # all may have ended meanwhile
            else:
                self._give_up()

    def _kills(self) -> bool:
        try:
            return self._kill()
        except Exception:  # without this thread there would be no deadline
            logger.exception("What still runs could not be killed")
            return False

    def _kill(self) -> bool:
        """Kill what still runs; whether this pool can."""
        running = pools.snapshot(active_requests)
        length = self._clock() - (self._began or 0.0)
        logger.warning("Not drained after %.0f s (SLUICE_DRAIN_TIMEOUT): %d tasks are killed", length, len(running))
        if lost := _deleted_early(running):
            logger.error(
                "%d of them are lost, as their messages were deleted when they began (acks_late=False): %s",
                len(lost),
                ", ".join(lost),
            )
        return pools.kill(self._worker.pool, running, hub=self._hub)

    def _give_up(self) -> None:
        """What still runs cannot be killed but with this process. Its messages come back when their leases are over."""
        if left := custody.unsettled():
            logger.error(
                "%d tasks cannot be killed, and the worker ends with them: their messages come back when their leases "
                "are over, in at most one visibility timeout: %s",
                len(left),
                ", ".join(left),
            )
        lost = _deleted_early(pools.snapshot(active_requests))
        if self._is_over:
            logger.warning("The worker has ended, and threads that its tasks have left have not: they end with it")
        elif not left and not lost:
            logger.warning("All tasks have ended, and the pool has not: the worker ends without waiting for it")
        custody.close_all(polls=0.0, flush=_LATE_FLUSH)
        logging.shutdown()
        os._exit(EX_FAILURE if left or lost else self._worker.exitcode or 0)

    def _end(self, **_: Any) -> None:
        """All tasks have ended: tell SQS the last of it.

        What the pool was given and its children never began, as they were just being replaced, goes back too.
        """
        if pools.has_ended(self._worker.pool):
            custody.hand_back_all()
        flush = _FLUSH if self._gives_up_at is None else _LATE_FLUSH
        # The deadline is for tasks, and may come in the middle of this.
        self._gives_up_at = max(self._deadline, self._clock() + _POLLS + flush + _MARGIN)
        custody.close_all(polls=_POLLS, flush=flush)
        # The thread stays: Python waits for what tasks have left behind, for ever. Once it has, what else is to be done
        # at its end has all the time it takes.
        self._gives_up_at = max(self._deadline, self._clock() + _KILL)
        self._is_over = True
        atexit.unregister(self._ends)  # of a worker before it in this process
        atexit.register(self._ends)
        if self._was_told:
            _end_for_good()  # whatever SIGHUP has said since
            # Else one that comes late meets the system's own answer, which Python restores at its end: to die of it.
            for each in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(each, signal.SIG_IGN)
        if self._began is not None:
            drain_ended.send(sender=self._worker, seconds=self._clock() - self._began)

    def _ends(self) -> None:
        """Python's end, and no thread of a task's is left."""
        self._began = None


def _end_for_good() -> None:
    """Do not begin anew, as Celery has a worker do at its end after a SIGHUP: who says that it is to stop wins."""
    atexit.unregister(_reload_current_worker)


def _deleted_early(running: Iterable[Any]) -> list[str]:
    """The ids of the tasks that nobody runs again: each was done with when it began."""
    return [request.id for request in running if not request.task.acks_late]
