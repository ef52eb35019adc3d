"""What keeps a task from ending its worker: Celery's own WorkerShutdown and WorkerTerminate, raised by a task.

Celery's pools let these two through: the worker ended, with gevent at once and with all its tasks, and a thread was
left with a message that nobody settled. Here they are like any other SystemExit of a task. A task that wants its worker
to stop asks it to: `self.app.control.shutdown(destination=[self.request.hostname])`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from celery.exceptions import WorkerShutdown, WorkerTerminate

if TYPE_CHECKING:
    from collections.abc import Callable


def contained(target: Callable[..., Any]) -> Callable[..., Any]:
    """The function, as one that never raises what ends a worker."""
    return partial(_call, target)


def _call(target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return target(*args, **kwargs)
    except (WorkerShutdown, WorkerTerminate) as error:
        raise SystemExit(f"{type(error).__name__}, raised by a task") from error
