"""What Celery's other pools than prefork let through, so that nobody heard of it and the message was never settled.

Celery's own WorkerShutdown and WorkerTerminate, raised by a task: the worker ended, with gevent at once and with all
its tasks. Here they are like any other SystemExit of a task. One that wants its worker to stop asks it to:
`self.app.control.shutdown(destination=[self.request.hostname])`.

What goes wrong around a task, as when its result cannot be stored: here it has failed, as under prefork.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool
from celery.exceptions import WorkerShutdown, WorkerTerminate
from gevent import GreenletExit

if TYPE_CHECKING:
    from collections.abc import Callable

#: In place of a run time: the greenlet was killed. Celery's own word for it, None, also means that it need not run.
KILLED = "killed"


def contained(target: Callable[..., Any]) -> Callable[..., Any]:
    """What runs a task, as a function of which the pool reports the end however it ends."""
    return partial(_call, target)


def _call(target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return target(*args, **kwargs)
    except (WorkerShutdown, WorkerTerminate) as error:
        raise SystemExit(f"{type(error).__name__}, raised by a task") from error
    except GreenletExit:
        return False, None, KILLED
    except Exception:  # noqa: BLE001 - it is reported
        return True, ExceptionInfo(), None


class Contained(BasePool):
    """The part of a pool that begins no task too late, and hears of the end of each: of those without processes."""

    def on_apply(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it."""
        options["accept_callback"] = _in_time(options["accept_callback"])
        return super().on_apply(contained(target), *args, **options)


def _in_time(accept: Callable[..., None]) -> Callable[..., None]:
    """What a pool calls just before a task, as a function that lets none begin which has waited there for too long."""
    request: Any = getattr(accept, "__self__", None)

    def accepted(pid: int, time_accepted: float) -> None:
        if request.is_too_late:
            request.hand_back()
            raise GreenletExit
        accept(pid, time_accepted)

    return accepted if hasattr(request, "is_too_late") else accept
