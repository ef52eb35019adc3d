"""However a task ends, its message is deleted if and only if it is done; all else comes back."""

from __future__ import annotations

import pytest
from harness import POOLS, body, until

#: Each ends so on its first receive. What is true of its second: whether it ran again.
COMES_BACK = ["raise", "raise-strange", "requeue", "retry", "memory", "exit"]
COMES_BACK += ["interrupt", "cancelled", "generator-exit", "shutdown", "terminate", "odd", "odd-exit"]


@pytest.mark.parametrize("pool", POOLS)
def test_what_did_not_succeed_comes_back_and_what_did_is_deleted(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2)
    once = {"ignore", "reject", "reject-unsaid"}
    endings = [*COMES_BACK, *once] + (["die"] if pool == "prefork" else [])

    queues.send(*(body("probe.end", [how, how], id=how) for how in endings), body("probe.work", ["fine"]))

    worker.wait_for_notes("end", {*endings, "fine"} - once)
    queues.wait_until_empty()
    assert worker.is_alive
    starts = worker.notes("start")
    assert {how: starts.count(how) for how in endings} == {how: 1 if how in once else 2 for how in endings}
    notes = [note for _, note in queues.letters("sluice-dead")]
    assert {note["reason"] for note in notes} == {
        "the task rejected it: as asked",
        "the task rejected it: function",
    }
    assert [note["receive_count"] for note in notes] == [1, 1]


@pytest.mark.parametrize("deaths", [3, pytest.param(2, marks=pytest.mark.long)])
def test_a_message_that_kills_its_process_each_time_comes_to_an_end(deaths, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    asked = {} if deaths == 3 else {"SLUICE_MAX_WORKER_LOSSES": str(deaths)}
    worker = start_worker("-P", "prefork", "-c", 2, environment={"SLUICE_RETRY_BACKOFF": "0.1"} | asked)
    queues.send(body("probe.die", ["deadly"]))
    queues.wait_until_empty()
    queues.send(body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
    assert worker.notes("start").count("deadly") == deaths
    [(_, note)] = queues.letters("sluice-dead")
    assert note["reason"] == f"the process that ran it died {deaths} times"


def test_without_a_dead_letter_queue_nothing_is_lost_and_that_is_said_at_start(start_worker, queues):
    queues.client.create_queue(QueueName="sluice")
    worker = start_worker("-P", "threads", "-c", 2, environment={"SLUICE_RETRY_BACKOFF": "0.1"})
    worker.wait_for("no dead-letter queue is known")
    queues.send("no envelope", body("probe.work", ["fine"]))
    worker.wait_for("left to its queue's redrive policy", times=2)
    worker.wait_for_notes("end", ["fine"])
    until(lambda: queues.left() == 1, "queue with nothing but what cannot be read")


def test_a_dead_letter_is_deleted_only_once_its_copy_is_there(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    queues.send(*(f"poison {n}" for n in range(5)))
    queues.server.faults.add("SendMessageBatch:error:status=500:count=2")
    queues.server.faults.add("SendMessageBatch:garbage:count=1")
    worker = start_worker("-P", "threads", "-c", 2)
    queues.wait_until_empty()
    assert {text for text, _ in queues.letters("sluice-dead")} == {f"poison {n}" for n in range(5)}
    assert worker.is_alive
