"""What is believed of an answer, and whose address is this machine's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from app.transport import aws

GOOD = {"Body": "b", "ReceiptHandle": "r", "MessageId": "m"}


@pytest.mark.parametrize("answer", [{}, {"Messages": []}, {"Messages": None}])
def test_no_messages_is_an_empty_queue(answer):
    assert aws.received(answer) == []


@pytest.mark.parametrize(
    "answer",
    [None, [], "x", {"Messages": 5}, {"Messages": [5]}, {"Messages": [{}]}, {"Messages": [{**GOOD, "Body": None}]}],
)
def test_what_is_no_answer_to_a_receive_is_not_taken_for_an_empty_queue(answer):
    with pytest.raises(aws.AWSError):
        aws.received(answer)


@pytest.mark.parametrize(
    ("status", "body", "is_believed"),
    [
        (200, b'{"Messages": []}', True),
        (200, b' {"a": 1}\n', True),
        (200, b"", True),
        (200, b"<html>", False),
        (200, b"[]", False),
        (200, b'{"Messages": [{"Bo', False),
        (502, b"<html>", True),  # botocore's to tell, by its status
    ],
)
def test_a_good_answer_is_a_whole_json_object_or_nothing(status, body, is_believed):
    response = {"status_code": status, "body": body}
    operation = SimpleNamespace(name="ReceiveMessage")
    if is_believed:
        aws._check_answer(operation_model=operation, response_dict=response)
    else:
        with pytest.raises(aws.AWSError, match="ReceiveMessage was answered with something else"):
            aws._check_answer(operation_model=operation, response_dict=response)


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://localhost:9324", True),
        ("http://127.0.0.1", True),
        ("http://127.9.9.9:1", True),
        ("http://[::1]:9324", True),
        ("https://sqs.eu-west-1.amazonaws.com", False),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        (None, False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(url, is_here):
    assert aws.is_loopback(url) is is_here


class Recorder:
    def __init__(self, *failing):
        self.calls, self.failing = [], failing

    def change_message_visibility_batch(self, **call):
        self.calls.append(call)
        failed = [entry for entry in call["Entries"] if entry["ReceiptHandle"] in self.failing]
        return {"Failed": [{"Id": entry["Id"]} for entry in failed]}


def test_visibility_is_changed_ten_a_call_and_failures_are_named():
    client = Recorder("r3", "r14")
    assert aws.change_visibility(client, "url", [f"r{n}" for n in range(15)], 0) == ["r3", "r14"]
    assert [len(call["Entries"]) for call in client.calls] == [10, 5]


def test_both_spellings_of_a_missing_queue_are_understood():
    for code in ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"):
        assert aws.is_missing_queue(ClientError({"Error": {"Code": code}}, "GetQueueUrl"))
    assert not aws.is_missing_queue(ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueUrl"))
    assert not aws.is_missing_queue(OSError())
