"""What Sluice must know of Celery's pools: how much runs at once, and how to kill it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import concurrency
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool as PreforkPool
from gevent import get_hub
from gevent.monkey import is_module_patched

if TYPE_CHECKING:
    from collections.abc import Iterable


class RefusedPool(BasePool):
    """Stands in for the pools that we do not support, so that naming one gets an answer and not a traceback."""


def install() -> None:
    """Have `-P NAME` mean ours. Celery's table of pools is where it is looked up, before any signal of the worker."""
    concurrency.ALIASES.update(
        prefork="app.pools.prefork:TaskPool",
        gevent="app.pools.gevent:TaskPool",
        threads="app.pools.threads:TaskPool",
        solo="app.pools.solo:TaskPool",
        eventlet="app.pools:RefusedPool",
        processes="app.pools:RefusedPool",
    )


def places(pool: Any) -> int:
    """How many tasks a pool runs at once: what it has grown or shrunk to, where it can; none once it has ended."""
    if isinstance(pool, PreforkPool):
        processes = pool._pool  # noqa: SLF001 - None once it has ended: what polls bring then goes back, and is reckoned with first
        return 0 if processes is None else int(processes._processes)  # noqa: SLF001
    if pool.is_green:
        return int(pool._pool.size)  # noqa: SLF001 - gevent's; its `num_processes` is how many run now
    return int(pool.num_processes)


def has_ended(pool: Any) -> bool:
    """Whether no task can be running any more, since no process is there to run it; of the other pools nobody knows."""
    return isinstance(pool, PreforkPool) and pool._pool is None  # noqa: SLF001 - so Celery leaves it when it has joined them


def snapshot(requests: Iterable[Any]) -> set[Any]:
    """The requests of a moment (Celery's `active_requests`), which other threads add to and take from."""
    while True:
        try:
            return set(requests)
        except RuntimeError:  # it has changed in between
            continue


def this_hub() -> Any:
    """The hub of this thread's greenlets; None without gevent."""
    return get_hub() if is_module_patched("threading") else None


def kill(pool: Any, requests: Iterable[Any], *, hub: Any) -> bool:
    """Kill the tasks of these requests; from any thread. False: this pool cannot.

    Args:
        pool: the pool.
        requests: what runs in it.
        hub: the hub of the pool's greenlets, if it has any.
    """
    if isinstance(pool, PreforkPool):
        for request in requests:
            request.kill(pool)
        return True
    if pool.is_green:
        hub.loop.run_callback_threadsafe(_kill_greenlets, pool, list(requests))
        return True
    return False


def _kill_greenlets(pool: Any, requests: list[Any]) -> None:
    """In the hub, which must not wait; each kill does."""
    for request in requests:
        pool.spawn_n(request.kill, pool)
