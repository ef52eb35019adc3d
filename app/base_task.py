"""The base task, and what the worker keeps of each message while its task runs."""

from __future__ import annotations

import contextlib
import logging
import signal
from typing import TYPE_CHECKING, Any

from billiard.exceptions import Terminated
from celery import Task as CeleryTask
from celery import shared_task
from celery.exceptions import TaskRevokedError
from celery.worker.request import Request as CeleryRequest
from celery.worker.state import task_ready

from app import outcome
from app.lease import Lease
from app.pools.contained import KILLED

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: What monitors and logs show in place of arguments and results.
HIDDEN = "hidden"
#: In a task's request: where the end of its lease stands.
_LEASE = "sluice_lease"


def _soft_limit(hard: float) -> float:
    """As the default of SLUICE_TASK_SOFT_TIME_LIMIT: thirty seconds to put things in order, less of a short limit."""
    return max(hard - 30, hard * 0.9)


class Request(CeleryRequest):
    """A delivery on its way through the worker: Celery's own, private by default and always settled.

    It settles its delivery itself: Celery maps a failure and a rejected message to the same verb of the channel.
    """

    #: In force for this delivery, in seconds: hard and soft; None is the worker's default.
    time_limits: tuple[float | None, float | None]

    def __init__(self, message: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(message, *args, **kwargs)
        #: What SQS handed out; None for a message of another transport.
        self.delivery = getattr(message, "delivery", None)
        self.acknowledged: bool = False
        self._has_ended = False
        #: What becomes of it unless it is done.
        self._outcome = outcome.retry()
        hard, soft = self.time_limits
        # As text, too: limits come from environments and command lines, and most pools cannot reckon with that.
        hard = float(hard or self.task.time_limit or 0) or None
        soft = float(soft or self.task.soft_time_limit or 0) or None
        in_force = hard or self._app.conf.task_time_limit
        if (hard and not soft) or (soft and in_force and soft >= in_force):
            # Under prefork the hard limit's time only begins to run when the soft one's is over, and that would be
            # the default of minutes: a task with nothing but `time_limit=5` would have no limit of 5 s.
            soft = _soft_limit(in_force)
        self.time_limits = (hard, soft)

    @property
    def argsrepr(self) -> str:
        """The positional arguments as monitors may see them, whatever the producer wrote into the headers."""
        return self._argsrepr if self._shown else HIDDEN

    @property
    def kwargsrepr(self) -> str:
        """The keyword arguments, likewise."""
        return self._kwargsrepr if self._shown else HIDDEN

    @property
    def _shown(self) -> bool:
        return bool(getattr(self.task, "show_arguments", False))

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `inspect active` and Flower are told."""
        told: dict[str, Any] = super().info(safe)
        if not self._shown:
            told.update(args=HIDDEN, kwargs=HIDDEN)
        return told

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's signature
        """Send a monitoring event, without the result unless the task allows it."""
        if "result" in fields and not self._shown:
            fields["result"] = HIDDEN
        super().send_event(type, **fields)

    def __init_subclass__(cls, **options: Any) -> None:
        """Celery makes a subclass for each task, with methods of its own for speed; these are put around them.

        Its `on_success` cannot take what a task left by SystemExit, as all but the prefork pool report it: the message
        would never be settled, nor its slot given back. And a greenlet that was killed reports success without a run
        time: its message would be deleted.
        """
        super().__init_subclass__(**options)
        on_success, execute_using_pool = cls.on_success, cls.execute_using_pool

        def on_end(self: Request, result: Any, **more: Any) -> Any:
            self.end()
            failed, returned, runtime = result if isinstance(result, tuple) else (True, result, None)
            if failed:
                return self.on_failure(returned, return_ok=True)
            if runtime is KILLED:
                return self.hand_back()
            try:
                return on_success(self, result, **more)
            except Exception:
                logger.exception("That task %s[%s] succeeded could not be told", self.name, self.id)
                return self.acknowledge()

        def enter_pool(self: Request, pool: Any, **more: Any) -> Any:
            try:
                self.enter_pool()
                return execute_using_pool(self, pool, **more)
            except TaskRevokedError:
                self.end()
                raise
            except Exception as error:
                self.refuse(error)
                # The only one for which Celery's worker gives the pool's place back.
                raise TaskRevokedError(self.id) from error

        cls.on_success, cls.execute_using_pool = on_end, enter_pool

    @property
    def _limit(self) -> float | None:
        """Seconds that the task may take."""
        limit: float | None = self.time_limits[0] or self._app.conf.task_time_limit
        return limit

    def enter_pool(self) -> None:
        """The pool is about to get it.

        Raises:
            TaskRevokedError: it must not run any more: it was handed back, or its lease is over.
        """
        if self.delivery is None:
            return
        if not self.delivery.enter_pool(limit=self._limit):
            task_ready(self)
            raise TaskRevokedError(self.id)
        self._request_dict[_LEASE] = self.delivery.place

    def refuse(self, error: Exception) -> None:
        """The pool could not be given it: its message comes back later."""
        self.end()
        logger.error("The pool could not be given task %s[%s]", self.name, self.id, exc_info=error)
        task_ready(self)
        self._outcome = outcome.retry(reason=type(error).__name__)
        self.reject(requeue=True)

    def end(self) -> None:
        """Its task has ended, or will not begin."""
        self._has_ended = True
        if self.delivery is not None:
            self.delivery.intake.ended(self.delivery)

    @property
    def is_too_late(self) -> bool:
        """Whether its task must not begin any more, though the pool has it."""
        return self.delivery is not None and self.delivery.is_too_late

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """The task begins."""
        if self.delivery is not None:
            self.delivery.started(limit=self._limit)
        try:
            super().on_accepted(pid, time_accepted)
        except NotImplementedError:
            pass  # it was revoked just before, and this pool kills no task
        except Exception:
            logger.exception("That task %s[%s] begins could not be told", self.name, self.id)

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Kill the task, as it is revoked: however its end is reported, and by whom first, its message is done with."""
        if self.time_start:
            self._already_revoked = True  # Celery's word for it: else who reports the end would say it once more
        try:
            super().terminate(pool, signal)
        except NotImplementedError:  # this pool kills no task: it goes on
            self._already_revoked = False
            raise

    def kill(self, pool: Any) -> None:
        """Kill the task, to hand its message back once it is dead."""
        self._already_cancelled = True  # Celery's word for it: else it would take the task as revoked, and delete it
        pool.terminate_job(self.worker_pid, signal.SIGKILL)

    def hand_back(self) -> None:
        """The task has not begun, or is dead and nobody said that it is revoked: its message comes back at once."""
        self.end()
        task_ready(self)
        self._outcome = outcome.RETURNED
        self.reject(requeue=True)

    def acknowledge(self) -> None:
        """The message is done with."""
        if self.delivery is None:
            super().acknowledge()
        elif not self.acknowledged:
            self.acknowledged = True
            if self.delivery.is_in_pool and not self._has_ended:
                self.delivery.intake.runs_on(self.delivery)
            self.delivery.settle(outcome.DONE)

    def reject(self, requeue: bool = False) -> None:
        """The message is not done with."""
        if self._already_revoked:
            self.acknowledge()
        elif self.delivery is None:
            super().reject(requeue)
        elif not self.acknowledged:
            self.acknowledged = True
            self.delivery.settle(self._outcome)
            self.send_event("task-rejected", requeue=requeue)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Kill the task, as the worker is to stop at once; where the pool can kill none, it has the drain's time."""
        with contextlib.suppress(NotImplementedError):
            super().cancel(pool, signal, emit_retry)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Settle what failed.

        A task's MemoryError ends Celery's whole worker; here it is a failure like others. So is one that cannot be told
        to the store of results.
        """
        self.end()
        self._outcome = outcome.of(exc_info)
        if isinstance(outcome.exception_in(exc_info), Terminated):
            if self._already_cancelled:
                self.hand_back()
                return
            self.acknowledge()  # it is revoked, which Celery first tells a store of results that may be slow
        try:
            super().on_failure(exc_info, send_failed_event, return_ok)
        except MemoryError:
            if self.task.acks_on_failure_or_timeout:
                self.acknowledge()
            self.reject(requeue=True)
            self.send_event("task-failed", exception="MemoryError()", traceback=exc_info.traceback)
        except Exception:
            logger.exception("That task %s[%s] failed could not be told to the store of results", self.name, self.id)
            self.reject(requeue=True)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Settle what ran into its hard time limit: Celery's gevent pool reports it here and nowhere else."""
        if not soft:
            self.end()
        try:
            super().on_timeout(soft, timeout)
        except Exception:
            logger.exception("That task %s[%s] was too long could not be told", self.name, self.id)
        if not soft and self.task.acks_late:
            self._outcome = outcome.retry(reason=f"its time limit of {timeout:g} s was over")
            self.reject(requeue=True)  # once only: prefork, which also reports the killed process, finds it settled


class Task(CeleryTask):
    """The base of every task here.

    Beside Celery's own attributes:
        show_arguments: let events, Flower and `inspect` show this task's arguments and results (default: no).
        lease: the lease of the message that a bound task works for: `self.lease.lost`, `self.lease.remaining()`.
    """

    Request = "app.base_task:Request"
    show_arguments = False

    @property
    def lease(self) -> Lease:
        """The lease of the message in work; one that is never lost where there is none (eager, in a test)."""
        return Lease(getattr(self.request, _LEASE, None))

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        """Send the task; its arguments are written into the message once, not a second time for monitors to read."""
        if not self.show_arguments:
            options.setdefault("argsrepr", HIDDEN)
            options.setdefault("kwargsrepr", HIDDEN)
        return super().apply_async(args, kwargs, *more, **options)


def task(*args: Any, **options: Any) -> Callable[..., Any]:
    """Make a function a task: `@task`, or `@task(bind=True, rate_limit="10/s", …)` with Celery's own options."""
    decorated: Callable[..., Any] = shared_task(*args, **options)
    return decorated
