"""Time limits, the pool's size, a queue's own bounds, late messages."""

from __future__ import annotations

import itertools
import time

import pytest
from harness import body, until


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_at_the_hard_limit_the_message_comes_back_and_the_place_is_free(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=1)
    worker = start_worker("-P", pool, "-c", 1)
    queues.send(body("probe.hang", ["hung"]))
    worker.wait_for_notes("start", ["hung"])
    queues.send(body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
    queues.wait_until_empty()
    assert worker.notes("start").count("hung") == 1
    assert "hung" not in worker.notes("end")
    assert queues.left("sluice-dead") == 1


@pytest.mark.parametrize(
    "pool", ["gevent", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("prefork", "threads"))]
)
def test_beside_a_task_that_never_returns_others_run_and_where_it_is_killed_its_message_too(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=100)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_VISIBILITY_TIMEOUT": "2"})
    queues.send(body("probe.hang_once", ["hung"]))
    worker.wait_for_notes("start", ["hung"])
    others = [f"other-{n}" for n in range(20)]
    queues.send(*(body("probe.work", [name, 0.1]) for name in others))
    worker.wait_for_notes("end", others)
    if pool == "threads":
        worker.wait_for("its time limit is over and it still runs")
    else:
        worker.wait_for_notes("end", ["hung"])
        queues.wait_until_empty()
        assert worker.notes("start").count("hung") == 2
    queues.send(body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
    assert queues.left("sluice-dead") == 0


def test_at_the_hard_limit_the_task_is_dead_before_its_message_goes_back(start_worker, queues):
    """However long it takes to store the failure: billiard's own would kill the task after that."""
    queues.server.create_queue("sluice", max_receives=10)
    workers = [start_worker("-P", "prefork", "-c", 1, environment={"SLUICE_RETRY_BACKOFF": "0.1"}) for _ in range(2)]
    queues.send(body("probe.beat", ["name"]))
    queues.wait_until_empty()
    [first] = [worker for worker in workers if worker.notes("beat")]
    [second] = [worker for worker in workers if worker.notes("end")]
    assert first is not second
    beats = len(first.notes("beat"))
    time.sleep(0.2)
    assert len(first.notes("beat")) == beats


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_time_limits_hold_when_the_consumer_begins_anew(pool, start_worker, queues):
    """As Celery lets it do after an error of the connection: its event loop's timers are gone then."""
    queues.server.create_queue("sluice", max_receives=10)
    worker = start_worker("-P", pool, "-c", 2, environment={"PROBE_FAILS": "connection"})
    queues.send(body("probe.hang_once", ["hung"]))
    worker.wait_for_notes("start", ["hung"])
    queues.send(body("probe.crash", []))
    worker.wait_for("re-establish")
    worker.wait_for_notes("end", ["hung"])
    assert worker.notes("start").count("hung") == 2
    queues.wait_until_empty()


@pytest.mark.parametrize("told", ["in the drain", pytest.param("before", marks=pytest.mark.long)])
def test_in_a_drain_a_task_is_told_of_its_soft_limit_once(told, start_worker, queues):
    """A second time would end what it does about the first."""
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "prefork", "-c", 1)
    queues.send(body("probe.tidy_up", ["name"]))
    worker.wait_for_notes("start" if told == "in the drain" else "tidying", ["name"])
    assert worker.stop() == 0
    assert worker.notes("end") == ["name"]
    assert "Traceback" not in worker.log


@pytest.mark.long
def test_when_the_consumer_begins_anew_nothing_waits_behind_a_task_that_runs(start_worker, queues):
    """Celery takes all children for idle then."""
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "prefork", "-c", 3, environment={"PROBE_FAILS": "connection"})
    queues.send(body("probe.work", ["long", 30.0]), body("probe.work", ["another", 30.0]))
    worker.wait_for_notes("start", ["long", "another"])
    queues.send(body("probe.crash", []))
    worker.wait_for("re-establish")
    names = [f"short-{n}" for n in range(6)]
    queues.send(*(body("probe.work", [name, 0.1]) for name in names))
    worker.wait_for_notes("end", names)
    assert "long" not in worker.notes("end")


