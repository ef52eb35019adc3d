"""What a worker checks, says and promises around its run: which pools it takes, what it logs, when a drain must end."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from celery import concurrency, signals
from celery.concurrency.base import BasePool
from celery.platforms import EX_FAILURE
from celery.utils.text import str_to_list
from gevent.monkey import get_original

from app.transport.custody import close_all

if TYPE_CHECKING:
    from settings.environment import Settings

logger = logging.getLogger(__name__)

#: A thread of the system's even under gevent: a deadline must hold when greenlets hog the CPU, and a signal handler,
#: where it begins, may not wait for a greenlet to start.
_start_real_thread = get_original("_thread", "start_new_thread")
_real_sleep = get_original("time", "sleep")

#: The pools that take `--autoscale`: those whose `grow` and `shrink` do something.
_CAN_GROW = {"prefork", "gevent"}
#: Celery's loggers of one INFO line per task.
_TASK_LOGGERS = ("celery.worker.strategy", "celery.app.trace")
#: The one that shows what the pool is called with, at DEBUG.
_POOL_LOGGER = "celery.pool"
#: Seconds for the last deletes.
_FLUSH = 5.0
#: Seconds that a cold shutdown may take before the process ends itself.
_COLD_SHUTDOWN = 5.0


class RefusedPool(BasePool):
    """Stands in for the pools that we do not support, so that naming one gets an answer and not a traceback."""


def install(settings: Settings) -> None:
    """Connect to the worker's signals; called once, by the composition root."""
    # Celery's table of pools is where `-P NAME` is looked up, before any signal of the worker.
    concurrency.ALIASES.update(eventlet="app.worker:RefusedPool", processes="app.worker:RefusedPool")
    signals.celeryd_init.connect(_check_options, weak=False)
    signals.celeryd_after_setup.connect(_Greeting(settings), weak=False)
    signals.after_setup_logger.connect(_Quiet(log_tasks=settings.log_tasks), weak=False)
    deadline = _DrainDeadline(settings.drain_timeout)
    signals.worker_init.connect(deadline.watch, weak=False)
    signals.worker_shutting_down.connect(deadline.begin, weak=False)
    signals.worker_shutdown.connect(_flush, weak=False)


def _check_options(options: dict[str, Any], conf: Any, **_: Any) -> None:
    """Refuse what cannot work.

    Raises:
        SystemExit: one sentence, with what to do. (Celery logs any other exception of a signal, and goes on.)
    """
    pool = options.get("pool") or options.get("pool_cls")
    if pool is RefusedPool:
        raise SystemExit("Sluice runs with -P prefork, gevent, threads or solo; this pool is not supported.")
    name = getattr(pool, "__module__", "").rpartition(".")[2]
    name = {"thread": "threads"}.get(name, name)
    if options.get("autoscale") and name not in _CAN_GROW:
        raise SystemExit(f"The {name} pool cannot grow: use --concurrency, or --autoscale with -P prefork or gevent.")
    known = [queue.name for queue in conf.task_queues]
    asked = [*str_to_list(options.get("queues") or ()), *str_to_list(options.get("exclude_queues") or ())]
    if unknown := [queue for queue in asked if queue not in known]:
        raise SystemExit(
            f"There is no queue {', '.join(unknown)} to consume from: the settings describe {', '.join(known)}. "
            "Correct -Q (or -X), or add the queue to settings/queues.py."
        )


def _flush(**_: Any) -> None:
    """All tasks have ended: tell SQS the last of it."""
    close_all(_FLUSH)


class _Greeting:
    """Says once, at the worker's start, what is missing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, **_: Any) -> None:
        if self._settings.control_url is None:
            logger.warning(
                "No control link: Flower, `celery inspect` and `celery control` cannot see this worker. "
                "Set SLUICE_CONTROL_URL to a Valkey or Redis to have them."
            )


class _Quiet:
    """Keeps Celery from writing two INFO lines per task, and from writing a task's arguments at DEBUG."""

    def __init__(self, *, log_tasks: bool) -> None:
        self._log_tasks = log_tasks

    def __call__(self, **_: Any) -> None:
        logging.getLogger(_POOL_LOGGER).setLevel(logging.INFO)
        if not self._log_tasks:
            for name in _TASK_LOGGERS:
                logging.getLogger(name).setLevel(logging.WARNING)


class _DrainDeadline:
    """Ends a shutdown that takes too long: Celery's own waits for running tasks for ever.

    The messages of what is killed come back after their visibility timeout.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._worker: Any = None
        self._is_running = False

    def watch(self, sender: Any, **_: Any) -> None:
        """Know the worker whose shutdown it will be."""
        self._worker = sender

    def begin(self, **_: Any) -> None:
        """The shutdown begins; in a signal handler, so nothing here may wait."""
        if not self._is_running:
            self._is_running = True
            _start_real_thread(self._run, ())

    def _run(self) -> None:
        if (consumer := getattr(self._worker, "consumer", None)) is not None:
            consumer.begin_drain()
        _real_sleep(self._timeout)
        logger.warning("Not drained after %.0f s (SLUICE_DRAIN_TIMEOUT): running tasks are killed", self._timeout)
        os.kill(os.getpid(), signal.SIGQUIT)
        _real_sleep(_COLD_SHUTDOWN)
        logger.error("Not stopped %.0f s after the drain's deadline: the worker ends itself", _COLD_SHUTDOWN)
        os._exit(EX_FAILURE)
