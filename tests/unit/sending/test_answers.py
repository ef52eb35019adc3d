from __future__ import annotations

import uuid

import pytest

from app.sending.answers import Fate, entries_for, fate_of, read_answer
from app.sending.entries import Entry


def test_entries_carry_their_lines_number_and_all_of_the_message():
    batch = [Entry(12, uuid.UUID(int=1), {"MessageBody": "x", "DelaySeconds": 5})]
    assert entries_for(batch) == [{"Id": "12", "MessageBody": "x", "DelaySeconds": 5}]


def test_an_answer_tells_taken_from_failed_from_refused():
    answer = read_answer(
        {
            "Successful": [{"Id": "1", "MessageId": "m"}],
            "Failed": [
                {"Id": "2", "Code": "InternalError", "SenderFault": False},
                {"Id": "3", "Code": "InvalidMessageContents", "SenderFault": True, "Message": "never shown"},
                {"Id": "4", "Code": "KMS.ThrottlingException", "SenderFault": True},
            ],
        }
    )
    assert answer.accepted == {1}
    assert answer.failed == {2: "InternalError", 4: "KMS.ThrottlingException"}
    assert answer.refused == {3: "InvalidMessageContents"}


def test_a_success_without_a_message_id_is_none():
    answer = read_answer({"Successful": [{"Id": "1"}, {"Id": "2", "MessageId": ""}, {"Id": "3", "MessageId": "m"}]})
    assert answer.accepted == {3}


def test_an_empty_answer_is_an_answer_for_nobody():
    assert read_answer({}).accepted == frozenset()


def test_a_call_that_the_sdk_repeated_is_known_as_such():
    assert read_answer({"ResponseMetadata": {"RetryAttempts": 1}}).was_repeated
    assert not read_answer({"ResponseMetadata": {"RetryAttempts": 0}}).was_repeated


@pytest.mark.parametrize(
    ("code", "status", "fate"),
    [
        ("ThrottlingException", 400, Fate.NOT_DONE),
        ("RequestThrottled", 403, Fate.NOT_DONE),
        ("ExpiredTokenException", 403, Fate.NOT_DONE),
        ("EndpointConnectionError", None, Fate.NOT_DONE),
        ("ConnectTimeoutError", None, Fate.NOT_DONE),
        ("ReadTimeoutError", None, Fate.UNCERTAIN),
        ("ConnectionClosedError", None, Fate.UNCERTAIN),
        ("ConnectionResetError", None, Fate.UNCERTAIN),
        ("InternalFailure", 500, Fate.UNCERTAIN),
        ("ServiceUnavailable", 503, Fate.UNCERTAIN),
        ("AccessDenied", 403, Fate.REFUSED),
        ("QueueDoesNotExist", 400, Fate.REFUSED),
        ("NoCredentialsError", None, Fate.REFUSED),
        ("BatchRequestTooLong", 400, Fate.REFUSED),
    ],
)
def test_what_a_failed_call_may_have_done(code, status, fate):
    assert fate_of(code, status) is fate
