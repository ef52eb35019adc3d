"""Queues by name, dead-letter links, and moves back from dead-letter queues."""

from __future__ import annotations

import json
import random

import pytest

from app.testing.sqs.account import Account
from app.testing.sqs.errors import SQSError
from app.testing.sqs.message import draft

NOW = 1_000_000.0


@pytest.fixture
def account() -> Account:
    return Account(random_source=random.Random(1))


def redrive(account: Account, name: str, max_receives: int = 1) -> dict[str, str]:
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": account.arn(name), "maxReceiveCount": max_receives})}


def send(queue, *bodies: str) -> None:
    for body in bodies:
        queue.send(NOW, draft({"MessageBody": body}))


def bodies(account: Account, queue, now: float = NOW) -> list[str]:
    return sorted(d.message.draft.body for d in account.receive(now, queue, count=10, visibility=None))


def test_making_a_queue_again_gives_the_one_there_is(account):
    queue = account.create(NOW, "a", {"VisibilityTimeout": "5"})
    assert account.create(NOW, "a") is queue
    assert account.create(NOW, "a", {"VisibilityTimeout": "5", "DelaySeconds": "0"}) is queue


def test_making_it_again_with_another_attribute_is_refused(account):
    account.create(NOW, "a", {"VisibilityTimeout": "5"})
    with pytest.raises(SQSError, match="different value for attribute VisibilityTimeout") as refused:
        account.create(NOW, "a", {"VisibilityTimeout": "6"})
    assert refused.value.name == "QueueNameExists"


def test_policies_are_compared_by_what_they_say(account):
    account.create(NOW, "dead")
    queue = account.create(NOW, "a", redrive(account, "dead"))
    [policy] = redrive(account, "dead").values()
    spaced = json.dumps(dict(reversed(json.loads(policy).items())), indent=2)
    assert account.create(NOW, "a", {"RedrivePolicy": spaced}) is queue


@pytest.mark.parametrize("name", ["", "a b", "a" * 81, "a/b", "ä"])
def test_names_have_rules(account, name):
    with pytest.raises(SQSError) as refused:
        account.create(NOW, name)
    assert refused.value.query_code == "InvalidParameterValue"


@pytest.mark.parametrize(("name", "attributes"), [("a.fifo", {}), ("a", {"FifoQueue": "true"})])
def test_fifo_queues_are_refused_by_name(account, name, attributes):
    with pytest.raises(SQSError, match="no FIFO queues"):
        account.create(NOW, name, attributes)


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"VisibilityTimeout": "43201"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "-1"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "soon"}, "InvalidAttributeValue"),
        ({"MaximumMessageSize": "1023"}, "InvalidAttributeValue"),
        ({"MaximumMessageSize": "1048577"}, "InvalidAttributeValue"),
        ({"MessageRetentionPeriod": "59"}, "InvalidAttributeValue"),
        ({"MessageRetentionPeriod": "1209601"}, "InvalidAttributeValue"),
        ({"DelaySeconds": "901"}, "InvalidAttributeValue"),
        ({"ReceiveMessageWaitTimeSeconds": "21"}, "InvalidAttributeValue"),
        ({"KmsDataKeyReusePeriodSeconds": "59"}, "InvalidAttributeValue"),
        ({"SqsManagedSseEnabled": "yes"}, "InvalidAttributeValue"),
        ({"Policy": "{"}, "InvalidAttributeValue"),
        ({"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
        ({"QueueArn": "x"}, "InvalidAttributeName"),
        ({"RedrivePolicy": "{"}, "InvalidParameterValueException"),
        ({"RedrivePolicy": "[]"}, "InvalidParameterValueException"),
        ({"RedrivePolicy": '{"maxReceiveCount": 3}'}, "InvalidParameterValueException"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "x"}'}, "InvalidParameterValueException"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "x", "maxReceiveCount": 0}'}, "InvalidParameterValueException"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "x", "maxReceiveCount": 1001}'}, "InvalidParameterValueException"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "x", "maxReceiveCount": 1}'}, "InvalidParameterValueException"),
        ({"RedriveAllowPolicy": '{"redrivePermission": "some"}'}, "InvalidParameterValueException"),
        ({"RedriveAllowPolicy": '{"redrivePermission": "byQueue"}'}, "InvalidParameterValueException"),
        (
            {"RedriveAllowPolicy": '{"redrivePermission": "denyAll", "sourceQueueArns": []}'},
            "InvalidParameterValueException",
        ),
        (
            {"RedriveAllowPolicy": json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["x"] * 11})},
            "InvalidParameterValueException",
        ),
    ],
)
def test_attributes_have_ranges(account, attributes, error):
    with pytest.raises(SQSError) as refused:
        account.create(NOW, "a", attributes)
    assert refused.value.name == error
    assert account.queues == {}