def test_at_the_soft_limit_a_task_is_told_and_its_message_comes_back(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=1)
    worker = start_worker("-P", "prefork", "-c", 1)
    queues.send(body("probe.hang_softly", ["hung"]))
    queues.wait_until_empty()
    assert worker.notes("start").count("hung") == 1
    assert "SoftTimeLimitExceeded" in worker.log
    assert queues.left("sluice-dead") == 1


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_autoscale_grows_under_load(pool, start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", pool, "--autoscale", "4,1")
    queues.send(*(body("probe.work", [n, 3.0]) for n in range(30)))
    until(lambda: len(worker.notes("start")) - len(worker.notes("end")) == 4, "four at once")


@pytest.mark.parametrize("pool", ["prefork", "gevent", "threads"])
def test_a_queue_of_its_own_bound_never_has_more_in_work_however_many_polls(pool, start_worker, queues):
    queues.server.create_queue("sluice")
    queues.server.fill("sluice", 24, body("probe.work", ["n", 0.1]))
    environment = {"SLUICE_PREFETCH": "3", "SLUICE_POLLS_MIN": "4", "SLUICE_VISIBILITY_TIMEOUT": "345"}
    worker = start_worker("-P", pool, "-c", 8, environment=environment)
    queues.wait_until_empty()
    noted = [line.split()[0] for line in worker.notes_file.read_text().splitlines()]
    in_work = itertools.accumulate({"start": 1, "end": -1}[kind] for kind in noted)
    assert 0 < max(in_work) <= 3
    assert len(worker.notes("end")) == 24


def test_polls_and_lease_are_what_was_asked_for(start_worker, queues):
    queues.server.create_queue("sluice")
    environment = {"SLUICE_POLLS_MIN": "3", "SLUICE_VISIBILITY_TIMEOUT": "345", "SLUICE_POLL_WAIT": "20"}
    worker = start_worker("-P", "threads", "-c", 30, environment=environment)
    until(lambda: queues.server.queues["sluice"]["waiting_polls"] == 3, "three polls")
    queues.send(body("probe.work", ["long", 300.0]))
    worker.wait_for_notes("start", ["long"])
    worker.kill()
    queues.server.clock.advance(340)
    assert queues.server.queues["sluice"]["in_flight"] == 1
    queues.server.clock.advance(6)
    assert queues.server.queues["sluice"]["visible"] == 1


def test_late_messages_run_and_are_told_of(start_worker, queues):
    queues.server.create_queue("sluice")
    queues.send(*(body("probe.work", [n]) for n in range(3)))
    time.sleep(1.2)
    worker = start_worker("-P", "threads", "-c", 3, environment={"SLUICE_MAX_AGE": "1"})
    queues.wait_until_empty()
    assert len(worker.notes("end")) == 3
    assert "Queue sluice: 3 messages were older than its max_age of 1 s when received" in worker.log


@pytest.mark.parametrize("pool", ["prefork", "gevent", "threads", "solo"])
def test_each_pool_keeps_up_without_stalls_and_ends_promptly(pool, start_worker, queues):
    """Thirty a second is asked of every pool; a full window that is looked at once a second would do five."""
    queues.server.create_queue("sluice")
    queues.server.configure(round_trip=0.01)
    environment = {"SLUICE_PREFETCH_MULTIPLIER": "1", "SLUICE_POLL_WAIT": "20"}
    worker = start_worker("-P", pool, "-c", 4, environment=environment)
    until(lambda: queues.server.queues["sluice"]["waiting_polls"], "poll")
    began = time.monotonic()
    queues.server.fill("sluice", 90, body("probe.work", ["n"]))
    queues.wait_until_empty()
    assert len(worker.notes("end")) == 90
    assert time.monotonic() - began < 9  # thrice the time it should take: others run here too

    # And an idle worker ends without waiting for its long poll
    until(lambda: queues.server.queues["sluice"]["waiting_polls"], "poll")
    assert worker.stop(within=15) == 0
