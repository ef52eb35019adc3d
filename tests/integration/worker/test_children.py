"""Prefork's children: recycled, killed, told to stop by their host, ended by the pool."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from harness import body, until

HERE = Path(__file__).parents[1]


def children(worker):
    return [child.pid for child in psutil.Process(worker.process.pid).children()]


def test_children_recycled_every_few_tasks_lose_nothing_and_no_thread_is_there_at_a_fork(start_worker, queues):
    queues.server.create_queue("sluice")
    names = [f"n{n}" for n in range(40)]
    for name in names:
        queues.server.fill("sluice", 1, body("probe.work", [name]))
    worker = start_worker("-P", "prefork", "-c", 2, "--max-tasks-per-child", 4)
    queues.wait_until_empty(within=60)
    assert sorted(worker.notes("end")) == sorted(names)
    assert (
        "multi-threaded" not in worker.log
    )  # Python 3.12's own word; what a fork is beside, all versions' workers tell here
    assert "exited with" not in worker.log
    assert worker.stop() == 0


def test_a_stop_while_children_are_recycled_leaves_nothing_in_flight(start_worker, queues):
    """What was written to a child that has its last task behind it is put back, and at a stop nobody takes it again."""
    queues.server.create_queue("sluice", max_receives=50)
    queues.server.fill("sluice", 400, body("probe.work", ["n", 0.01]))
    ended = 0
    for _ in range(2):
        worker = start_worker("-P", "prefork", "-c", 4, "--max-tasks-per-child", 2)
        until(lambda worker=worker: len(worker.notes("end")) > 20, "some work")
        assert worker.stop() == 0
        assert queues.server.queues["sluice"]["in_flight"] == 0
        ended += len(worker.notes("end"))
    assert queues.left() == 400 - ended


@pytest.mark.long
def test_a_child_that_is_killed_as_it_tells_how_it_ended_keeps_no_others_from_being_heard_in_a_drain(
    start_worker, queues
):
    queues.server.create_queue("sluice", max_receives=50)
    worker = start_worker("-P", "prefork", "-c", 3)
    queues.send(body("probe.die_writing", ["killed", 1.0]), body("probe.work", ["other", 2.5]))
    worker.wait_for_notes("start", ["killed", "other"])
    worker.signal()
    assert worker.ended(within=15) == 0
    assert worker.notes("end") == ["other"]
    assert queues.left() == 1
    assert queues.server.queues["sluice"]["in_flight"] <= 1  # it comes back later, as what has killed its process


def test_a_sigterm_to_a_child_is_its_hosts_and_ends_no_task(start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "prefork", "-c", 2)
    queues.send(body("probe.work", ["running", 2.0]))
    worker.wait_for_notes("start", ["running"])
    for pid in children(worker):
        os.kill(pid, signal.SIGTERM)
    worker.wait_for_notes("end", ["running"])
    queues.wait_until_empty()
    assert worker.notes("start") == ["running"]


#: In a worker: what goes wrong with its children, in the moment before its event loop begins.
TROUBLE = """
import os, signal, time
from celery import signals

def killed(pool):
    os.kill(pool[0].pid, signal.SIGKILL)
    time.sleep(0.2)

def no_process(pool):
    fork = os.fork
    def refuse():
        os.fork = fork
        raise BlockingIOError(11, "Resource temporarily unavailable")
    os.fork = refuse

@signals.worker_ready.connect(weak=False)
def ready(sender, **_):
    {trouble}(sender.controller.pool._pool._pool)
"""


@pytest.fixture
def start_in_trouble(start_worker, tmp_path):
    def start(trouble):
        (tmp_path / "trouble.py").write_text(TROUBLE.replace("{trouble}", trouble))
        environment = {"PYTHONPATH": f"{tmp_path}:{HERE}", "SLUICE_TASK_MODULES": "tasks,probe,trouble"}
        return start_worker("-P", "prefork", "-c", 2, environment=environment)

    return start


def test_a_child_that_is_killed_as_the_worker_starts_is_replaced(start_in_trouble, queues):
    queues.server.create_queue("sluice")
    worker = start_in_trouble("killed")
    queues.send(body("probe.work", ["one", 1.0]), body("probe.work", ["other", 1.0]))
    worker.wait_for_notes("end", ["one", "other"])
    until(lambda: len(children(worker)) == 2, "two children")
    assert worker.log.count("exited with") == 1
    assert worker.stop() == 0


def test_where_the_system_gives_no_process_the_worker_goes_on_with_those_there_are(start_in_trouble, queues):
    queues.server.create_queue("sluice")
    worker = start_in_trouble("no_process")
    queues.send(body("probe.work", ["runs", 2.0]), body("probe.work", ["runs-too", 2.0]))
    worker.wait_for_notes("start", ["runs", "runs-too"])
    [dies, _] = children(worker)
    os.kill(dies, signal.SIGKILL)
    worker.wait_for("The system gives no process for a child")
    worker.wait_for("The system gives processes again: 2 children run")
    queues.wait_until_empty()
    assert len(worker.notes("start")) == len(worker.notes("end")) + 1 == 3
    assert worker.stop() == 0


def test_children_killed_again_and_again_lose_nothing(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=100)
    names = [f"n{n}" for n in range(60)]
    for name in names:
        queues.server.fill("sluice", 1, body("probe.work", [name, 0.05]))
    environment = {"SLUICE_RETRY_BACKOFF": "0.1", "SLUICE_MAX_WORKER_LOSSES": "100"}
    worker = start_worker("-P", "prefork", "-c", 3, environment=environment)
    ends = time.monotonic() + 60
    kills = 0
    while queues.left() and time.monotonic() < ends:
        if kills < 8 and (pids := children(worker)):
            os.kill(pids[kills % len(pids)], signal.SIGKILL)
            kills += 1
        time.sleep(0.3)
    assert queues.left() == 0
    assert set(worker.notes("end")) == set(names)
    assert len(worker.notes("start")) <= len(names) + kills
    assert worker.is_alive
    assert queues.left("sluice-dead") == 0


def test_a_revoked_task_is_ended_and_its_child_replaced(start_worker, queues, valkey):
    from celery import Celery

    queues.server.create_queue("sluice")
    environment = {"SLUICE_CONTROL_URL": valkey.url}
    worker = start_worker("-P", "prefork", "-c", 1, environment=environment)
    queues.send(body("probe.work", ["revoked", 300.0], id="revoked"))
    worker.wait_for_notes("start", ["revoked"])
    with Celery("control", broker=valkey.url).connection() as connection:
        Celery("control", broker=valkey.url).control.revoke("revoked", terminate=True, connection=connection)
    queues.wait_until_empty()
    queues.send(body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
    assert until(lambda: worker.is_alive, "worker")
