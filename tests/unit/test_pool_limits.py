"""Time limits under prefork: who is told and killed when, by how many timers."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from celery.concurrency import asynpool

from app.pools.limits import TimeLimits
from app.pools.prefork import AsynPool


class Pool:
    """Jobs, an event loop's timers, and what was done."""

    def __init__(self, clock):
        self.clock, self.jobs, self.timers, self.done = clock, {}, [], []
        self.begin_anew()

    def begin_anew(self):
        self.timers.clear()
        self.limits = TimeLimits(
            self.jobs, call_later=self._call_later, on_soft=self.soft, on_hard=self.hard, clock=self.clock.monotonic
        )
        self.limits.look()

    def soft(self, job):
        self.done.append(("soft", job.name, self.clock.monotonic() - job._time_accepted))

    def hard(self, job):
        self.done.append(("hard", job.name, self.clock.monotonic() - job._time_accepted))
        job.is_ready = True

    def _call_later(self, delay, call):
        timer = [self.clock.monotonic() + delay, call]
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: self.timers.remove(timer))

    def give(self, name, soft=None, hard=None, *, begins=True):
        job = Job(name, soft, hard)
        self.jobs[len(self.jobs)] = job
        if begins:
            job._time_accepted = self.clock.monotonic()
            self.limits.begun(job, soft, hard)
        return job

    def advance(self, seconds):
        ends = self.clock.monotonic() + seconds
        while due := [timer for timer in self.timers if timer[0] <= ends]:
            timer = min(due)
            self.timers.remove(timer)
            self.clock.advance(max(0.0, timer[0] - self.clock.monotonic()))
            timer[1]()
        self.clock.advance(ends - self.clock.monotonic())


class Job:
    def __init__(self, name, soft, hard):
        self.name, self._soft_timeout, self._timeout = name, soft, hard
        self._time_accepted, self.is_ready = None, False

    def ready(self):
        return self.is_ready


@pytest.fixture
def pool(manual_clock):
    return Pool(manual_clock)


def test_each_is_told_and_then_killed_in_its_own_time(pool):
    pool.give("long", 10.0, 20.0)
    pool.give("short", 1.0, 2.0)
    pool.give("hard only", None, 5.0)
    pool.give("none")
    pool.give("waits", 0.1, 0.2, begins=False)
    pool.advance(100)
    assert pool.done == [
        ("soft", "short", 1.0),
        ("hard", "short", 2.0),
        ("hard", "hard only", 5.0),
        ("soft", "long", 10.0),
        ("hard", "long", 20.0),
    ]
    assert pool.timers == []


def test_what_has_ended_is_left_alone(pool):
    pool.give("ended", 1.0, 2.0).is_ready = True
    pool.advance(10)
    assert pool.done == []


def test_ten_thousand_tasks_in_a_row_take_one_timer(pool):
    for n in range(10_000):
        pool.give(f"n{n}", 870.0, 900.0).is_ready = True
        pool.jobs.clear()
        assert len(pool.timers) == 1
        pool.advance(0.001)


def test_one_that_ends_earlier_than_all_before_it_is_not_late(pool):
    pool.give("long", 870.0, 900.0)
    pool.advance(1)
    pool.give("short", None, 1.0)
    pool.advance(5)
    assert pool.done == [("hard", "short", 1.0)]
    assert len(pool.timers) == 1


def test_when_the_event_loop_begins_anew_the_time_until_then_counts(pool):
    pool.give("runs", 3.0, 10.0)
    pool.advance(2)
    pool.begin_anew()
    pool.advance(20)
    assert pool.done == [("soft", "runs", 3.0), ("hard", "runs", 10.0)]


def test_what_cannot_be_told_keeps_no_other_from_its_limit(pool, caplog):
    def fail(job):
        raise PermissionError(job.name)

    pool.limits._on_soft = fail
    pool.give("odd", 1.0, 5.0)
    pool.give("other", None, 2.0)
    pool.advance(10)
    assert [name for _, name, _ in pool.done] == ["other", "odd"]
    assert "could not be kept" in caplog.text


def test_celery_asks_for_it_where_it_did():
    """An internal of Celery's: where its name has changed, its own timers would be back."""
    assert "_create_timelimit_handlers" in asynpool.AsynPool.register_with_event_loop.__code__.co_names
    pool = AsynPool.__new__(AsynPool)
    pool._cache, pool.on_soft_timeout, pool.on_hard_timeout = {}, None, None
    pool._create_timelimit_handlers(SimpleNamespace(call_later=lambda *_: None))
    assert pool.on_timeout_set.__self__._looks_at == math.inf
    assert pool.on_timeout_cancel is None
