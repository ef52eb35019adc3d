"""SQS in trouble: the worker stays, keeps asking without haste, says so once, and loses nothing."""

from __future__ import annotations

import time

import pytest
from harness import body, until

RECEIVE = [
    "error:status=500",
    "error:status=503",
    "error:status=403:code=ExpiredTokenException",
    "throttle",
    "drop",
    "garbage",
    "answer-lost",
    "error:status=400:code=AWS.SimpleQueueService.NonExistentQueue",
]
LEASE = 30
LEASES = {"SLUICE_VISIBILITY_TIMEOUT": str(LEASE)}


@pytest.mark.parametrize(("pool", "faults"), [("prefork", RECEIVE), ("gevent", ["drop", "garbage", "black-hole"])])
def test_receiving_goes_on_after_whatever_was_answered(pool, faults, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment=LEASES)

    for n, fault in enumerate(faults, 1):
        # A connection that was used before and is closed without an answer: curl itself asks once more on another one.
        count = 5 if fault in ("drop", "answer-lost") else 1
        queues.server.faults.add(f"ReceiveMessage:{fault}:count={count}")
        queues.send(body("probe.work", ["wake"]))  # ends the poll that is open, so that the next one meets the fault
        until(lambda: not queues.server.faults.active(), f"receive that meets {fault}")
        queues.send(body("probe.work", [fault]))
        worker.wait_for("receiving fails", times=n)
        queues.server.clock.advance(LEASE + 1)  # what went with a lost answer is visible again
        worker.wait_for_notes("end", [fault])
        worker.wait_for("receiving works again", times=n)

    queues.wait_until_empty()
    assert sorted(set(worker.notes("end"))) == sorted({*faults, "wake"})
    assert len(worker.notes("end")) == 2 * len(faults)
    assert "Traceback" not in worker.log


def test_a_fault_that_lasts_is_told_once_and_asked_about_without_haste(start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "solo")
    for n, fault in enumerate(("error", "garbage"), 1):
        queues.server.clear_counts()
        number = queues.server.faults.add(f"ReceiveMessage:{fault}")
        worker.wait_for("receiving fails", times=n)
        time.sleep(1.5)
        queues.server.faults.remove(number)
        assert queues.server.counts.of("ReceiveMessage").calls < 12
        worker.wait_for("receiving works again", times=n)
        queues.send(body("probe.work", [fault]))
        worker.wait_for_notes("end", [fault])
    assert worker.log.count("receiving fails") == 2


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_what_is_done_is_deleted_whatever_the_first_tries_were_answered(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment=LEASES)
    for fault in ("error:status=403:code=AccessDeniedException:count=1", "error:status=500:count=3", "garbage:count=1"):
        queues.server.faults.add(f"DeleteMessageBatch:{fault}")
        queues.send(body("probe.work", [fault]))
        until(lambda: not queues.server.faults.active(), f"delete that meets {fault}")
        queues.wait_until_empty()
    assert len(worker.notes("end")) == 3
    worker.wait_for("deleting works again", times=3)
    assert worker.log.count("deleting fails") == 3


def test_what_could_not_be_deleted_is_deleted_when_it_comes_back_and_does_not_run_again(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    worker = start_worker("-P", "threads", "-c", 2, environment={"SLUICE_VISIBILITY_TIMEOUT": "2"})
    number = queues.server.faults.add("DeleteMessageBatch:error:status=500")
    queues.send(body("probe.work", ["done"]))
    worker.wait_for("could not be deleted")
    queues.server.faults.remove(number)
    queues.wait_until_empty()
    assert worker.notes("start") == ["done"]


def test_a_delay_that_could_not_be_set_costs_nothing_but_time(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    worker = start_worker("-P", "prefork", "-c", 2, environment={"SLUICE_VISIBILITY_TIMEOUT": "3"})
    number = queues.server.faults.add("ChangeMessageVisibilityBatch:error:status=500")
    queues.send(body("probe.end", ["fails", "raise"]))
    worker.wait_for("keeps its visibility timeout")
    queues.server.faults.remove(number)
    worker.wait_for_notes("end", ["fails"])
    queues.wait_until_empty()
    assert worker.notes("start") == ["fails", "fails"]


def test_a_lost_answer_to_a_delete_is_no_reason_to_run_again(start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "solo")
    queues.server.faults.add("DeleteMessageBatch:answer-lost:count=2")
    queues.send(body("probe.work", ["once"]))
    queues.wait_until_empty()
    queues.server.clock.advance(LEASE * 10)
    queues.send(body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
    assert worker.notes("end") == ["once", "after"]
    assert "could not be deleted" not in worker.log
