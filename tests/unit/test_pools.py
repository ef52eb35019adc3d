"""What is known of Celery's pools."""

from __future__ import annotations

from app import pools
from app.pools.prefork import TaskPool


def test_a_prefork_pool_that_has_ended_has_no_places():
    """It is asked for as long as the worker's last receives go on."""
    pool = TaskPool(4)
    assert pools.has_ended(pool)
    assert pools.places(pool) == 0
