"""Calls: what is sent, what is made of the answers, and what becomes of calls without credentials."""

from __future__ import annotations

import json

import pytest

from app.transport.engine import Failure, Kind, calls
from app.transport.engine.calls import MARGIN, Calls
from app.transport.engine.http import Answer


class Http:
    """Answers when the test says so."""

    def __init__(self):
        self.sent = []

    def send(self, request, done):
        self.sent.append((request, done))

    def answer(self, status=200, body=b"{}", failure=None, number=-1):
        self.sent[number][1](Answer(status, body, failure))


class Account:
    """Has credentials or has not."""

    url = "https://sqs.example/"

    def __init__(self):
        self.is_ready, self.is_waiting, self.problem, self.refusals = True, False, None, 0

    def sign(self, headers, body):
        return [*(f"{name}: {value}" for name, value in headers.items()), f"Signature: of {len(body)}"]

    def refused(self):
        self.refusals += 1


class Setting:
    def __init__(self, clock):
        self.http, self.account, self.clock, self.answers = Http(), Account(), clock, []
        self.calls = Calls(self.http, self.account, clock=clock)

    def call(self, action="ReceiveMessage", *, wait=0.0):
        self.calls.call(action, {"QueueUrl": "url"}, self.answers.append, wait=wait)


@pytest.fixture
def setting(manual_clock):
    return Setting(manual_clock)


def test_a_call_is_sent_as_sqs_json_protocol_wants_it(setting):
    setting.call(wait=20.0)
    (request, _) = setting.http.sent[0]
    assert (request.url, json.loads(request.body)) == ("https://sqs.example/", {"QueueUrl": "url"})
    assert request.headers == [
        "X-Amz-Target: AmazonSQS.ReceiveMessage",
        "Content-Type: application/x-amz-json-1.0",
        f"Signature: of {len(request.body)}",
    ]
    assert request.timeout == 20.0 + MARGIN


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, b'{"Messages": []}', {"Messages": []}),
        (200, b"{}", {}),
        (200, b"<html>Sign in</html>", "NotUnderstood"),
        (200, b'{"Messages": [', "NotUnderstood"),
        (200, b"[]", "NotUnderstood"),
        (200, b"", "NotUnderstood"),
        (200, b" \n", "NotUnderstood"),
        (200, b"null", "NotUnderstood"),
        (200, b"\xff\xfe\x00", "NotUnderstood"),
        (200, b"[" * 100_000, "NotUnderstood"),
        (200, b'{"a": ' + b"1" * 5_000 + b"}", "NotUnderstood"),
        (204, b"", "HTTP 204"),
        (302, b"", "HTTP 302"),
        (403, b"<html>Forbidden</html>", "HTTP 403"),
        (503, b"", "HTTP 503"),
        (503, b'{"__type": 5, "message": null}', "5"),
        (500, b"[]", "HTTP 500"),
    ],
)
def test_an_answer_that_is_none_of_sqs_is_a_failure_that_may_pass(setting, status, body, answer):
    setting.call()
    setting.http.answer(status, body)
    (got,) = setting.answers
    if isinstance(answer, dict):
        assert got == answer
    else:
        assert (got.kind, got.code) == (Kind.PASSING, answer)
    assert setting.account.refusals == 0


def test_no_answer_says_why(setting):
    setting.call()
    setting.http.answer(0, b"", "nobody answers there (Failed to connect)")
    assert setting.answers == [Failure(Kind.PASSING, "NoAnswer", "nobody answers there (Failed to connect)")]


@pytest.mark.parametrize("name", ["message", "Message"])
def test_an_error_has_sqs_own_words(setting, name):
    setting.call()
    setting.http.answer(400, json.dumps({"__type": "com.amazonaws.sqs#QueueDoesNotExist", name: "No such"}).encode())
    assert setting.answers == [Failure(Kind.QUEUE_MISSING, "QueueDoesNotExist", "No such")]


def test_refused_credentials_are_got_anew(setting):
    setting.call()
    setting.http.answer(403, b'{"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "expired"}')
    assert setting.answers[0].kind is Kind.CREDENTIALS
    assert setting.account.refusals == 1


