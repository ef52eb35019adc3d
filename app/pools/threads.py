"""Celery's threads pool, whose threads no task can end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.concurrency import thread
from celery.worker import state

from app.pools.contained import contained, in_time

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskPool(thread.TaskPool):
    """The pool as Celery's worker knows it."""

    def on_stop(self) -> None:
        """Wait for the tasks, but not in a cold shutdown, which does that in a signal handler: no drain would begin."""
        if state.should_terminate:
            self.executor.shutdown(wait=False)
        else:
            super().on_stop()

    def on_apply(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it in a thread."""
        options["accept_callback"] = in_time(options["accept_callback"])
        return super().on_apply(contained(target), *args, **options)
