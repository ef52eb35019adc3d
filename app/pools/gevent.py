"""Celery's gevent pool, which can be stopped from a signal handler too.

Celery's cold shutdown (SIGQUIT, a second Ctrl-C) kills the tasks and then waits for the pool, in the handler. That may
run in the hub, which cannot wait: the worker died of it, and its messages were not handed back.
"""

from __future__ import annotations

from celery.concurrency import gevent as celerys
from gevent import get_hub, getcurrent

from app.pools.contained import Contained


class TaskPool(Contained, celerys.TaskPool):
    """The pool as Celery's worker knows it."""

    def on_stop(self) -> None:
        """Wait for the tasks, where one can wait."""
        if getcurrent() is not get_hub():
            super().on_stop()

    def on_terminate(self) -> None:
        """Wait for those that were killed, and so are about to end."""
        self.on_stop()
