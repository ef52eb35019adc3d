"""What is known of Celery's pools."""

from __future__ import annotations

from app import pools
from app.pools import gevent
from app.pools.prefork import TaskPool


def test_a_prefork_pool_that_has_ended_has_no_places():
    """It is asked for as long as the worker's last receives go on."""
    pool = TaskPool(4)
    assert pools.has_ended(pool)
    assert pools.places(pool) == 0


def test_a_task_that_is_revoked_before_its_greenlet_begins_is_reported_all_the_same():
    """Celery kills it as it begins, and reports it only later than that."""
    pool, reported = gevent.TaskPool(1), []
    pool.on_start()
    pool.apply_async(
        lambda: reported.append("it ran"),
        callback=reported.append,
        accept_callback=lambda pid, _: pool.terminate_job(pid),
    )
    pool._pool.join(timeout=10)
    assert reported == [(False, None, None)]
