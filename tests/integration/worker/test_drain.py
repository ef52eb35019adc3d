"""SIGTERM: running tasks finish and are deleted, what had not started goes back, and there is an end to it."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from harness import POOLS, body, until

WAITING = [f"waiting-{n}" for n in range(6)]


def members(group):
    """The processes of a process group, but for those that only wait to be reaped."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.parametrize("pool", POOLS)
def test_what_runs_finishes_and_what_waits_goes_back_at_once(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 1)
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
    assert worker.notes("start") == worker.notes("end") == [*quick, "running"]
    assert row["in_flight"] == 0
    assert row["visible"] == len(WAITING)
    assert members(worker.process.pid) == []


@pytest.mark.parametrize("pool", POOLS)
def test_at_the_deadline_what_still_runs_is_killed(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 1, environment={"SLUICE_DRAIN_TIMEOUT": "1"})
    queues.send(body("probe.work", ["endless", 300.0]))
    worker.wait_for_notes("start", ["endless"])

    worker.signal()
    worker.ended(within=15)

    assert queues.left() == 1
    assert "Not drained after 1 s" in worker.log
    until(lambda: members(worker.process.pid) == [], "end of all processes", within=5)


def test_a_killed_worker_leaves_the_messages_and_no_process(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", "prefork", "-c", 2)
    queues.send(body("probe.work", ["running", 300.0]))
    worker.wait_for_notes("start", ["running"])
    worker.signal(signal.SIGKILL)
    worker.ended()
    assert queues.left() == 1
