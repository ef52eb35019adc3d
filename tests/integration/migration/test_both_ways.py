"""Moving there, moving back, and both at once: the messages of one queue, each worked off once."""

from __future__ import annotations

import signal
import time

import pytest
from harness import body, until


def numbered(name, count):
    return [f"{name} {number}" for number in range(count)]


def arn(queues, name):
    asked = queues.client.get_queue_attributes(QueueUrl=queues.url(name), AttributeNames=["QueueArn"])
    return asked["Attributes"]["QueueArn"]


def test_both_workers_share_a_queue_and_both_producers_fill_it(shop, queues):
    shop.start("stock", wait=False)
    shop.start("sluice")
    shop.workers[0].ready()
    shop.send("stock", "many", "from stock", 50)
    shop.send("sluice", "many", "from Sluice", 50)
    shop.wait_for(expected := {*numbered("from stock", 50), *numbered("from Sluice", 50)})
    queues.wait_until_empty("orders")
    assert sorted(shop.names) == sorted(expected)
    assert len({note["id"] for note in shop.notes}) == 100
    assert {note["by"] for note in shop.notes} == {"stock", "sluice"}


def test_stock_takes_over_what_a_stopped_sluice_worker_had_prefetched_and_what_it_had_delayed(shop, queues):
    worker = shop.start("sluice", SLUICE_PREFETCH_SECONDS="60")
    shop.send("sluice", "many", "quick", 20)  # so that the worker learns that it may hold more than it runs
    shop.wait_for(quick := numbered("quick", 20))
    queues.server.clock.speed = 0
    shop.send("sluice", "delayed", "delayed", 3)
    for number in range(6):
        queues.server.fill("orders", 1, body("shop.jobs.slow", [f"slow {number}", 1.0]))
    shop.wait_for(["start of slow 0"])
    until(lambda: queues.server.queues["orders"]["in_flight"] > 2, "prefetched messages")
    assert queues.server.queues["orders"]["delayed"] == 1
    assert worker.stop() == 0
    went_on = time.time()
    queues.server.clock.speed = 1
    shop.start("stock")
    shop.wait_for(expected := [*quick, "delayed", *numbered("slow", 6)])
    queues.wait_until_empty("orders")
    ended = [name for name in shop.names if not name.startswith("start of")]
    assert sorted(ended) == sorted(expected)
    assert shop.note("delayed")["by"] == "stock"
    assert shop.note("delayed")["at"] >= went_on + 3


@pytest.mark.long
def test_stock_takes_over_what_a_sluice_worker_has_sent_on_until_it_is_due(shop, queues):
    worker = shop.start("sluice")
    sent = time.time()
    shop.send("stock", "delayed", "far away", 10)
    until(lambda: queues.server.queues["orders"]["delayed"] == 1, "message sent on with a delay")
    assert worker.stop() == 0
    shop.start("stock")
    shop.wait_for(["far away"])
    queues.wait_until_empty("orders")
    assert shop.names == ["far away"]
    assert shop.note("far away")["by"] == "stock"
    assert shop.note("far away")["at"] >= sent + 10


@pytest.mark.long
def test_stock_takes_over_from_a_sluice_worker_that_was_killed(shop, queues):
    worker = shop.start("sluice")
    shop.send("sluice", "slow", "killed", 60)
    shop.wait_for(["start of killed"])
    worker.kill()
    assert queues.left("orders") == 1
    stock = shop.start("stock")
    queues.server.clock.advance(60)  # the lease
    until(lambda: shop.names.count("start of killed") == 2, "second start")
    assert shop.notes[-1]["by"] == "stock"
    stock.kill()


@pytest.mark.long
def test_sluice_takes_over_what_a_stopped_stock_worker_leaves(shop, queues):
    worker = shop.start("stock")
    for number in range(8):
        queues.server.fill("orders", 1, body("shop.jobs.slow", [f"slow {number}", 0.3]))
    shop.wait_for(["start of slow 0"])
    worker.signal(signal.SIGTERM)
    worker.ended()
    queues.server.clock.advance(30)  # what it forgot comes back with the queue's visibility timeout
    shop.start("sluice")
    shop.wait_for(numbered("slow", 8))
    queues.wait_until_empty("orders")


@pytest.mark.long
def test_what_sluice_dead_letters_can_be_moved_back_for_stock_to_read(shop, queues):
    worker = shop.start("sluice")
    shop.send("sluice", "refuse", "refused")
    until(lambda: queues.left("orders-dead") == 1, "dead letter")
    assert worker.stop() == 0
    shop.start("stock")
    # With a destination: SQS knows no source of what a worker has sent there itself.
    queues.client.start_message_move_task(SourceArn=arn(queues, "orders-dead"), DestinationArn=arn(queues, "orders"))
    until(lambda: shop.names.count("refused") == 2, "second run")
    assert [note["by"] for note in shop.notes] == ["sluice", "stock"]


@pytest.mark.long
def test_a_pickled_message_becomes_a_dead_letter_and_does_not_run(shop, queues):
    shop.send("stock", "pickled", "pickled")
    shop.start("sluice")
    until(lambda: queues.left("orders-dead") == 1, "dead letter")
    [(_, note)] = queues.letters("orders-dead")
    assert "Refusing to deserialize untrusted content of type pickle" in note["reason"]
    assert shop.names == []


@pytest.mark.long
def test_a_failure_is_final_where_the_task_says_so_and_is_tried_again_elsewhere(shop, queues):
    shop.start("sluice", SLUICE_RETRY_BACKOFF="0.1")
    shop.send("stock", "fail_once_and_for_all", "final")
    shop.send("stock", "many", "after", 1)
    shop.wait_for(["final", "after 0"])
    queues.wait_until_empty("orders")
    assert shop.names.count("final") == 1


@pytest.mark.long
def test_a_task_with_a_base_class_of_the_projects_own_keeps_its_lease(shop, queues):
    shop.start("sluice", SLUICE_VISIBILITY_TIMEOUT="1")
    shop.send("stock", "slow", "long", 3)
    shop.wait_for(["long"])
    queues.wait_until_empty("orders")
    assert shop.names == ["start of long", "long"]
