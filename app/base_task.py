"""The base task, and what the worker keeps of each message while its task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import Task as CeleryTask
from celery import shared_task
from celery.worker.request import Request as CeleryRequest

if TYPE_CHECKING:
    from collections.abc import Callable

#: What monitors and logs show in place of arguments and results.
HIDDEN = "hidden"


def _soft_limit(hard: float) -> float:
    """As the default of SLUICE_TASK_SOFT_TIME_LIMIT: thirty seconds to put things in order, less of a short limit."""
    return max(hard - 30, hard * 0.9)


class Request(CeleryRequest):
    """A delivery on its way through the worker: Celery's own, private by default and always settled."""

    #: In force for this delivery, in seconds: hard and soft; None is the worker's default.
    time_limits: tuple[float | None, float | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hard, soft = self.time_limits
        hard, soft = hard or self.task.time_limit, soft or self.task.soft_time_limit
        if hard and (not soft or soft >= hard):
            # Under prefork the hard limit's time only begins to run when the soft one's is over, and that would be
            # the default of minutes: a task with nothing but `time_limit=5` would have no limit of 5 s.
            soft = _soft_limit(hard)
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
        """Celery makes a subclass for each task, whose `on_success` cannot take what a task left by SystemExit.

        That is how all but the prefork pool report it; the message would never be settled, nor its slot given back.
        """
        super().__init_subclass__(**options)
        on_success = cls.on_success

        def on_end(self: Request, result: Any, **more: Any) -> Any:
            return self.on_failure(result) if isinstance(result, ExceptionInfo) else on_success(self, result, **more)

        cls.on_success = on_end

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Settle what failed. A task's MemoryError ends Celery's whole worker; here it is a failure like others."""
        try:
            super().on_failure(exc_info, send_failed_event, return_ok)
        except MemoryError:
            self.reject(requeue=True)
            self.send_event("task-failed", exception="MemoryError()", traceback=exc_info.traceback)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Settle what ran into its hard time limit: Celery's gevent pool reports it here and nowhere else."""
        super().on_timeout(soft, timeout)
        if not soft and self.task.acks_late:
            self.reject(requeue=True)  # once only: prefork, which also reports the killed process, finds it settled


class Task(CeleryTask):
    """The base of every task here.

    Beside Celery's own attributes:
        show_arguments: let events, Flower and `inspect` show this task's arguments and results (default: no).
    """

    Request = "app.base_task:Request"
    show_arguments = False

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
