"""One queue, by the second: time is a number here."""

from __future__ import annotations

import random

import pytest

from app.testing.sqs.attributes import QueueAttributes
from app.testing.sqs.errors import SQSError
from app.testing.sqs.message import draft
from app.testing.sqs.queue import MAX_IN_FLIGHT, MAX_VISIBILITY, Queue

NOW = 1_000_000.0


def a_queue(name="q", **attributes) -> Queue:
    options = {"max_in_flight": attributes.pop("max_in_flight", MAX_IN_FLIGHT)}
    settings = QueueAttributes({name: str(value) for name, value in attributes.items()})
    return Queue(name, arn=f"arn:{name}", attributes=settings, now=NOW, random_source=random.Random(name), **options)


def send(queue: Queue, *bodies: str, now: float = NOW, delay: float | None = None) -> None:
    for body in bodies:
        queue.send(now, draft({"MessageBody": body}), delay=delay)


def bodies(deliveries) -> list[str]:
    return [delivery.message.draft.body for delivery in deliveries]


def numbers(queue: Queue) -> tuple[int, int, int]:
    return queue.visible, queue.in_flight, queue.delayed


def test_a_message_is_hidden_while_it_is_in_flight_and_comes_back_when_its_time_is_up():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    assert bodies(queue.receive(NOW, count=10)) == ["a"]
    assert numbers(queue) == (0, 1, 0)
    assert queue.receive(NOW + 29.9) == []
    assert queue.next_change() == NOW + 30
    again = queue.receive(NOW + 30)
    assert bodies(again) == ["a"]
    assert again[0].receives == 2


def test_the_timeout_of_a_receive_goes_before_the_queues():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    queue.receive(NOW, visibility=5)
    assert bodies(queue.receive(NOW + 5)) == ["a"]


def test_a_receive_with_a_timeout_of_zero_hides_nothing():
    queue = a_queue()
    send(queue, "a", "b")
    assert sorted(bodies(queue.receive(NOW, count=10, visibility=0))) == ["a", "b"]
    assert numbers(queue) == (2, 0, 0)


def test_messages_come_in_the_order_they_were_sent():
    queue = a_queue()
    send(queue, *"abcde")
    assert bodies(queue.receive(NOW, count=3)) == ["a", "b", "c"]
    assert bodies(queue.receive(NOW, count=3)) == ["d", "e"]


def test_what_comes_back_neither_waits_for_a_long_backlog_nor_holds_it_up():
    queue = a_queue()
    send(queue, *(str(n) for n in range(100)))
    for delivery in queue.receive(NOW, count=10):
        queue.change_visibility(NOW, delivery.receipt_handle, 0)
    next_ten = bodies(queue.receive(NOW, count=10))
    assert len([body for body in next_ten if int(body) < 10]) == 5
    assert len([body for body in next_ten if int(body) >= 10]) == 5


def test_a_delayed_message_is_not_there_until_its_delay_is_over():
    queue = a_queue(DelaySeconds=10)
    send(queue, "queue's own")
    send(queue, "its own", delay=3)
    send(queue, "none", delay=0)
    assert numbers(queue) == (1, 0, 2)
    assert bodies(queue.receive(NOW, count=10)) == ["none"]
    assert bodies(queue.receive(NOW + 3, count=10)) == ["its own"]
    assert bodies(queue.receive(NOW + 10, count=10)) == ["queue's own"]


def test_deleting_removes_and_deleting_again_is_no_error():
    queue = a_queue()
    send(queue, "a")
    [delivery] = queue.receive(NOW)
    assert queue.delete(delivery.receipt_handle)
    assert not queue.delete(delivery.receipt_handle)
    assert numbers(queue) == (0, 0, 0)
    assert queue.receive(NOW + 1000) == []


def test_a_handle_from_before_the_latest_receive_succeeds_and_deletes_nothing():
    """AWS, DeleteMessage: with an old handle "the request succeeds, but the message might not be deleted"."""
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    [old] = queue.receive(NOW)
    [new] = queue.receive(NOW + 30)
    assert not queue.delete(old.receipt_handle)
    assert numbers(queue) == (0, 1, 0)
    assert queue.delete(new.receipt_handle)
    assert len(queue) == 0


def test_a_message_whose_time_ran_out_can_be_deleted_until_it_is_received_again():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a", "b")
    [delivery] = queue.receive(NOW)
    queue.advance(NOW + 31)
    assert queue.delete(delivery.receipt_handle)
    assert numbers(queue) == (1, 0, 0)
    assert bodies(queue.receive(NOW + 31, count=10)) == ["b"]


@pytest.mark.parametrize("handle", ["garbage", "", "AQEB", "AQEB0000000000000000zz-1", "AQEB00000000000000001-1"])
def test_a_handle_that_this_queue_never_gave_is_refused(handle):
    queue = a_queue()
    send(queue, "a")
    for act in (lambda: queue.delete(handle), lambda: queue.change_visibility(NOW, handle, 5)):
        with pytest.raises(SQSError) as refused:
            act()
        assert refused.value.name == "ReceiptHandleIsInvalid"


