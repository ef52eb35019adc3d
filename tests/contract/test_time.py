"""What happens as time passes: visibility, delay, retention, dead letters."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError


def test_a_received_message_comes_back_when_its_visibility_timeout_is_over(sqs):
    url = sqs.queue(VisibilityTimeout="2")
    sqs.send(url, "x")
    assert sqs.bodies(url) == ["x"]
    assert sqs.counts(url) == (0, 1, 0)
    assert sqs.bodies(url) == []
    sqs.let_pass(2)
    assert sqs.counts(url) == (1, 0, 0)
    assert sqs.bodies(url) == ["x"]


def test_a_receive_may_set_its_own_timeout(sqs):
    url = sqs.queue(VisibilityTimeout="30")
    sqs.send(url, "x")
    assert sqs.bodies(url, VisibilityTimeout=1) == ["x"]
    sqs.let_pass(1)
    assert sqs.bodies(url) == ["x"]


def test_a_timeout_can_be_extended_and_ended(sqs):
    url = sqs.queue(VisibilityTimeout="5")
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    sqs.client.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=30)
    sqs.let_pass(5)
    assert sqs.bodies(url) == []
    sqs.client.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert sqs.bodies(url) == ["x"]


def test_ten_timeouts_can_be_changed_in_one_call(sqs):
    url = sqs.queue()
    sqs.send(url, "a", "b")
    messages = sqs.receive(url)
    done = sqs.client.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            for n, message in enumerate(messages)
        ]
        + [{"Id": "bad", "ReceiptHandle": "garbage", "VisibilityTimeout": 0}],
    )
    assert len(done["Successful"]) == 2
    assert [(entry["Id"], entry["Code"]) for entry in done["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]
    assert sqs.bodies(url) == ["a", "b"]


def test_the_timeout_of_a_message_that_is_not_in_flight_cannot_be_changed(sqs):
    url = sqs.queue(VisibilityTimeout="1")
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    sqs.let_pass(1)
    with pytest.raises(sqs.client.exceptions.MessageNotInflight):
        sqs.client.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=5)


def test_nor_that_of_a_message_that_was_deleted(sqs):
    url = sqs.queue()
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    sqs.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    with sqs.refuses("InvalidParameterValue"):
        sqs.client.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=5)


def test_a_receipt_lasts_twelve_hours_at_most_extensions_included(sqs):
    url = sqs.queue()
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    sqs.let_pass(2)
    change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    sqs.client.change_message_visibility(**change, VisibilityTimeout=43_100)
    with sqs.refuses("InvalidParameterValue"):
        sqs.client.change_message_visibility(**change, VisibilityTimeout=43_200)


def test_a_timeout_above_twelve_hours_is_refused(sqs):
    url = sqs.queue()
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    with sqs.refuses("InvalidParameterValue"):
        sqs.client.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43_201
        )


def test_delays_per_message_go_before_the_queues(sqs):
    url = sqs.queue(DelaySeconds="2")
    sqs.send(url, "the queue's")
    sqs.send(url, "none", DelaySeconds=0)
    assert sqs.counts(url) == (1, 0, 1)
    assert sqs.bodies(url) == ["none"]
    sqs.let_pass(2)
    assert sqs.bodies(url) == ["the queue's"]


def dead_letter_pair(sqs, max_receives: int = 2, **attributes: str) -> tuple[str, str]:
    dead = sqs.queue()
    policy = {"deadLetterTargetArn": sqs.arn(dead), "maxReceiveCount": max_receives}
    return sqs.queue(RedrivePolicy=policy, **attributes), dead


def test_after_max_receive_count_a_message_moves_to_the_dead_letter_queue(sqs):
    url, dead = dead_letter_pair(sqs, max_receives=2, VisibilityTimeout="1")
    [message_id] = sqs.send(url, "poison", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    for _ in range(2):
        [message] = sqs.receive(url, MessageSystemAttributeNames=["All"])
        sqs.let_pass(1)
    assert sqs.receive(url) == []
    [found] = sqs.receive(dead, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])
    assert found["MessageId"] == message_id
    assert found["Body"] == "poison"
    assert found["MessageAttributes"]["a"]["StringValue"] == "b"
    assert found["Attributes"]["SentTimestamp"] == message["Attributes"]["SentTimestamp"]
    assert sqs.counts(url) == (0, 0, 0)


def test_a_dead_letter_says_which_queue_it_comes_from(sqs):
    url, dead = dead_letter_pair(sqs, max_receives=1, VisibilityTimeout="0")
    sqs.send(url, "poison")
    sqs.receive(url)
    sqs.receive(url)
    [found] = sqs.receive(dead, MessageSystemAttributeNames=["DeadLetterQueueSourceArn"])
    assert found["Attributes"] == {"DeadLetterQueueSourceArn": sqs.arn(url)}


def test_the_queues_behind_a_dead_letter_queue_are_listed(sqs):
    url, dead = dead_letter_pair(sqs)
    assert sqs.client.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    assert sqs.client.list_dead_letter_source_queues(QueueUrl=url)["queueUrls"] == []


def test_a_dead_letter_queue_must_exist(sqs):
    policy = {"deadLetterTargetArn": sqs.arn(sqs.queue()) + "-missing", "maxReceiveCount": 2}
    with pytest.raises(ClientError):
        sqs.queue(RedrivePolicy=policy)


def test_a_dead_letter_queue_may_refuse(sqs):
    dead = sqs.queue(RedriveAllowPolicy=json.dumps({"redrivePermission": "denyAll"}))
    with pytest.raises(ClientError):
        sqs.queue(RedrivePolicy={"deadLetterTargetArn": sqs.arn(dead), "maxReceiveCount": 2})


@pytest.mark.parametrize("policy", ["{", '{"maxReceiveCount": 2}'], ids=["no JSON", "no target"])
def test_a_redrive_policy_has_a_form(sqs, policy):
    with pytest.raises(ClientError):
        sqs.queue(RedrivePolicy=policy)


def test_dead_letters_are_moved_back(sqs):
    url, dead = dead_letter_pair(sqs, max_receives=1, VisibilityTimeout="0")
    sqs.send(url, "a", "b")
    while sqs.receive(url):
        pass
    assert sqs.counts(dead) == (2, 0, 0)
    started = sqs.client.start_message_move_task(SourceArn=sqs.arn(dead))
    assert started["TaskHandle"]
    for _ in range(20):
        [task] = sqs.client.list_message_move_tasks(SourceArn=sqs.arn(dead))["Results"]
        if task["Status"] != "RUNNING":
            break
        sqs.let_pass(0.1)
    assert task["Status"] == "COMPLETED"
    assert task["ApproximateNumberOfMessagesMoved"] == 2
    assert sqs.counts(dead) == (0, 0, 0)
    assert sqs.bodies(url, VisibilityTimeout=30) == ["a", "b"]


def test_a_move_can_be_slow_and_cancelled(sqs):
    url, dead = dead_letter_pair(sqs, max_receives=1, VisibilityTimeout="0")
    sqs.send(url, *"abcde")
    while sqs.receive(url):
        pass
    handle = sqs.client.start_message_move_task(SourceArn=sqs.arn(dead), MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    with pytest.raises(ClientError):
        sqs.client.start_message_move_task(SourceArn=sqs.arn(dead))
    moved = sqs.client.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert moved < 5
    [task] = sqs.client.list_message_move_tasks(SourceArn=sqs.arn(dead))["Results"]
    assert task["Status"] in {"CANCELLED", "CANCELLING"}
    assert sqs.counts(dead)[0] >= 3
