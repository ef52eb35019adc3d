"""Whether and when a program that ended is started again."""

from __future__ import annotations

from app.supervisor.restarts import Restarts


def test_each_restart_waits_twice_as_long_as_the_one_before_and_there_are_only_so_many():
    restarts = Restarts(limit=5, first_pause=1.0)
    assert [restarts.after_exit(ran_for=2.0) for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, None, None]
    assert restarts.spent == 5


def test_a_long_good_run_forgives_the_restarts_before_it():
    restarts = Restarts(limit=2, first_pause=1.0, good_run=300.0)
    assert [restarts.after_exit(ran_for=1.0), restarts.after_exit(ran_for=299.0)] == [1.0, 2.0]
    assert restarts.after_exit(ran_for=300.0) == 1.0


def test_no_restart_is_allowed_when_the_limit_is_zero():
    assert Restarts(limit=0).after_exit(ran_for=1_000.0) is None
