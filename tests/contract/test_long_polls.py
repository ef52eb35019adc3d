"""Long polls wait, and wake at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def pool():
    with ThreadPoolExecutor(20) as executor:
        yield executor


def poll(sqs, url: str, seconds: int = 10, count: int = 10) -> tuple[list[str], float]:
    started = time.monotonic()
    messages = sqs.bodies(url, count, WaitTimeSeconds=seconds)
    return messages, time.monotonic() - started


def test_an_empty_long_poll_waits_for_its_time(sqs):
    messages, seconds = poll(sqs, sqs.queue(), 1)
    assert messages == []
    assert seconds >= 0.9


def test_the_queues_own_wait_holds_when_the_call_has_none(sqs):
    url = sqs.queue(ReceiveMessageWaitTimeSeconds="3")
    started = time.monotonic()
    sqs.client.receive_message(QueueUrl=url)
    assert time.monotonic() - started >= 2.9
    started = time.monotonic()
    sqs.client.receive_message(QueueUrl=url, WaitTimeSeconds=0)
    assert time.monotonic() - started < 2.9


def test_a_waiting_poll_gets_a_message_as_soon_as_it_is_sent(sqs, pool):
    url = sqs.queue()
    waiting = pool.submit(poll, sqs, url)
    time.sleep(0.3)
    sqs.send(url, "x")
    messages, seconds = waiting.result(timeout=15)
    assert messages == ["x"]
    assert seconds < 5


def test_a_waiting_poll_gets_a_message_whose_visibility_timeout_ends(sqs, pool):
    url = sqs.queue(VisibilityTimeout="1")
    sqs.send(url, "x")
    assert sqs.bodies(url) == ["x"]
    waiting = pool.submit(poll, sqs, url)
    sqs.let_pass(1)
    messages, seconds = waiting.result(timeout=15)
    assert messages == ["x"]
    assert seconds < 8


def test_a_waiting_poll_gets_a_delayed_message(sqs, pool):
    url = sqs.queue()
    waiting = pool.submit(poll, sqs, url)
    sqs.send(url, "x", DelaySeconds=1)
    sqs.let_pass(1)
    messages, seconds = waiting.result(timeout=15)
    assert messages == ["x"]
    assert seconds < 8


def test_a_waiting_poll_gets_a_message_that_is_released(sqs, pool):
    url = sqs.queue()
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    waiting = pool.submit(poll, sqs, url)
    time.sleep(0.2)
    sqs.client.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    messages, seconds = waiting.result(timeout=15)
    assert messages == ["x"]
    assert seconds < 8


def test_many_polls_share_many_messages_each_once(sqs, pool):
    url = sqs.queue()
    waiting = [pool.submit(poll, sqs, url, 10, 1) for _ in range(10)]
    time.sleep(0.3)
    sqs.client.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(10)])
    received = sorted(body for future in waiting for body in future.result(timeout=15)[0])
    assert received == sorted(str(n) for n in range(10))
