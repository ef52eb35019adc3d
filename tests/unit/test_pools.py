"""What is known of Celery's pools."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery.concurrency import asynpool as celerys

from app import outcome, pools
from app.pools import prefork
from app.pools.contained import contained
from app.pools.prefork import AsynPool, TaskPool


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


@pytest.mark.parametrize(
    ("age", "limits"),
    [
        (0.0, (3.0, 10.0)),
        (2.0, (1.0, 8.0)),
        (3.0, (0.001, 7.0)),
        (60.0, (0.001, 0.002)),  # and not 0, which billiard takes for no limit
    ],
)
def test_time_limits_are_what_is_left_of_them_when_the_event_loop_begins_anew(age, limits, monkeypatch):
    pool, told = AsynPool.__new__(AsynPool), []
    job = SimpleNamespace(_time_accepted=100.0, _soft_timeout=3.0, _timeout=None, ready=lambda: False)
    waiting = SimpleNamespace(_time_accepted=None, ready=lambda: False)
    ended = SimpleNamespace(_time_accepted=1.0, ready=lambda: True)
    pool._cache = dict(enumerate([job, waiting, ended]))
    pool.timeout, pool.soft_timeout, pool.on_timeout_cancel = 10.0, None, "cancel"
    pool.on_timeout_set = lambda *call: told.append(call)
    monkeypatch.setattr(celerys.AsynPool, "register_with_event_loop", lambda *_: None)
    monkeypatch.setattr(prefork, "monotonic", lambda: 100.0 + age)
    pool.register_with_event_loop(None)
    assert told == [(job, *limits)]
