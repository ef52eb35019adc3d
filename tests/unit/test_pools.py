"""What is known of Celery's pools."""

from __future__ import annotations

from app import outcome, pools
from app.pools.contained import contained
from app.pools.prefork import TaskPool


def test_a_prefork_pool_that_has_ended_has_no_places():
    """It is asked for as long as the worker's last receives go on."""
    pool = TaskPool(4)
    assert pools.has_ended(pool)
    assert pools.places(pool) == 0


def test_what_goes_wrong_around_a_task_is_reported_as_a_failure_of_it():
    def run():
        raise OSError("the result cannot be stored")

    failed, info, runtime = contained(run)()
    assert (failed, repr(outcome.exception_in(info)), runtime) == (True, "OSError('the result cannot be stored')", None)
