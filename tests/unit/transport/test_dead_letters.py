"""What is not to be tried again: sent to the dead-letter queue with the reason, deleted once its copy is there."""

from __future__ import annotations

import json

import pytest
from fake_engine import PASSING, PERMANENT, FakeIntake, delivery, sent, well

from app.outcome import LOST, RETURNED, reject, retry
from app.transport.custody import Custody, dead_letters
from app.transport.engine import Failure, Kind
from app.transport.options import Options

POLICY = {"Attributes": {"RedrivePolicy": json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123:orders-dead"})}}
DENIED = Failure(Kind.CREDENTIALS, "AccessDenied")
PLACE = "https://sqs/123/orders-dead"


class World:
    """An engine that answers as SQS does for a queue with a dead-letter queue."""

    def __init__(self, engine):
        self.engine = engine
        self.answers = {
            "GetQueueAttributes": [POLICY],
            "GetQueueUrl": [{"QueueUrl": PLACE}],
            "SendMessageBatch": [sent],
        }
        engine.calls.reply = self.reply
        self.custody = Custody(engine, Options(retry_first=4.0, retry_most=4.0))

    def reply(self, call):
        if call.action not in self.answers:
            return 0.01, well(call)
        answers = self.answers[call.action]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return 0.01, answer(call) if callable(answer) else answer

    def rejected(self, reason="it is poison", **options):
        mine = delivery(self.custody, FakeIntake(), **options)
        assert self.custody.take(mine)
        mine.settle(reject(reason))
        self.engine.advance(20)
        return mine

    def sent(self):
        """The entries sent, each with the queue that it was sent to."""
        calls = self.engine.calls.of("SendMessageBatch")
        return [{"QueueUrl": call.parameters["QueueUrl"], **entry} for call in calls for entry in call.entries]

    def called(self, action):
        return len(self.engine.calls.of(action))


@pytest.fixture
def world(engine):
    return World(engine)


def test_the_copy_has_the_body_the_attributes_and_the_reason_and_then_the_message_is_deleted(world):
    mine = delivery(world.custody, FakeIntake())
    mine.message_attributes = {"tenant": {"DataType": "String", "StringValue": "7"}}
    assert world.custody.take(mine)
    mine.settle(reject("it is poison"))
    world.engine.advance(1)
    [sent] = world.sent()
    assert (sent["QueueUrl"], sent["MessageBody"]) == (PLACE, mine.body)
    assert sent["MessageAttributes"]["tenant"] == {"DataType": "String", "StringValue": "7"}
    note = json.loads(sent["MessageAttributes"]["sluice"]["StringValue"])
    assert (note["reason"], note["message_id"], note["queue"]) == ("it is poison", mine.message_id, mine.queue)
    assert world.called("DeleteMessageBatch") == 1
    assert world.called("ChangeMessageVisibilityBatch") == 0


@pytest.mark.parametrize("first", [[PASSING], [PASSING, {}], [well]])
def test_a_send_that_fails_or_names_no_copy_is_tried_again_and_only_then_the_message_is_deleted(world, first):
    world.answers["SendMessageBatch"] = [*first, sent]
    world.rejected()
    assert len(world.sent()) == len(first) + 1
    assert world.called("DeleteMessageBatch") == 1


def test_what_the_dead_letter_queue_refuses_comes_back(world, caplog):
    world.answers["SendMessageBatch"] = [PERMANENT]
    mine = world.rejected()
    assert world.called("DeleteMessageBatch") == 0
    assert world.called("ChangeMessageVisibilityBatch") == 1
    assert mine.message_id in caplog.text


def test_a_dead_letter_queue_that_is_gone_is_looked_for_anew(world):
    world.rejected(message_id="before")
    world.answers["SendMessageBatch"] = [Failure(Kind.QUEUE_MISSING, "QueueDoesNotExist")]
    world.rejected(message_id="meanwhile")
    world.engine.advance(120)
    asked = world.called("GetQueueAttributes")
    world.answers["SendMessageBatch"] = [sent]
    world.rejected(message_id="after")
    assert world.called("GetQueueAttributes") == asked + 1
    assert world.called("DeleteMessageBatch") == 2


@pytest.mark.parametrize("attributes", [{}, {"Attributes": {}}, {"Attributes": {"RedrivePolicy": "5"}}, DENIED])
def test_without_a_dead_letter_queue_it_comes_back_and_that_is_asked_once_a_minute(world, attributes, caplog):
    world.answers["GetQueueAttributes"] = [attributes]
    for n in range(3):
        world.rejected(message_id=str(n))
    assert world.called("GetQueueAttributes") == 1
    assert (world.sent(), world.called("DeleteMessageBatch")) == ([], 0)
    assert caplog.text.count("left to its queue's redrive policy: it is poison") == 3
    world.engine.advance(60)
    world.answers["GetQueueAttributes"] = [POLICY]
    world.rejected(message_id="later")
    assert len(world.sent()) == 1


def test_a_server_that_cannot_say_for_a_moment_is_asked_again(world, caplog):
    world.answers["GetQueueAttributes"] = [PASSING, PASSING, POLICY]
    world.rejected()
    assert world.called("GetQueueAttributes") == 3
    assert len(world.sent()) == 1
    assert "left to" not in caplog.text


def test_a_message_that_has_ten_attributes_goes_without_the_reason(world):
    mine = delivery(world.custody, FakeIntake())
    mine.message_attributes = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(10)}
    world.custody.take(mine)
    mine.settle(reject("it is poison"))
    world.engine.advance(1)
    [sent] = world.sent()
    assert "sluice" not in sent["MessageAttributes"]


def test_a_reason_of_any_length_fits(world):
    world.rejected(reason="é" * 100_000)
    [sent] = world.sent()
    assert len(sent["MessageAttributes"]["sluice"]["StringValue"].encode()) <= 4096


def test_a_message_that_is_received_again_while_its_copy_is_on_its_way_does_not_run(world):
    mine = delivery(world.custody, FakeIntake(), message_id="one", receipt="old")
    world.custody.take(mine)
    mine.settle(reject("it is poison"))
    world.engine.turn()
    again = delivery(world.custody, FakeIntake(), message_id="one", receipt="new")
    assert not world.custody.take(again)
    world.engine.advance(1)
    [call] = world.engine.calls.of("DeleteMessageBatch")
    assert [entry["ReceiptHandle"] for entry in call.entries] == ["new"]


def test_a_message_that_kills_its_process_again_and_again_goes_there_too(world):
    for _ in range(3):
        mine = delivery(world.custody, FakeIntake(), message_id="deadly")
        assert world.custody.take(mine)
        mine.settle(LOST)
        world.engine.advance(1)
    [sent] = world.sent()
    assert "died 3 times" in sent["MessageAttributes"]["sluice"]["StringValue"]


def test_one_that_cannot_be_copied_comes_back_and_keeps_none_of_the_others_away(world, monkeypatch):
    """Both wait for the address of the dead-letter queue."""
    first, second = (delivery(world.custody, FakeIntake(), message_id=name) for name in ("first", "second"))
    copy_of = dead_letters.copy_of

    def copy_all_but_one(each, *args, **kwargs):
        if each is first:
            raise ValueError("as asked")
        return copy_of(each, *args, **kwargs)

    monkeypatch.setattr(dead_letters, "copy_of", copy_all_but_one)
    for each in (first, second):
        assert world.custody.take(each)
        each.settle(reject("it is poison"))
    world.engine.advance(20)
    assert len(world.sent()) == 1
    assert world.called("ChangeMessageVisibilityBatch") == 1
    assert world.custody.dead_letters.pending == 0


@pytest.mark.parametrize(("between", "reasons"), [(RETURNED, 1), (retry(), 0)])
def test_what_goes_back_unbegun_says_nothing_of_what_its_message_does_to_processes(world, between, reasons):
    """Its receives go on beside: a child that is replaced, and messages that wait meanwhile."""
    for outcome in (LOST, between, LOST, between, LOST):
        mine = delivery(world.custody, FakeIntake(), message_id="deadly")
        assert world.custody.take(mine)
        mine.settle(outcome)
        world.engine.advance(20)
    notes = [entry for entry in world.sent() if "sluice" in entry.get("MessageAttributes", {})]
    assert len([entry for entry in notes if "dead" in entry["QueueUrl"]]) == reasons
