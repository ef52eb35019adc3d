"""What a worker checks and says around its run: which pools and options it takes, what it logs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.utils.text import str_to_list

from app import refusals
from app.pools import RefusedPool

if TYPE_CHECKING:
    from settings.environment import Settings

logger = logging.getLogger(__name__)

#: The pools that take `--autoscale`: those whose `grow` and `shrink` do something.
_CAN_GROW = {"prefork", "gevent"}
#: Those that warn a task at its soft limit, and those that kill it at its hard one.
_KEEP_SOFT_LIMITS, _KEEP_HARD_LIMITS = {"prefork"}, {"prefork", "gevent"}
#: Options of `celery worker` that are ours to say, and where.
_OURS = {
    "time_limit": "Set SLUICE_TASK_TIME_LIMIT in place of --time-limit: leases end with it.",
    "soft_time_limit": "Set SLUICE_TASK_SOFT_TIME_LIMIT in place of --soft-time-limit.",
}
#: Celery's loggers of one INFO line per task.
_TASK_LOGGERS = ("celery.worker.strategy", "celery.app.trace")
#: The one that shows what the pool is called with, at DEBUG.
_POOL_LOGGER = "celery.pool"


def install(settings: Settings) -> None:
    """Connect to the worker's signals; called once, by the composition root."""
    signals.celeryd_init.connect(_check_options, weak=False)
    signals.celeryd_init.connect(refusals.check, weak=False)
    signals.celeryd_init.connect(_Way(settings), weak=False)
    signals.celeryd_after_setup.connect(_Greeting(settings), weak=False)
    signals.celeryd_after_setup.connect(_warn_of_limits, weak=False)
    signals.after_setup_logger.connect(_Quiet(log_tasks=settings.log_tasks), weak=False)


def _check_options(options: dict[str, Any], conf: Any, **_: Any) -> None:
    """Refuse what cannot work.

    Raises:
        SystemExit: one sentence, with what to do. (Celery logs any other exception of a signal, and goes on.)
    """
    pool = options.get("pool") or options.get("pool_cls")
    if pool is RefusedPool:
        raise SystemExit("Sluice runs with -P prefork, gevent, threads or solo; this pool is not supported.")
    for option, sentence in _OURS.items():
        if options.get(option) is not None:
            raise SystemExit(sentence)
    name = _name_of(pool)
    if options.get("autoscale") and name not in _CAN_GROW:
        raise SystemExit(f"The {name} pool cannot grow: use --concurrency, or --autoscale with -P prefork or gevent.")
    if name == "gevent" and conf.worker_soft_shutdown_timeout:
        raise SystemExit(
            "worker_soft_shutdown_timeout does not work with the gevent pool: Celery waits for it in a signal handler, "
            "and the worker would fail. Stop the worker with SIGTERM; SLUICE_DRAIN_TIMEOUT is how long tasks may take."
        )
    known = [queue.name for queue in conf.task_queues]
    asked = [*str_to_list(options.get("queues") or ()), *str_to_list(options.get("exclude_queues") or ())]
    if unknown := [queue for queue in asked if queue not in known]:
        raise SystemExit(
            f"There is no queue {', '.join(unknown)} to consume from: the settings describe {', '.join(known)}. "
            "Correct -Q (or -X), or add the queue to settings/queues.py."
        )


def _name_of(pool: Any) -> str:
    """A pool class's name as -P has it."""
    return str(getattr(pool, "__module__", "")).rpartition(".")[2]


def _warn_of_limits(instance: Any, conf: Any, **_: Any) -> None:
    """Say which tasks have a time limit of their own that this worker's pool does not keep."""
    pool = _name_of(instance.pool_cls)
    for limit, pools, lack in (
        ("soft_time_limit", _KEEP_SOFT_LIMITS, "warns no task"),
        ("time_limit", _KEEP_HARD_LIMITS, "kills no task"),
    ):
        default = getattr(conf, f"task_{limit}")
        own = sorted(task.name for task in instance.app.tasks.values() if getattr(task, limit) not in (None, default))
        if own and pool not in pools:
            logger.warning(
                "The %s pool %s, so that %s of %s is not kept: use -P %s.",
                pool,
                lack,
                limit,
                ", ".join(own),
                " or ".join(sorted(pools, reverse=True)),
            )


class _Way:
    """Refuses to start where SQS cannot be called, however long one waits: no region, a proxy that is none.

    Raises:
        SystemExit: one sentence, with what to do.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, **_: Any) -> None:
        from app.transport.engine.account import obstacle  # noqa: PLC0415 - only a worker needs it, and it takes a while

        if sentence := obstacle(endpoint_url=self._settings.aws_endpoint_url_sqs, region=self._settings.aws_region):
            raise SystemExit(sentence)


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
