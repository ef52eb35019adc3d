"""SIGTERM: running tasks finish and are deleted, what had not started goes back, and there is an end to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import HERE, POOLS, ROOT, Worker, body, environment_of, members, python, until

#: The pools that are tried in `make test`, and those that only `make test-all` tries.
MOST_IN_LONG = ["prefork", "gevent", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("threads", "solo"))]
WAITING = [f"waiting-{n}" for n in range(6)]
#: Forks while it drains, and ends with the worker's exit status since nothing can be killed. Hooks that were registered
#: first run last.
FORKS_WHILE_IT_DRAINS = """
import os
at_the_moment = []
os.register_at_fork(before=lambda: at_the_moment.append(len(os.listdir("/proc/self/task"))))
import time
from types import SimpleNamespace
from app.drain import Drain

drain = Drain(4.0)
drain._worker = SimpleNamespace(pool=SimpleNamespace(is_green=False), exitcode=7)
drain.begin()
for _ in range(10):
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print(at_the_moment, flush=True)
time.sleep(30)
"""
#: Is told to stop once its worker runs, and goes on for longer than that one's tasks would have had.
RUNS_A_WORKER = """
import os, signal, sys, time
from threading import Timer
from celery import signals
from app.celery import app
signals.worker_ready.connect(lambda **_: Timer(0.5, os.kill, [os.getpid(), signal.SIGQUIT]).start(), weak=False)
app.Worker(pool_cls=sys.argv[1], concurrency=2).start()
time.sleep(5)
print("goes on", file=sys.__stdout__)
"""


@pytest.mark.parametrize("pool", POOLS)
def test_what_runs_finishes_and_what_waits_goes_back_at_once(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    # By default it would hold more than it runs only until the long task is a second old.
    worker = start_worker("-P", pool, "-c", 1, environment={"SLUICE_PREFETCH_SECONDS": "60"})
    quick = [f"quick-{n}" for n in range(20)]  # so that the worker learns that it may hold more than it runs
    queues.send(*(body("probe.work", [name]) for name in quick))
    worker.wait_for_notes("end", quick)
    queues.server.fill("sluice", 1, body("probe.work", ["running", 3.0]))
    for name in WAITING:
        queues.server.fill("sluice", 1, body("probe.work", [name, 0.2]))
    worker.wait_for_notes("start", ["running"])
    until(lambda: queues.server.queues["sluice"]["in_flight"] >= 2, "prefetch")

    worker.signal()
    worker.signal()
    assert worker.ended() == 0

    row = queues.server.queues["sluice"]
    assert worker.notes("start") == worker.notes("end")
    assert sorted(worker.notes("end")) == sorted([*quick, "running"])
    assert row["in_flight"] == 0
    assert row["visible"] == len(WAITING)
    assert members(worker.process.pid) == []


@pytest.mark.parametrize(
    "pool", ["gevent", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("prefork", "threads", "solo"))]
)
def test_without_any_other_message_a_running_task_has_all_the_time_that_it_was_promised(pool, start_worker, queues):
    """It has its lease, too, though the task takes longer than that."""
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 1, environment={"SLUICE_VISIBILITY_TIMEOUT": "4"})
    queues.send(body("probe.work", ["runs", 7.0]))
    worker.wait_for_notes("start", ["runs"])
    worker.signal()
    time.sleep(5)
    assert queues.server.queues["sluice"]["in_flight"] == 1
    assert worker.ended() == 0
    assert worker.notes("end") == ["runs"]
    assert "lost" not in worker.log
    assert (queues.left(), queues.server.queues["sluice"]["in_flight"]) == (0, 0)


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_at_the_deadline_what_still_runs_is_killed_and_then_handed_back(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_DRAIN_TIMEOUT": "1"})
    queues.send(body("probe.work", ["endless", 300.0]))
    worker.wait_for_notes("start", ["endless"])

    worker.signal()
    assert worker.ended(within=15) == 0

    row = queues.server.queues["sluice"]
    assert (row["visible"], row["in_flight"]) == (1, 0)
    assert "Not drained after 1 s" in worker.log
    until(lambda: members(worker.process.pid) == [], "end of all processes", within=5)


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_at_the_deadline_a_task_is_dead_before_another_worker_begins_with_its_message(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    first = start_worker("-P", pool, "-c", 2, environment={"SLUICE_DRAIN_TIMEOUT": "1"})
    queues.send(body("probe.pulse", ["name"]))
    until(lambda: first.notes("pulse"), "pulse")
    second = start_worker("-P", pool, "-c", 2)
    first.signal()
    until(lambda: second.notes("pulse"), "start elsewhere")
    assert first.ended() == 0
    assert float(first.notes("pulse")[-1]) < float(second.notes("pulse")[0])
    queues.wait_until_empty()


@pytest.mark.parametrize(
    ("pool", "task"), [("threads", "probe.work"), ("solo", "probe.work"), ("gevent", "probe.stubborn")]
)
def test_what_cannot_be_killed_keeps_its_lease_and_the_exit_status_says_so(pool, task, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_DRAIN_TIMEOUT": "1"})
    queues.send(body(task, ["endless"] if task.endswith("stubborn") else ["endless", 300.0]))
    worker.wait_for_notes("start", ["endless"])

    worker.signal()
    assert worker.ended(within=20) == 1

    row = queues.server.queues["sluice"]
    assert (row["visible"], row["in_flight"]) == (0, 1)
    assert "1 tasks cannot be killed" in worker.log
    assert members(worker.process.pid) == []


@pytest.mark.parametrize("pool", ["threads", pytest.param("gevent", marks=pytest.mark.long)])
def test_of_what_is_done_with_when_it_begins_none_begins_after_the_signal(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    worker = start_worker("-P", pool, "-c", 2)
    quick = [f"quick-{n}" for n in range(20)]
    queues.send(*(body("probe.work", [name]) for name in quick))
    worker.wait_for_notes("end", quick)
    for n in range(12):
        queues.server.fill("sluice", 1, body("probe.work_once", [f"once-{n}", 3.0]))
    until(lambda: len(worker.notes("start")) >= len(quick) + 2, "two running tasks")
    worker.signal()
    began = worker.notes("start")
    assert worker.ended() == 0
    assert worker.notes("start") == began
    assert sorted(worker.notes("end")) == sorted(began)
    assert queues.left() == 12 - (len(began) - len(quick))


@pytest.mark.parametrize(
    ("pool", "task"),
    [
        ("threads", ("probe.work", ["endless", 300.0])),
        pytest.param("gevent", ("probe.stubborn", ["endless"]), marks=pytest.mark.long),
    ],
)
def test_a_cold_shutdown_ends_at_the_drains_deadline_too(pool, task, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_DRAIN_TIMEOUT": "1"})
    queues.send(body(*task))
    worker.wait_for_notes("start", ["endless"])
    worker.signal(signal.SIGQUIT)
    assert worker.ended(within=15) == 1
    assert "1 tasks cannot be killed" in worker.log


@pytest.mark.parametrize(("pool", "status"), [("threads", 1), pytest.param("prefork", 0, marks=pytest.mark.long)])
def test_what_was_done_with_when_it_began_is_named_as_lost_at_the_deadline(pool, status, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_DRAIN_TIMEOUT": "1"})
    queues.send(body("probe.work_once", ["endless", 300.0], id="its-id"))
    worker.wait_for_notes("start", ["endless"])
    worker.signal()
    assert worker.ended(within=20) == status
    assert "1 of them are lost" in worker.log
    assert "(acks_late=False): its-id" in worker.log
    assert queues.left() == 0


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_cold_shutdown_kills_and_hands_back(pool, start_worker, queues):
    """Celery's own, by SIGQUIT."""
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2)
    queues.send(body("probe.work", ["endless", 300.0]))
    worker.wait_for_notes("start", ["endless"])
    worker.signal(signal.SIGQUIT)
    worker.ended(within=15)
    row = queues.server.queues["sluice"]
    assert (row["visible"], row["in_flight"]) == (1, 0)
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("pool", ["threads", pytest.param("solo", marks=pytest.mark.long)])
def test_in_a_cold_shutdown_what_cannot_be_killed_has_the_drains_time(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 1)
    queues.send(body("probe.work", ["short", 3.0]), body("probe.work", ["waiting"]))
    worker.wait_for_notes("start", ["short"])
    worker.signal(signal.SIGQUIT)
    assert worker.ended(within=15) == 0
    assert worker.notes("end") == ["short"]
    row = queues.server.queues["sluice"]
    assert (row["visible"], row["in_flight"]) == (1, 0)
    assert "Traceback" not in worker.log


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_program_goes_on_after_a_cold_shutdown_of_the_worker_in_it(pool, queues):
    queues.server.create_queue("sluice")
    environment = {**environment_of(queues.server), "SLUICE_DRAIN_TIMEOUT": "1", "SLUICE_POLL_WAIT": "1"}
    done = python("-c", RUNS_A_WORKER, pool, **environment)
    assert (done.returncode, done.stdout[-8:]) == (0, "goes on\n"), done.stderr


