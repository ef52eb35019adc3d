"""Celery's threads pool, whose threads no task can end, and which has all of them before it is given a task.

Python's executor starts them as tasks come, and where the system gives none (a container's limit of processes) it says
that it cannot take the task, and runs it all the same: it ran twice, since its message had gone back. That thread's
place was lost for good, too.
"""

from __future__ import annotations

import logging
import threading

from celery.concurrency import thread
from celery.platforms import EX_FAILURE
from celery.worker import state

from app.pools.contained import Contained

logger = logging.getLogger(__name__)


class TaskPool(Contained, thread.TaskPool):
    """The pool as Celery's worker knows it."""

    def on_start(self) -> None:
        """Start all threads.

        Raises:
            SystemExit: the system does not give that many; it is logged.
        """
        super().on_start()
        all_are_there = threading.Event()
        started = 0
        try:
            for started in range(self.limit):  # noqa: B007 - how many there are when it fails
                self.executor.submit(all_are_there.wait)  # no thread is idle meanwhile, so that each needs a new one
        except RuntimeError as error:
            all_are_there.set()
            self.executor.shutdown(cancel_futures=True)
            logger.critical(
                "The system gives %d of %d threads of --concurrency (%s): lower it, or raise the limit of processes "
                "and threads (`ulimit -u`; a container's --pids-limit; a service's TasksMax)",
                started,
                self.limit,
                error,
            )
            raise SystemExit(EX_FAILURE) from error
        all_are_there.set()

    def on_stop(self) -> None:
        """Wait for the tasks, but not in a cold shutdown, which does that in a signal handler: no drain would begin."""
        if state.should_terminate:
            self.executor.shutdown(wait=False)
        else:
            super().on_stop()

    def on_terminate(self) -> None:
        """Wait for them after all, in no handler: none can be killed."""
        self.executor.shutdown()
