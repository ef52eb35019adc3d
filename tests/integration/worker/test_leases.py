"""Leases, with real workers: renewed while tasks run, over with the time limit, and the task can see how it stands."""

from __future__ import annotations

import signal
import time

import pytest
from harness import body, until

LEASE = {"SLUICE_VISIBILITY_TIMEOUT": "2"}


def remaining(worker):
    lines = worker.notes_file.read_text().splitlines()
    return [float(line.split()[2]) for line in lines if line.startswith("lease ")]


@pytest.mark.parametrize(
    "pool", ["prefork", "gevent", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("threads", "solo"))]
)
def test_a_task_longer_than_its_lease_runs_once_and_sees_it_renewed(pool, start_worker, queues):
    """Solo: the task blocks the main thread all the while."""
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_VISIBILITY_TIMEOUT": "4"})
    queues.send(body("probe.watch_lease", ["long", 6.0]))
    worker.wait_for_notes("end", ["long"])
    queues.wait_until_empty()
    assert worker.notes("start") == ["long"]
    assert 0 < min(remaining(worker)) < 2.4  # more than half of it over
    assert 3.0 < max(remaining(worker)) <= 4.0
    assert "lost" not in worker.log


def test_greenlets_that_hog_the_cpu_lose_no_lease(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", "gevent", "-c", 2, environment=LEASE)
    queues.send(body("probe.hog", ["hog", 5.0]), body("probe.work", ["beside", 0.1]))
    worker.wait_for_notes("end", ["hog", "beside"])
    queues.wait_until_empty()
    assert sorted(worker.notes("start")) == ["beside", "hog"]


@pytest.mark.parametrize("pool", ["prefork", "gevent", "threads"])
def test_a_lease_that_cannot_be_renewed_is_lost_and_the_task_can_see_it(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    worker = start_worker("-P", pool, "-c", 1, environment=LEASE)
    queues.server.faults.add("ChangeMessageVisibilityBatch:error:status=500")
    queues.send(body("probe.watch_lease", ["long", 20.0]))
    worker.wait_for_notes("lost", ["long"])
    worker.wait_for("is lost")
    assert worker.log.count("is lost") <= worker.notes("start").count("long")  # which may have come here again


@pytest.mark.parametrize("pool", ["threads", pytest.param("solo", marks=pytest.mark.long)])
def test_where_a_task_cannot_be_killed_its_lease_ends_with_its_time_limit(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    worker = start_worker("-P", pool, "-c", 2, environment={**LEASE, "SLUICE_TASK_TIME_LIMIT": "4"})
    queues.send(body("probe.work", ["hung", 60.0]))
    worker.wait_for("its time limit is over and it still runs")
    if pool == "threads":  # solo receives nothing while its task runs
        worker.wait_for("still runs here: it goes back")
    # Who has waited longest is served first: the other, which asks for longer than the first does.
    other = start_worker("-P", "threads", "-c", 1, environment={**LEASE, "SLUICE_POLL_WAIT": "20"})
    other.wait_for_notes("start", ["hung"])
    assert worker.notes("start") == ["hung"]


def test_a_worker_that_stood_still_past_its_leases_begins_nothing_that_it_held(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    environment = {**LEASE, "SLUICE_PREFETCH_SECONDS": "60"}
    worker = start_worker("-P", "prefork", "-c", 1, environment=environment)
    quick = [f"quick-{n}" for n in range(20)]
    queues.send(*(body("probe.work", [name]) for name in quick))
    worker.wait_for_notes("end", quick)
    for n in range(6):
        queues.server.fill("sluice", 1, body("probe.work", [f"slow-{n}", 0.5]))
    until(lambda: queues.server.queues["sluice"]["in_flight"] > 1, "prefetch")
    worker.signal(signal.SIGSTOP)
    time.sleep(3)
    other = start_worker("-P", "prefork", "-c", 6, environment=LEASE)
    until(lambda: len(other.notes("end")) >= 4, "work by the other worker")
    worker.signal(signal.SIGCONT)
    queues.wait_until_empty()
    began = [name for name in worker.notes("start") + other.notes("start") if name.startswith("slow")]
    assert set(began) == {f"slow-{n}" for n in range(6)}
    assert len(began) <= 6 + 2  # what ran when it stopped, and what its child had begun meanwhile


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.long)])
def test_an_answer_that_lay_here_while_the_worker_stood_still_is_not_taken_for_fresh(pool, start_worker, queues):
    """Somebody else may have had its message for long."""
    queues.server.create_queue("sluice")
    queues.server.configure(round_trip=3.0)  # the answer is on its way for 1.5 s
    worker = start_worker("-P", pool, "-c", 1, environment={**LEASE, "SLUICE_POLL_WAIT": "20"})
    until(lambda: queues.server.queues["sluice"]["waiting_polls"], "receive")
    queues.server.fill("sluice", 1, body("probe.work", ["somebody's"]))
    until(lambda: queues.server.queues["sluice"]["in_flight"], "message on its way")
    worker.signal(signal.SIGSTOP)
    queues.server.configure(round_trip=0.0)
    until(lambda: queues.server.queues["sluice"]["visible"], "end of the lease")
    [message] = queues.client.receive_message(QueueUrl=queues.url(), VisibilityTimeout=600)["Messages"]
    worker.signal(signal.SIGCONT)
    queues.server.fill("sluice", 1, body("probe.work", ["another"]))
    worker.wait_for_notes("end", ["another"])
    assert worker.notes("start") == ["another"]
    queues.client.delete_message(QueueUrl=queues.url(), ReceiptHandle=message["ReceiptHandle"])
    queues.wait_until_empty()


@pytest.mark.long
def test_what_could_begin_elsewhere_is_not_hoarded(start_worker, queues):
    """Twenty tasks of five seconds on two workers with two places each: 25 seconds if nobody sits on any.

    That is when each works off ten: an eleventh would have waited behind others while a place was free elsewhere.
    """
    queues.server.create_queue("sluice", max_receives=5)
    workers = [start_worker("-P", "prefork", "-c", 2) for _ in range(2)]
    for n in range(20):
        queues.server.fill("sluice", 1, body("probe.work", [n, 5.0]))
    queues.wait_until_empty(within=40)
    assert [len(worker.notes("start")) for worker in workers] == [10, 10]


@pytest.mark.long
def test_what_was_fetched_when_tasks_were_quick_goes_back_when_they_are_slow(start_worker, queues):
    """All twenty are one worker's before there is another: half of them begin there all the same."""
    queues.server.create_queue("sluice", max_receives=50)
    first = start_worker("-P", "prefork", "-c", 2, environment={"SLUICE_PREFETCH_MULTIPLIER": "10"})
    quick = [f"quick-{n}" for n in range(60)]
    queues.send(*(body("probe.work", [name]) for name in quick))
    first.wait_for_notes("end", quick)
    queues.server.fill("sluice", 20, body("probe.work", ["slow-{n}", 4.0]))
    until(lambda: queues.server.queues["sluice"]["in_flight"] >= 12, "most of them with the first worker")
    other = start_worker("-P", "prefork", "-c", 2)
    begun = len(first.notes("start")) - len(quick)
    queues.wait_until_empty(within=60)
    assert sorted(other.notes("start") + first.notes("start")[60:]) == sorted(f"slow-{n}" for n in range(20))
    assert len(other.notes("start")) >= (20 - begun) // 2 - 1  # of what had not begun when it came