def test_the_name_of_a_deleted_queue_rests_for_a_minute(account):
    account.delete(NOW, account.create(NOW, "a"))
    with pytest.raises(SQSError) as refused:
        account.create(NOW + 59, "a")
    assert refused.value.name == "QueueDeletedRecently"
    assert len(account.create(NOW + 60, "a")) == 0


def test_a_queue_is_purged_once_a_minute(account):
    queue = account.create(NOW, "a")
    account.purge(NOW, queue)
    with pytest.raises(SQSError) as refused:
        account.purge(NOW + 59, queue)
    assert (refused.value.name, refused.value.status) == ("PurgeQueueInProgress", 403)
    account.purge(NOW + 60, queue)


def test_a_dead_letter_queue_may_say_whose_it_is(account):
    dead = account.create(NOW, "dead", {"RedriveAllowPolicy": '{"redrivePermission": "denyAll"}'})
    with pytest.raises(SQSError, match="does not allow this queue"):
        account.create(NOW, "a", redrive(account, "dead"))
    account.set_attributes(
        NOW,
        dead,
        {"RedriveAllowPolicy": json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [account.arn("a")]})},
    )
    account.create(NOW, "a", redrive(account, "dead"))
    with pytest.raises(SQSError, match="does not allow this queue"):
        account.create(NOW, "b", redrive(account, "dead"))


def test_an_empty_policy_takes_it_away(account):
    account.create(NOW, "dead")
    queue = account.create(NOW, "a", redrive(account, "dead"))
    account.set_attributes(NOW, queue, {"RedrivePolicy": ""})
    assert queue.attributes.dead_letter_arn is None
    assert "RedrivePolicy" not in queue.attributes.values


def test_a_chain_of_dead_letter_queues_counts_each_queues_own_receives(account):
    third = account.create(NOW, "third")
    second = account.create(NOW, "second", redrive(account, "third"))
    first = account.create(NOW, "first", redrive(account, "second"))
    send(first, "x")
    assert bodies(account, first) == ["x"]
    assert bodies(account, first, NOW + 30) == []
    assert account.changed == {second}
    assert bodies(account, second, NOW + 30) == ["x"]
    assert bodies(account, second, NOW + 60) == []
    [delivery] = account.receive(NOW + 60, third, count=1, visibility=None)
    assert delivery.receives == 3
    assert delivery.message.source_arn == second.arn


def test_without_its_dead_letter_queue_a_message_is_delivered_on(account):
    dead = account.create(NOW, "dead")
    queue = account.create(NOW, "a", redrive(account, "dead"))
    account.delete(NOW, dead)
    send(queue, "x")
    assert [bodies(account, queue, NOW + 30 * n) for n in range(3)] == [["x"]] * 3


# --- moves


def dead_letters(account: Account, *bodies_: str):
    dead = account.create(NOW, "dead")
    queue = account.create(NOW, "a", redrive(account, "dead"))
    send(queue, *bodies_)
    for now in (NOW, NOW + 30):
        account.receive(now, queue, count=10, visibility=None)
    assert len(dead) == len(bodies_)
    account.changed.clear()
    return queue, dead


def test_a_move_takes_messages_back_to_where_they_came_from_as_new_ones(account):
    queue, dead = dead_letters(account, "x", "y")
    before = {message.id for message in dead}
    move = account.start_move(NOW + 40, dead.arn, None, None)
    assert account.run_moves(NOW + 40) is None
    assert (move.status, move.moved, move.to_move) == ("COMPLETED", 2, 2)
    assert account.changed == {queue}
    assert not before & {message.id for message in queue}
    assert {message.sent_at for message in queue} == {NOW + 40}
    assert bodies(account, queue, NOW + 40) == ["x", "y"]


