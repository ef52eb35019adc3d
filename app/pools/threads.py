"""Celery's threads pool, whose threads no task can end."""

from __future__ import annotations

from celery.concurrency import thread
from celery.worker import state

from app.pools.contained import Contained


class TaskPool(Contained, thread.TaskPool):
    """The pool as Celery's worker knows it."""

    def on_stop(self) -> None:
        """Wait for the tasks, but not in a cold shutdown, which does that in a signal handler: no drain would begin."""
        if state.should_terminate:
            self.executor.shutdown(wait=False)
        else:
            super().on_stop()
