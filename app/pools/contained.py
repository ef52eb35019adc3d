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
from celery.exceptions import WorkerShutdown, WorkerTerminate

if TYPE_CHECKING:
    from collections.abc import Callable


def contained(target: Callable[..., Any]) -> Callable[..., Any]:
    """What runs a task, as a function of which the pool reports the end however it ends."""
    return partial(_call, target)


def _call(target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return target(*args, **kwargs)
    except (WorkerShutdown, WorkerTerminate) as error:
        raise SystemExit(f"{type(error).__name__}, raised by a task") from error
    except Exception:  # noqa: BLE001 - it is reported
        return True, ExceptionInfo(), None
