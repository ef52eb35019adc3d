"""What is believed of an answer, and whose address is this machine's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from app.transport import aws
from app.transport.engine import Failure
from app.transport.intake.receiver import messages_in

GOOD = {"Body": "b", "ReceiptHandle": "r", "MessageId": "m"}


@pytest.mark.parametrize("answer", [{}, {"Messages": []}, {"Messages": None}])
def test_no_messages_is_an_empty_queue(answer):
    assert messages_in(answer) == []


@pytest.mark.parametrize(
    "answer",
    [None, [], "x", {"Messages": 5}, {"Messages": [5]}, {"Messages": [{}]}, {"Messages": [{**GOOD, "Body": None}]}],
)
def test_what_is_no_answer_to_a_receive_is_not_taken_for_an_empty_queue(answer):
    assert isinstance(messages_in(answer), Failure)


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


def test_both_spellings_of_a_missing_queue_are_understood():
    for code in ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"):
        assert aws.is_missing_queue(ClientError({"Error": {"Code": code}}, "GetQueueUrl"))
    assert not aws.is_missing_queue(ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueUrl"))
    assert not aws.is_missing_queue(OSError())
