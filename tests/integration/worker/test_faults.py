"""SQS in trouble: the worker stays, keeps asking without haste, says so once, and loses nothing."""

from __future__ import annotations

import time

import pytest
from harness import body
from life import WAYS, a_life

LEASE = 30
#: After these a delay is not told again: it may have been heard, and the message be somebody else's.
UNHEARD = ("dropped", "garbage", "lost", "truncated")


@pytest.fixture(scope="module", params=[WAYS[0], *(pytest.param(way, marks=pytest.mark.long) for way in WAYS[1:])])
def life(request, tmp_path_factory):
    with a_life(tmp_path_factory.mktemp("life"), request.param) as life:
        yield life.start()


@pytest.mark.parametrize("call", ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
def test_nothing_is_lost_nothing_runs_twice_and_all_goes_on_after_whatever_was_answered(call, life):
    """What is over within seconds; `test_fault_matrix.py` has the rest, and the other calls."""
    with life.trouble(call, but=["black-hole"]) as spared:
        for queue in life.fault_of:
            (life.fail if call == "ChangeMessageVisibilityBatch" else life.work)(queue)
        life.until_hit(spared, 2, except_for=["slow", *(UNHEARD if call == "ChangeMessageVisibilityBatch" else ())])
        life.until_hit(spared)
    life.check()


@pytest.mark.long
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