def test_a_handle_of_another_queue_or_of_the_future_is_refused():
    queue, other = a_queue("q"), a_queue("other")
    send(queue, "a")
    send(other, "a")
    [delivery] = other.receive(NOW)
    with pytest.raises(SQSError, match="not a valid receipt handle"):
        queue.delete(delivery.receipt_handle)
    with pytest.raises(SQSError, match="not a valid receipt handle"):
        other.delete(delivery.receipt_handle.replace("1-1", "2-1"))


def test_visibility_is_counted_from_the_change():
    queue = a_queue(VisibilityTimeout=60)
    send(queue, "a")
    [delivery] = queue.receive(NOW)
    queue.change_visibility(NOW + 15, delivery.receipt_handle, 10)
    assert queue.receive(NOW + 24.9) == []
    assert bodies(queue.receive(NOW + 25)) == ["a"]


def test_a_change_is_for_this_receipt_only():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    [delivery] = queue.receive(NOW)
    queue.change_visibility(NOW, delivery.receipt_handle, 100)
    queue.receive(NOW + 100)
    assert bodies(queue.receive(NOW + 130)) == ["a"]


def test_a_release_and_a_receive_at_the_very_same_time_keep_the_order_of_things():
    """Two entries for one message and one instant: the second is the one that counts."""
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a", "b")
    for _ in range(3):
        for delivery in queue.receive(NOW, count=10):
            queue.change_visibility(NOW, delivery.receipt_handle, 0)
    assert len(queue.receive(NOW, count=10)) == 2
    assert numbers(queue) == (0, 2, 0)
    queue.advance(NOW + 30)
    assert numbers(queue) == (2, 0, 0)


def test_the_twelve_hours_count_from_the_receipt_and_extensions_do_not_add_to_them():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    [delivery] = queue.receive(NOW)
    queue.change_visibility(NOW, delivery.receipt_handle, MAX_VISIBILITY)
    with pytest.raises(SQSError, match="Total VisibilityTimeout for the message is beyond the limit"):
        queue.change_visibility(NOW + 1, delivery.receipt_handle, MAX_VISIBILITY)
    queue.change_visibility(NOW + 1, delivery.receipt_handle, MAX_VISIBILITY - 1)
    [again] = queue.receive(NOW + MAX_VISIBILITY)
    queue.change_visibility(NOW + MAX_VISIBILITY, again.receipt_handle, MAX_VISIBILITY)


def test_changing_what_is_not_in_flight_is_an_error():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    [delivery] = queue.receive(NOW)
    with pytest.raises(SQSError) as refused:
        queue.change_visibility(NOW + 30, delivery.receipt_handle, 10)
    assert refused.value.name == "MessageNotInflight"


def test_changing_what_was_deleted_is_an_error_of_its_own():
    queue = a_queue()
    send(queue, "a")
    [delivery] = queue.receive(NOW)
    queue.delete(delivery.receipt_handle)
    with pytest.raises(SQSError, match="Message does not exist or is not available") as refused:
        queue.change_visibility(NOW, delivery.receipt_handle, 10)
    assert refused.value.query_code == "InvalidParameterValue"


def test_an_old_handle_changes_the_visibility_for_the_new_holder():
    """So AWS answered LocalStack's recordings; its documentation is silent."""
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    [old] = queue.receive(NOW)
    queue.receive(NOW + 30)
    queue.change_visibility(NOW + 30, old.receipt_handle, 0)
    assert numbers(queue) == (1, 0, 0)


def test_messages_go_when_they_are_too_old_wherever_they_are():
    queue = a_queue(MessageRetentionPeriod=60)
    send(queue, "visible", "in flight")
    queue.receive(NOW, visibility=600)
    send(queue, "delayed", delay=900)
    assert numbers(queue) == (1, 1, 1)
    queue.advance(NOW + 59.9)
    assert len(queue) == 3
    queue.advance(NOW + 60)
    assert (len(queue), numbers(queue)) == (0, (0, 0, 0))
    assert queue.receive(NOW + 1000, count=10) == []


def test_a_shorter_retention_holds_for_what_is_there():
    queue = a_queue()
    send(queue, "a")
    queue.attributes = queue.attributes.changed({"MessageRetentionPeriod": "60"})
    queue.advance(NOW + 60)
    assert len(queue) == 0


def test_after_max_receives_a_message_moves_to_the_dead_letter_queue():
    dead = a_queue("dead")
    queue = a_queue(RedrivePolicy='{"deadLetterTargetArn": "arn:dead", "maxReceiveCount": 2}', VisibilityTimeout=10)
    send(queue, "poison", "good")
    message_id = queue.receive(NOW, dead_letters=dead)[0].message.id
    queue.receive(NOW + 10, dead_letters=dead, visibility=5)
    assert bodies(queue.receive(NOW + 20, count=10, dead_letters=dead)) == ["good"]
    assert (len(queue), len(dead)) == (1, 1)
    [found] = dead.receive(NOW + 20)
    assert found.message.id == message_id
    assert found.message.sent_at == NOW
    assert found.message.first_received_at == NOW
    assert found.message.source_arn == "arn:q"
    assert found.receives == 3