def test_a_move_goes_to_a_queue_that_is_named(account):
    _, dead = dead_letters(account, "x")
    other = account.create(NOW, "other")
    account.start_move(NOW + 40, dead.arn, other.arn, None)
    account.run_moves(NOW + 40)
    assert bodies(account, other, NOW + 40) == ["x"]


def test_a_move_keeps_to_its_rate(account):
    queue, dead = dead_letters(account, *"abcde")
    move = account.start_move(NOW + 40, dead.arn, None, 2)
    assert account.run_moves(NOW + 40) == NOW + 40.5
    assert len(queue) == 0
    assert account.run_moves(NOW + 41) == NOW + 41.5
    assert (len(queue), move.moved) == (2, 2)
    assert account.run_moves(NOW + 100) is None
    assert (len(queue), move.status) == (5, "COMPLETED")


def test_a_big_move_is_done_in_portions(account):
    queue, dead = dead_letters(account, *"abcde")
    assert account.start_move(NOW + 40, dead.arn, None, None).to_move == 5
    assert account.run_moves(NOW + 40, at_most=3) == NOW + 40
    assert len(queue) == 3
    assert account.run_moves(NOW + 40, at_most=3) is None


def test_a_move_that_is_cancelled_leaves_the_rest(account):
    queue, dead = dead_letters(account, *"abc")
    move = account.start_move(NOW + 40, dead.arn, None, 1)
    account.run_moves(NOW + 41)
    assert account.cancel_move(move.handle).moved == 1
    assert account.run_moves(NOW + 100) is None
    assert (len(queue), len(dead), move.status) == (1, 2, "CANCELLED")
    with pytest.raises(SQSError, match="Only active tasks"):
        account.cancel_move(move.handle)


def test_only_one_move_at_a_time_from_a_queue(account):
    _, dead = dead_letters(account, "a", "b")
    account.start_move(NOW, dead.arn, None, 1)
    with pytest.raises(SQSError, match="already a task running"):
        account.start_move(NOW, dead.arn, None, 1)


def test_messages_that_were_sent_straight_to_it_have_no_way_back(account):
    _, dead = dead_letters(account, "x")
    dead.purge(NOW + 40)
    send(dead, "stray")
    move = account.start_move(NOW + 40, dead.arn, None, None)
    account.run_moves(NOW + 40)
    assert (move.status, move.failure, len(dead)) == ("FAILED", "CouldNotDetermineMessageSource", 1)


def test_a_move_whose_destination_goes_fails(account):
    queue, dead = dead_letters(account, "x")
    move = account.start_move(NOW + 40, dead.arn, queue.arn, 1)
    account.delete(NOW + 40, queue)
    account.run_moves(NOW + 100)
    assert (move.status, move.failure) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")


def test_what_others_take_in_the_meantime_is_not_moved(account):
    _, dead = dead_letters(account, "x", "y")
    move = account.start_move(NOW + 40, dead.arn, None, 1)
    account.receive(NOW + 40, dead, count=10, visibility=None)
    assert account.run_moves(NOW + 41) is None
    assert (move.status, move.moved, move.to_move) == ("COMPLETED", 0, 0)


def test_moves_are_listed_newest_first_and_ten_at_most(account):
    _, dead = dead_letters(account)
    for second in range(12):
        account.start_move(NOW + second, dead.arn, None, None)
        account.run_moves(NOW + second)
    assert [move.started_at - NOW for move in account.moves_from(dead.arn, 100)] == list(range(11, 1, -1))


def test_moves_between_what_does_not_exist_are_refused(account):
    queue, dead = dead_letters(account, "x")
    nowhere = account.arn("nowhere")
    for source, destination, says in [
        (nowhere, None, "SourceArn parameter doesn't exist"),
        (dead.arn, nowhere, "DestinationArn parameter doesn't exist"),
        (dead.arn, dead.arn, "cannot be the same"),
        (queue.arn, None, "must be configured as a Dead Letter Queue"),
    ]:
        with pytest.raises(SQSError, match=says):
            account.start_move(NOW, source, destination, None)
    with pytest.raises(SQSError, match="Task does not exist"):
        account.cancel_move("AQEBmove0")
    with pytest.raises(SQSError, match="TaskHandle is invalid"):
        account.cancel_move("garbage")
    with pytest.raises(SQSError, match="SourceArn"):
        account.moves_from(nowhere, 1)
