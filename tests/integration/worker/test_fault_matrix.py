"""Each fault at each call, with a prefork and a gevent worker that live through all of it in turn.

A queue for each fault: while they last, all faults of one call happen at the same time, and none hides another. After
each, all that was sent has ended, each task as often as it must and no more, and every worker takes work from each of
its queues.
"""

from __future__ import annotations

import time

import pytest
from life import FAULTS, LEASE, WAYS, a_life

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

#: These are not asked again soon: it takes until the deadline, or the late answer is as good as any.
ONCE = ("black-hole", "slow")
ALL, FIRST, SOME = "", ":count=3", ":probability=0.1"
#: What is left out: a call that is never answered makes a test long, whether it is all calls or some.
BUT = {ALL: (), FIRST: (), SOME: ("black-hole",)}
MISSING_ONCE = f"{FAULTS['missing']}:count=1"


@pytest.fixture(scope="module", params=[WAYS[0], WAYS[-1]])
def life(request, tmp_path_factory):
    """Started while nobody could be asked for a queue's address, and for its dead-letter queue only in vain."""
    with a_life(tmp_path_factory.mktemp("life"), request.param) as life:
        for queue in life.fault_of:
            life.work(queue)
        with life.trouble("GetQueueAttributes", options=":count=1") as attributes:
            with life.trouble("GetQueueUrl") as urls:
                life.start()
                life.until_hit(urls, 2, except_for=ONCE)
                life.until_hit(urls)
            life.until_hit(attributes)
        yield life


def test_get_queue_url_and_get_queue_attributes_at_start(life):
    life.check()


def test_get_queue_url_of_a_queue_that_is_said_to_be_gone(life):
    with life.trouble("GetQueueUrl") as spared:
        for queue in life.fault_of:
            life.server.faults.add(f"ReceiveMessage:{MISSING_ONCE}:queue={queue}")
            life.work(queue)
        life.until_hit(spared)
    life.check()


def test_receive_message_always(life):
    with life.trouble("ReceiveMessage") as spared:
        for queue in life.fault_of:
            life.work(queue)
        life.until_hit(spared)
        life.until_hit(spared, 2, except_for=ONCE)
    life.check()


def test_receive_message_now_and_then(life):
    with life.trouble("ReceiveMessage", but=BUT[SOME], options=SOME) as spared:
        life.until_hit(spared, feed=life.work)
    life.check()


def test_delete_message_batch_always_until_the_leases_are_over(life):
    with life.trouble("DeleteMessageBatch") as spared:
        for queue in life.fault_of:
            life.work(queue)
        time.sleep(2 * LEASE)
        life.until_hit(spared, 2, except_for=ONCE)
    life.check()


def test_delete_message_batch_now_and_then(life):
    with life.trouble("DeleteMessageBatch", but=BUT[SOME], options=SOME) as spared:
        life.until_hit(spared, feed=life.work)
    life.check()


def test_change_message_visibility_batch_always_until_the_leases_are_over(life):
    """Renewals, and the delays of what failed. What is received again while it runs does not run twice."""
    with life.trouble("ChangeMessageVisibilityBatch") as spared:
        for queue in life.fault_of:
            life.work(queue, seconds=1.5 * LEASE)
            life.fail(queue)
        time.sleep(2 * LEASE)
        life.until_hit(spared, 2, except_for=ONCE)
    life.check()


def test_change_message_visibility_batch_now_and_then(life):
    with life.trouble("ChangeMessageVisibilityBatch", but=BUT[SOME], options=SOME) as spared:
        life.until_hit(spared, feed=life.fail)
    life.check()


@pytest.mark.parametrize("options", [FIRST, SOME])
def test_send_message_of_a_producer(life, options):
    """What is sent again because the answer was lost is there twice: as often as SQS took it, and no oftener."""
    life.server.clear_counts()
    earlier = set(life.sent_on)
    with life.trouble("SendMessage", but=BUT[options], options=options) as spared:
        for queue in life.fault_of:
            life.send_on(queue)
        life.until_hit(spared, feed=life.send_on if options is SOME else None)
    begun = life.check()
    assert sum(begun[name] for name in life.sent_on - earlier) == life.server.counts.of("SendMessage").messages


@pytest.mark.parametrize("options", [ALL, SOME])
def test_send_message_batch_to_a_dead_letter_queue(life, options):
    """As often there as SQS took it; and the dead-letter queues that could not be asked for at start are known."""
    life.server.clear_counts()
    texts = []

    def send(queue):
        texts.append(life.poison(queue))

    with life.trouble("SendMessageBatch", but=BUT[options], options=options, at="-dead") as spared:
        for queue in life.fault_of:
            send(queue)
        life.until_hit(spared, feed=send if options is SOME else None, within=90)
    life.check()
    letters = [letter for queue in life.fault_of for letter, _ in life.queues.letters(f"{queue}-dead")]
    assert set(letters) == set(texts)
    assert len(letters) == life.server.counts.of("SendMessageBatch").messages


def test_at_the_end_they_stop_as_if_nothing_had_been(life):
    for worker in life.workers.values():
        worker.signal()
    for worker in life.workers.values():
        assert worker.ended() == 0
    assert life.left() == {}
