"""What SQS has not is said to whoever asks for it: at the worker's start or at send, and in a sentence."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from kombu import Exchange, Queue

from app.errors import NotOnSQS, QueueMissing

WITHIN = 12
# By Celery, of redis-py.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def test_what_no_queue_would_get_is_an_error_at_send(broker):
    add = broker.task("add")
    if broker.is_sluice:
        with pytest.raises(NotOnSQS, match="No queue hangs on the exchange 'nowhere'"):
            add.apply_async([1, 2], exchange="nowhere", routing_key="anything")
        return
    # Stock Celery says that it is sent, and it is gone.
    result = add.apply_async([1, 2], exchange="nowhere", routing_key="anything")
    broker.settled()
    assert (broker.runs(result), result.state) == (0, "PENDING")


def test_a_serializer_that_the_worker_does_not_read(broker):
    add = broker.task("add")
    if broker.is_sluice:
        with pytest.raises(NotOnSQS, match="read JSON only"):
            add.apply_async([1, 2], serializer="pickle")
        return
    # Stock Celery sends it, and its worker throws it away.
    result = add.apply_async([1, 2], serializer="pickle")
    broker.worker.wait_for("Refusing to deserialize")
    assert (broker.runs(result), result.state) == (0, "PENDING")


@pytest.mark.parametrize("kind", ["topic", "fanout"])
def test_an_exchange_that_gives_a_task_to_many_queues_is_an_error_at_send(sluice, kind):
    queue = Queue("sluice", Exchange("events", type=kind), routing_key="#")
    with pytest.raises(NotOnSQS, match=f"The exchange 'events' is of type '{kind}', and SQS has queues only"):
        sluice.task("add").apply_async([1, 2], queue=queue)


def test_a_queue_of_ones_own_that_is_not_there_is_an_error_at_send(sluice):
    with pytest.raises(QueueMissing, match="'slice' does not exist here"):
        sluice.task("add").apply_async([1, 2], queue=Queue("slice"))


def test_more_than_sqs_carries_is_an_error_at_send(sluice):
    with pytest.raises(ClientError, match="must be shorter than 1048576 bytes"):
        sluice.task("add").delay("x" * 2**20, "y")


def test_a_queue_that_is_not_there_is_no_end_of_the_worker(sluice):
    [answer] = sluice.app.control.add_consumer("slice", reply=True, limit=1, timeout=5)
    try:
        assert "slice" in str(answer)
        assert sluice.task("add").delay(1, 2).get(WITHIN) == 3
    finally:
        sluice.app.control.cancel_consumer("slice", reply=True, limit=1, timeout=5)


def test_an_option_that_nothing_would_follow_is_refused_at_start(start_worker):
    worker = start_worker("--disable-prefetch", wait=False)
    assert worker.ended() == 1
    sentence = "worker_disable_prefetch has no effect on Sluice: leave it out; with SLUICE_PREFETCH_SECONDS=0"
    assert sentence in worker.log.strip().splitlines()[-1]
    assert "Traceback" not in worker.log