def test_a_dead_letter_queue_counts_age_from_the_first_sending():
    """Four days there, one of them already spent here: AWS's own example."""
    day = 86_400
    dead = a_queue("dead", MessageRetentionPeriod=4 * day)
    queue = a_queue(RedrivePolicy='{"deadLetterTargetArn": "arn:dead", "maxReceiveCount": 1}')
    send(dead, "younger", now=NOW + day - 1)
    send(queue, "older")
    queue.receive(NOW)
    queue.receive(NOW + day, dead_letters=dead)
    dead.advance(NOW + 4 * day - 1)
    assert len(dead) == 2
    dead.advance(NOW + 4 * day)
    assert bodies(dead.receive(NOW + 4 * day, count=10)) == ["younger"]


def test_the_quota_of_messages_in_flight_holds_and_frees():
    queue = a_queue(max_in_flight=3)
    send(queue, *"abcde")
    deliveries = queue.receive(NOW, count=10)
    assert len(deliveries) == 3
    assert queue.receive(NOW, count=10) == []
    queue.delete(deliveries[0].receipt_handle)
    assert len(queue.receive(NOW, count=10)) == 1


def test_the_default_quota_is_120_000():
    queue = a_queue()
    shared = draft({"MessageBody": "x"})
    for _ in range(120_010):
        queue.send(NOW, shared)
    got = sum(len(queue.receive(NOW, count=10)) for _ in range(12_005))
    assert (got, queue.visible) == (120_000, 10)


def test_purging_removes_all_and_old_handles_do_no_harm():
    queue = a_queue()
    send(queue, "a", "b")
    [delivery] = queue.receive(NOW)
    send(queue, "c", delay=5)
    queue.purge(NOW)
    assert (len(queue), numbers(queue)) == (0, (0, 0, 0))
    assert not queue.delete(delivery.receipt_handle)
    send(queue, "d")
    assert bodies(queue.receive(NOW + 1000, count=10)) == ["d"]


def test_messages_that_stay_visible_are_handed_out_twice():
    queue = a_queue()
    send(queue, "a")
    [first] = queue.receive(NOW, stay_visible=True)
    [second] = queue.receive(NOW)
    assert first.receipt_handle != second.receipt_handle
    assert not queue.delete(first.receipt_handle)
    assert queue.delete(second.receipt_handle)


def test_the_next_change_is_that_of_a_message_that_still_waits():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a", "b")
    [first, second] = queue.receive(NOW, count=2)
    queue.change_visibility(NOW, second.receipt_handle, 100)
    queue.delete(first.receipt_handle)
    assert queue.next_change() == NOW + 100
    queue.delete(second.receipt_handle)
    assert queue.next_change() is None


def test_a_clock_put_back_only_makes_things_later():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    queue.receive(NOW)
    send(queue, "b", now=NOW - 1000)
    assert bodies(queue.receive(NOW - 1000, count=10)) == ["b"]
    assert numbers(queue) == (0, 2, 0)
    queue.advance(NOW + 30)
    assert numbers(queue) == (2, 0, 0)


def test_long_timeouts_leave_no_trail_of_what_was_deleted():
    """12 hours of visibility at thousands of messages a second: what was deleted must not pile up."""
    queue = a_queue(VisibilityTimeout=MAX_VISIBILITY)
    shared = draft({"MessageBody": "x"})
    for _ in range(20_000):
        queue.send(NOW, shared)
        [delivery] = queue.receive(NOW)
        queue.delete(delivery.receipt_handle)
    assert len(queue._hidden) < 3_000
    assert len(queue._by_age) < 3_000


def test_heartbeats_leave_no_trail_either():
    queue = a_queue(VisibilityTimeout=30)
    send(queue, "a")
    [delivery] = queue.receive(NOW)
    for _ in range(20_000):
        queue.change_visibility(NOW, delivery.receipt_handle, 30)
    assert len(queue._hidden) < 3_000


def test_messages_that_nobody_receives_leave_no_trail_when_they_expire():
    queue = a_queue(MessageRetentionPeriod=60)
    shared = draft({"MessageBody": "x"})
    for second in range(20_000):
        queue.advance(NOW + second)
        queue.send(NOW + second, shared)
    assert queue.visible == 60
    assert len(queue._fresh) < 3_000


def test_a_million_messages_cost_no_more_to_receive_and_delete_than_ten():
    """Counted in steps of the interpreter, not in time."""
    import sys

    def steps(backlog: int) -> int:
        queue = a_queue()
        shared = draft({"MessageBody": "x"})
        for _ in range(backlog):
            queue.send(NOW, shared)
        count = 0

        def count_lines(frame, event, arg):
            nonlocal count
            count += 1
            return count_lines

        outer = sys.gettrace()
        sys.settrace(count_lines)
        try:
            for _ in range(20):
                for delivery in queue.receive(NOW + 1, count=10):
                    queue.delete(delivery.receipt_handle)
                queue.send(NOW + 1, shared)
        finally:
            sys.settrace(outer)
        return count

    assert steps(1_000_000) < steps(1_000) * 1.1
