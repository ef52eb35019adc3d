"""Celery's gevent pool, which can be stopped from a signal handler too.

Celery's cold shutdown (SIGQUIT, a second Ctrl-C) kills the tasks and then waits for the pool, in the handler. That may
run in the hub, which cannot wait: the worker died of it, and its messages were not handed back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.concurrency import gevent as celerys
from gevent import GreenletExit, get_hub, getcurrent

from app.pools.contained import contained

if TYPE_CHECKING:
    from collections.abc import Callable


#: What Celery's pool says of a task whose greenlet was killed: not failed, no value, no run time.
_KILLED = (False, None, None)


class TaskPool(celerys.TaskPool):
    """The pool as Celery's worker knows it."""

    def on_stop(self) -> None:
        """Wait for the tasks, where one can wait; the worker waits once more when it ends."""
        if getcurrent() is not get_hub():
            super().on_stop()

    def on_apply(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it in a greenlet."""
        options["accept_callback"] = _ends_by_itself(options["accept_callback"], options["callback"])
        return super().on_apply(contained(target), *args, **options)


def _ends_by_itself(accept: Callable[..., None], callback: Callable[[Any], None]) -> Callable[..., None]:
    """The callback that says that a task begins; it kills its own greenlet if the task was revoked just before.

    Celery reports that for a task that has begun, and for none that is about to.
    """

    def accepted(pid: int, time_accepted: float) -> None:
        try:
            accept(pid, time_accepted)
        except GreenletExit:
            callback(_KILLED)
            raise

    return accepted
