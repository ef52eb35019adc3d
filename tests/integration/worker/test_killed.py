"""Killed and halted without a warning: nothing is lost, and no more runs again than was in work."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest
from harness import body, members, until

PLACES = 4
LEASE = {"SLUICE_VISIBILITY_TIMEOUT": "3"}
#: What a killed worker leaves to be run again: what ran, and as much that had ended and was not deleted yet.
AGAIN = 2 * PLACES


def fill(queues, count, seconds):
    queues.server.create_queue("sluice", max_receives=100)
    names = [f"n{n}" for n in range(count)]
    for name in names:
        queues.server.fill("sluice", 1, body("probe.work", [name, seconds]))
    return names


def test_the_children_of_a_killed_parent_end_and_no_more_runs_again_than_was_in_work(start_worker, queues):
    names = fill(queues, 60, 0.4)
    first = start_worker("-P", "prefork", "-c", PLACES, environment=LEASE)
    until(lambda: len(first.notes("end")) >= 20, "work")
    first.signal(signal.SIGKILL)
    first.ended()
    until(lambda: members(first.process.pid) == [], "end of its children", within=10)
    done, begun = set(first.notes("end")), first.notes("start")

    second = start_worker("-P", "prefork", "-c", PLACES, environment=LEASE)
    queues.wait_until_empty()
    assert done | set(second.notes("end")) == set(names)
    assert Counter(second.notes("end")).most_common(1)[0][1] == 1
    assert len(set(begun) & set(second.notes("start"))) <= AGAIN
    assert queues.left("sluice-dead") == 0


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_worker_that_is_killed_again_and_again_works_all_off(pool, start_worker, queues):
    """Now only its main process, now the whole group, as by a host that is out of memory."""
    names = fill(queues, 200, 0.1)
    workers, kills = [], 4
    for kill in [os.kill, os.killpg] * (kills // 2):
        worker = start_worker("-P", pool, "-c", PLACES, environment=LEASE)
        workers.append(worker)
        until(lambda worker=worker: len(worker.notes("end")) >= 15, "work")
        kill(worker.process.pid, signal.SIGKILL)
        worker.ended()
    last = start_worker("-P", pool, "-c", PLACES, environment=LEASE)
    workers.append(last)
    queues.wait_until_empty()
    assert all(members(worker.process.pid) == [] for worker in workers[:-1])
    starts = [name for worker in workers for name in worker.notes("start")]
    assert {name for worker in workers for name in worker.notes("end")} == set(names)
    assert len(names) <= len(starts) <= len(names) + kills * AGAIN
    assert queues.left("sluice-dead") == 0
    assert last.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.long)])
def test_a_worker_that_was_halted_past_its_leases_settles_nothing_that_another_one_has(pool, start_worker, queues):
    """Of two tasks one ends well when the worker goes on, the other fails; both are by then in work elsewhere."""
    queues.server.create_queue("sluice", max_receives=100)
    lease = {"SLUICE_VISIBILITY_TIMEOUT": "4"}
    first = start_worker("-P", pool, "-c", 2, environment=lease)
    queues.send(body("probe.watch_lease", ["well", 10.0]), body("probe.watch_lease", ["badly", 10.0, True]))
    first.wait_for_notes("start", ["well", "badly"])
    os.killpg(first.process.pid, signal.SIGSTOP)
    second = start_worker("-P", pool, "-c", 2, environment=lease)
    second.wait_for_notes("start", ["well", "badly"])
    time.sleep(0.5)  # past its leases by its own reckoning too: in their last moment it would try to renew them
    os.killpg(first.process.pid, signal.SIGCONT)

    first.wait_for_notes("lost", ["well", "badly"])
    first.wait_for("is lost")
    queues.send(body("probe.work", ["after"]))
    until(lambda: "after" in first.notes("end") + second.notes("end"), "work after it")
    assert queues.server.queues["sluice"]["in_flight"] >= 2
    second.wait_for_notes("end", ["well", "badly"])
    queues.wait_until_empty()
    for worker in (first, second):
        assert Counter(worker.notes("start")) - Counter(["after"]) == Counter(["well", "badly"])
        assert "goes on after an error of its own" not in worker.log
        assert worker.stop() == 0
    assert second.log.count("is lost") == 0
    assert queues.left("sluice-dead") == 0