def test_a_call_waits_for_credentials_and_is_then_sent(setting):
    setting.account.is_ready, setting.account.is_waiting = False, True
    setting.call()
    setting.call()
    setting.calls.turn()
    assert (setting.http.sent, setting.answers) == ([], [])
    setting.account.is_ready = True
    setting.calls.turn()
    setting.calls.turn()
    assert len(setting.http.sent) == 2


def test_without_credentials_it_fails_in_the_next_turn_and_not_at_once(setting):
    setting.account.is_ready, setting.account.problem = False, "none were found"
    setting.call()
    assert setting.answers == []
    setting.calls.turn()
    assert setting.answers == [Failure(Kind.CREDENTIALS, "NoCredentials", "none were found")]
    setting.calls.turn()
    assert len(setting.answers) == 1


def test_a_source_that_does_not_answer_is_waited_for_so_long_and_no_longer(setting):
    setting.account.is_ready, setting.account.is_waiting = False, True
    setting.call()
    setting.clock.advance(MARGIN - 0.1)
    setting.calls.turn()
    assert setting.answers == []
    setting.clock.advance(0.1)
    setting.calls.turn()
    assert setting.answers == [Failure(Kind.CREDENTIALS, "NoCredentials", "their source does not answer")]


def test_who_calls_again_at_once_does_not_hold_the_turn_up(setting):
    setting.account.is_ready = False

    def again(answer):
        setting.answers.append(answer)
        setting.calls.call("ReceiveMessage", {}, again)

    setting.calls.call("ReceiveMessage", {}, again)
    for n in range(3):
        setting.calls.turn()
        assert len(setting.answers) == n + 1


def test_an_answer_that_cannot_be_taken_in_is_logged_and_spoils_no_other(setting, caplog):
    def broken(answer):
        raise RuntimeError("no")

    setting.calls.call("DeleteMessageBatch", {}, broken)
    setting.http.answer()
    setting.account.is_ready = False
    setting.calls.call("GetQueueUrl", {}, broken)
    setting.call()
    setting.calls.turn()
    assert [record.getMessage() for record in caplog.records] == [
        "What DeleteMessageBatch was answered could not be taken in",
        "What GetQueueUrl was answered could not be taken in",
    ]
    assert len(setting.answers) == 1


def test_what_cannot_be_signed_or_sent_fails_in_the_next_turn(setting, monkeypatch, caplog):
    """Who asked would wait for ever. What credentials are odd is not told: the error's words may be theirs."""

    def sign(headers, body):
        raise TypeError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(setting.account, "sign", sign)
        setting.call()
        setting.account.is_ready, setting.account.is_waiting = False, True
        setting.call()
        setting.account.is_ready = True
        assert setting.answers == []
        setting.calls.turn()
        setting.calls.turn()
    assert [answer.code for answer in setting.answers] == ["OddCredentials"] * 2
    assert "secret" not in f"{setting.answers} {caplog.text}"
    assert setting.account.refusals == 2

    def send(request, done):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(setting.http, "send", send)
        setting.call()
        setting.calls.turn()
    assert setting.answers[2:] == [Failure(Kind.PASSING, "NotSent", "MemoryError")]
    setting.call()
    assert len(setting.http.sent) == 1


def test_what_there_is_no_memory_for_is_a_failure_that_may_pass_and_is_told_once(setting, monkeypatch, caplog):
    """Else who asked would wait for ever: a queue would be received no more."""

    def no_memory(_):
        raise MemoryError

    monkeypatch.setattr(calls.json, "loads", no_memory)
    setting.call()
    setting.http.answer(body=b'{"Messages": []}')
    assert setting.answers == [Failure(Kind.PASSING, "NotRead", "MemoryError")]
    assert "could not be read" in caplog.text

    monkeypatch.setattr(calls.json, "dumps", no_memory)
    setting.call()
    assert len(setting.answers) == 1
    setting.calls.turn()
    assert setting.answers[1:] == [Failure(Kind.PASSING, "NotSent", "MemoryError")]
