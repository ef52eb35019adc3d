"""The engine with its thread, against the local SQS server."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from harness import until

from app.transport.engine import Kind
from app.transport.engine import calls as calls_module
from app.transport.engine import engine as engine_module


@pytest.fixture
def caller(sqs_environment, sqs_server, start_engine):
    return start_engine(endpoint_url=sqs_server.endpoint_url)


def test_what_sqs_does_is_done(caller, sqs_server):
    url = sqs_server.create_queue("orders")
    sqs_server.fill("orders", 10)
    messages = caller.call("ReceiveMessage", {"QueueUrl": url, "MaxNumberOfMessages": 10})["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
    answer = caller.call("DeleteMessageBatch", {"QueueUrl": url, "Entries": [*entries[:9], entries[9] | {"Id": "x"}]})
    assert {entry["Id"] for entry in answer["Successful"]} == {*"012345678", "x"}
    assert sqs_server.queues["orders"]["in_flight"] == 0
    failure = caller.call("GetQueueUrl", {"QueueName": "no-such"})
    assert (failure.kind, failure.code) == (Kind.QUEUE_MISSING, "QueueDoesNotExist")
    change = {"QueueUrl": url, "ReceiptHandle": "nonsense", "VisibilityTimeout": 5}
    assert caller.call("ChangeMessageVisibility", change).kind is Kind.RECEIPT
    change = {"QueueUrl": url, "MaxNumberOfMessages": 11}
    assert caller.call("ReceiveMessage", change).kind is Kind.PERMANENT


def test_a_long_poll_may_take_its_own_time_on_top(caller, sqs_server, monkeypatch):
    monkeypatch.setattr(calls_module, "MARGIN", 1.8)
    url = sqs_server.create_queue("orders")
    begun = time.monotonic()
    assert caller.call("ReceiveMessage", {"QueueUrl": url, "WaitTimeSeconds": 2}, wait=2.0) == {}
    assert time.monotonic() - begun > 1.9


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("error", Kind.PASSING, "InternalFailure"),
        ("error:code=503", Kind.PASSING, "ServiceUnavailable"),
        ("error:code=OverLimit", Kind.THROTTLED, "OverLimit"),
        ("error:status=403:code=ExpiredToken", Kind.CREDENTIALS, "ExpiredToken"),
        ("throttle", Kind.THROTTLED, "RequestThrottled"),
        ("throttle:code=ThrottlingException", Kind.THROTTLED, "ThrottlingException"),
        ("drop", Kind.PASSING, "NoAnswer"),
        ("answer-lost", Kind.PASSING, "NoAnswer"),
        ("black-hole", Kind.PASSING, "NoAnswer"),
        ("slow:seconds=3", Kind.PASSING, "NoAnswer"),
        ("garbage", Kind.PASSING, "NotUnderstood"),
        ("truncated", Kind.PASSING, "NoAnswer"),
    ],
)
def test_each_trouble_is_told_once_and_over_when_it_is_over(  # noqa: PLR0917 - fixtures
    caller, sqs_server, monkeypatch, fault, kind, code
):
    is_waited_for = fault.startswith(("black-hole", "slow"))
    monkeypatch.setattr(calls_module, "MARGIN", 0.7 if is_waited_for else 5.0)
    number = sqs_server.faults.add(f"ListQueues:{fault}")
    for _ in range(10):
        caller.send("ListQueues")
    assert {(answer.kind, answer.code) for answer in caller.wait_for(10)} == {(kind, code)}
    sqs_server.faults.remove(number)
    until(lambda: isinstance(caller.call(), dict), "answer", 10)
    assert len(caller.engine._http) == 0


def test_two_thousand_calls_thirty_at_a_time_are_each_answered_once(caller, sqs_server):
    url = sqs_server.create_queue("orders")
    engine, answered, begun = caller.engine, Counter(), iter(range(2_000))

    def answer(number, content):
        assert content == {}, content
        answered[number] += 1
        call()

    def call():
        if (number := next(begun, None)) is not None:
            engine.calls.call("ReceiveMessage", {"QueueUrl": url}, lambda content: answer(number, content))

    for _ in range(30):
        engine.call_soon(call)
    until(lambda: len(answered) == 2_000, lambda: len(answered))
    assert set(answered.values()) == {1}
    assert sqs_server.counts.of("ReceiveMessage").calls == 2_000
    assert len(engine._http._idle) <= 64


def test_work_from_many_threads_is_all_done_in_the_engines(caller):
    done = Counter()
    threads = [
        threading.Thread(
            target=lambda: [caller.engine.call_soon(lambda: done.update([threading.get_ident()])) for _ in range(2_000)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: done.total() == 8_000, done.total, 10)
    assert len(done) == 1


def test_nothing_that_is_handed_in_waits_for_the_end_of_a_wait(caller, monkeypatch):
    monkeypatch.setattr(engine_module, "_LONGEST_WAIT", 20.0)
    for _ in range(300):
        woken = threading.Event()
        caller.engine.call_soon(woken.set)
        assert woken.wait(5)


def test_an_engine_that_has_nothing_to_do_sleeps(caller):
    assert isinstance(caller.call(), dict)
    turns, turn = [], caller.engine.turn
    caller.engine.turn = lambda: (turns.append(1), turn())
    time.sleep(1)
    assert len(turns) < 5


def test_it_stops_with_calls_in_flight_and_at_once(caller, sqs_server):
    url = sqs_server.create_queue("orders")
    caller.send("ReceiveMessage", {"QueueUrl": url, "WaitTimeSeconds": 20}, wait=20.0)
    until(lambda: sqs_server.queues["orders"]["waiting_polls"] == 1, "poll")
    begun = time.monotonic()
    assert caller.engine.stop(5)
    assert time.monotonic() - begun < 4
    caller.engine.start()
    caller.send("ListQueues")
    time.sleep(0.2)
    assert caller.answers == []
    assert "stopped" in repr(caller.engine)


def test_an_error_of_its_own_neither_ends_it_nor_makes_it_spin(caller, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(caller.engine._http, "turn", lambda *_, **__: 1 / 0)
        begun = time.monotonic()
        caller.engine.call_soon(list)
        time.sleep(1)
        took = time.monotonic() - begun
    assert isinstance(caller.call(), dict)
    errors = [record for record in caplog.records if "goes on after an error" in record.getMessage()]
    assert 1 <= len(errors) <= 2 + took / 0.2