def test_a_child_that_is_replaced_while_it_drains_is_forked_beside_no_thread_and_the_deadline_holds():
    done = subprocess.run(
        [sys.executable, "-c", FORKS_WHILE_IT_DRAINS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, f"{[1] * 10}\n"), done.stderr
    assert "All tasks have ended" in done.stderr


def test_a_second_signal_shortens_the_drain(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", "prefork", "-c", 2, environment={"SLUICE_DRAIN_TIMEOUT": "300"})
    queues.send(body("probe.work", ["endless", 300.0]))
    worker.wait_for_notes("start", ["endless"])
    worker.signal()
    worker.wait_for("Warm shutdown")
    time.sleep(2.5)  # sooner, it counts as the same: a host tells the group, and a parent its child
    assert worker.is_alive
    worker.signal()
    assert worker.ended(within=15) == 0
    assert queues.server.queues["sluice"]["visible"] == 1


def test_signals_that_come_until_the_last_moment_change_nothing_of_the_exit_status(start_worker, queues):
    """As Python ends, it gives each signal back to the system, whose answer to this one is death."""
    queues.server.create_queue("sluice")
    for _ in range(2):
        worker = start_worker("-P", "threads", "-c", 2)
        while worker.process.poll() is None:
            worker.signal()
            time.sleep(0.002)
        assert worker.process.returncode == 0


@pytest.mark.parametrize("pool", POOLS)
def test_a_signal_to_the_whole_group_under_load_loses_and_repeats_nothing(pool, start_worker, queues):
    """As systemd, Heroku and honcho send it, here twice at once; with tasks running, prefetched and on their way."""
    queues.server.create_queue("sluice", max_receives=50)
    queues.server.configure(round_trip=0.005)
    names = [f"n{n}" for n in range(400)]
    for name in names:
        queues.server.fill("sluice", 1, body("probe.work", [name, 0.05]))
    for _ in range(3):
        worker = start_worker("-P", pool, "-c", 4)
        done = len(worker.notes("end"))
        until(lambda worker=worker, done=done: len(worker.notes("end")) > done + 20, "some work")
        for _ in range(2):
            os.killpg(worker.process.pid, signal.SIGTERM)
        assert worker.ended() == 0
        assert queues.server.queues["sluice"]["in_flight"] == 0
        assert worker.notes("start") == [] or sorted(worker.notes("start")) == sorted(worker.notes("end"))
        assert "lost" not in worker.log
        names = sorted(set(names) - set(worker.notes("end")))
        assert queues.left() == len(names), f"{queues.beside(names)}; {worker.log}"


#: In a worker: a second signal, in the very moment in which Celery tells of the first.
SECOND_SIGNAL = """
import os, signal
from celery import signals
tell = signals.worker_shutting_down
def clear():
    del tell._clear_dead_receivers
    os.kill(os.getpid(), signal.SIGTERM)
@signals.worker_ready.connect(weak=False)
def ready(**_):
    tell._clear_dead_receivers = clear
"""


@pytest.mark.parametrize("pool", POOLS)
def test_a_signal_in_the_middle_of_another_stops_nobody_for_ever(pool, start_worker, queues, tmp_path):
    """Celery holds a lock as it tells of a signal, where its next one can interrupt it."""
    (tmp_path / "second_signal.py").write_text(SECOND_SIGNAL)
    queues.server.create_queue("sluice")
    environment = {"PYTHONPATH": f"{tmp_path}:{HERE}", "SLUICE_TASK_MODULES": "tasks,probe,second_signal"}
    worker = start_worker("-P", pool, "-c", 2, environment=environment)
    queues.send(*(body("probe.work", [name, 1.0]) for name in ("one", "two")))
    until(lambda: worker.notes("start"), "start")
    worker.signal()
    assert worker.ended(within=15) == 0
    assert sorted(worker.notes("end")) == sorted(worker.notes("start"))
    assert queues.left() == 2 - len(worker.notes("end"))


@pytest.mark.long
@pytest.mark.parametrize("pool", ["gevent", "prefork"])
def test_told_to_begin_anew_it_drains_and_begins_anew_as_the_same_process(pool, start_worker, queues, monkeypatch):
    """Celery makes itself anew from its command line, which must be that of the script."""
    monkeypatch.setattr(Worker, "celery", (str(Path(sys.executable).with_name("celery")),))
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2)
    names = [f"long-{n}" for n in range(5)]
    queues.send(*(body("probe.work", [name, 1.5]) for name in names))
    until(lambda: len(worker.notes("start")) >= 2, "two running tasks")
    worker.signal(signal.SIGHUP)
    queues.wait_until_empty()
    assert sorted(worker.notes("end")) == names
    assert len(worker.notes("start")) == len(names)
    worker.wait_for(" ready.", times=2)
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "signals",
    [(signal.SIGHUP, signal.SIGTERM), pytest.param((signal.SIGTERM, signal.SIGHUP), marks=pytest.mark.long)],
)
def test_told_to_begin_anew_and_to_stop_it_stops(pool, signals, start_worker, queues, monkeypatch):
    monkeypatch.setattr(Worker, "celery", (str(Path(sys.executable).with_name("celery")),))
    queues.server.create_queue("sluice")
    worker = start_worker("-P", pool, "-c", 2)
    queues.send(body("probe.work", ["running", 2.0]))
    worker.wait_for_notes("start", ["running"])
    for number in signals:
        worker.signal(number)
        time.sleep(0.3)
    assert worker.ended() == 0
    assert worker.log.count(" ready.") == 1
    assert worker.notes("end") == ["running"]


@pytest.mark.parametrize("left", ["executor", pytest.param("thread", marks=pytest.mark.long)])
@pytest.mark.parametrize("pool", ["threads", pytest.param("solo", marks=pytest.mark.long)])
def test_threads_that_tasks_have_left_keep_nobody_from_the_end(pool, left, start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", pool, environment={"SLUICE_DRAIN_TIMEOUT": "2"})
    queues.send(body("probe.leave_thread", [left]))
    queues.wait_until_empty()
    worker.signal()
    assert worker.ended() == 0
    assert "threads that its tasks have left" in worker.log


def test_a_killed_worker_leaves_the_messages_and_no_process(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", "prefork", "-c", 2)
    queues.send(body("probe.work", ["running", 300.0]))
    worker.wait_for_notes("start", ["running"])
    worker.signal(signal.SIGKILL)
    worker.ended()
    assert queues.left() == 1


@pytest.mark.parametrize("pool", MOST_IN_LONG)
def test_when_the_worker_fails_what_runs_finishes_and_the_rest_goes_back(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    environment = {"PROBE_FAILS": "later", "SLUICE_VISIBILITY_TIMEOUT": "600"}
    worker = start_worker("-P", pool, "-c", 2, environment=environment)
    names = [f"task-{n}" for n in range(6)]
    queues.send(*(body("probe.work", [name, 1.5]) for name in names[:1]))
    worker.wait_for_notes("start", names[:1])
    queues.send(body("probe.crash"), *(body("probe.work", [name, 1.5]) for name in names[1:]))
    assert worker.ended() == 1
    assert "as asked" in worker.log
    assert set(worker.notes("start")) == set(worker.notes("end")) - {"crash"}
    row = queues.server.queues["sluice"]
    assert (row["in_flight"], row["visible"] + len(worker.notes("end"))) == (0, len(names) + 1)
    assert members(worker.process.pid) == []


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_when_the_worker_fails_too_tasks_that_do_not_end_in_time_are_killed_and_handed_back(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    environment = {"PROBE_FAILS": "later", "SLUICE_VISIBILITY_TIMEOUT": "600", "SLUICE_DRAIN_TIMEOUT": "2"}
    worker = start_worker("-P", pool, "-c", 2, environment=environment)
    queues.send(body("probe.work", ["endless", 300.0]))
    worker.wait_for_notes("start", ["endless"])
    queues.send(body("probe.crash"))
    assert worker.ended(within=15) == 1
    assert queues.server.queues["sluice"]["in_flight"] == 0


@pytest.mark.parametrize("pool", MOST_IN_LONG)
def test_a_start_that_fails_hands_back_what_was_received_and_leaves_no_process(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    queues.server.fill("sluice", 20, body("probe.work", ["n"]))
    environment = {"PROBE_FAILS": "start", "SLUICE_VISIBILITY_TIMEOUT": "600"}
    worker = start_worker("-P", pool, "-c", 2, environment=environment, wait=False)
    assert worker.ended() == 1
    row = queues.server.queues["sluice"]
    assert (row["in_flight"], row["visible"] + len(worker.notes("end"))) == (0, 20)
    assert members(worker.process.pid) == []


def test_celerys_soft_shutdown_lets_tasks_end_before_the_cold_one_kills_and_hands_back(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    settings = {"PROBE_SETTINGS": json.dumps({"worker_soft_shutdown_timeout": 6.0})}
    worker = start_worker("-P", "prefork", "-c", 2, environment=settings | {"SLUICE_VISIBILITY_TIMEOUT": "600"})
    queues.send(body("probe.work", ["short", 2]), body("probe.work", ["long", 60]))
    worker.wait_for_notes("start", ["short", "long"])
    worker.signal(signal.SIGQUIT)
    worker.ended()
    assert worker.notes("end") == ["short"]
    assert (queues.server.queues["sluice"]["in_flight"], queues.left()) == (0, 1)


def test_with_gevent_it_is_refused_at_start_as_it_would_fail(start_worker, queues):
    queues.server.create_queue("sluice")
    settings = {"PROBE_SETTINGS": json.dumps({"worker_soft_shutdown_timeout": 4.0})}
    worker = start_worker("-P", "gevent", environment=settings, wait=False)
    assert worker.ended() != 0
    assert "worker_soft_shutdown_timeout does not work with the gevent pool" in worker.log
    assert "Traceback" not in worker.log
