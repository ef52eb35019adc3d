"""Why nothing comes: asked for seldom, and told when as many messages are in flight as SQS allows."""

from __future__ import annotations

import pytest
from fake_engine import PASSING
from fake_sqs import World


@pytest.fixture
def world():
    world = World()
    world.consume("orders")
    world.engine.advance(1)
    world.engine.calls.made.clear()  # the dead-letter queue was asked for
    return world


def told(caplog):
    return [message for message in caplog.messages if "in flight" in message]


def questions(world):
    return len(world.engine.calls.of("GetQueueAttributes"))


def test_an_empty_queue_is_asked_once_until_messages_have_come_again(world, caplog):
    world.engine.advance(3600)
    assert questions(world) == 1
    world.send("orders")
    world.engine.advance(55)
    assert questions(world) == 1
    world.engine.advance(3600)
    assert questions(world) == 2
    assert told(caplog) == []


def test_one_that_is_worked_off_is_not_asked(world):
    for _ in range(100):
        world.send("orders")
        world.engine.advance(50)
    assert questions(world) == 0


def test_that_too_many_are_in_flight_is_told_once_and_looked_at_every_minute_while_it_is_so(world, caplog):
    world.in_flight = 119_000
    world.engine.advance(3600)
    [warning] = told(caplog)
    assert warning.startswith("Queue orders: nothing comes, and some 119000 messages are in flight: SQS hands out none")
    assert 40 <= questions(world) <= 60
    world.in_flight = 5
    world.engine.advance(80)
    before = questions(world)
    world.engine.advance(3600)
    assert questions(world) == before

    world.send("orders")
    world.in_flight = 120_000
    world.engine.advance(100)
    assert len(told(caplog)) == 2


@pytest.mark.parametrize("answer", [PASSING, {}, {"Attributes": None}, {"Attributes": {}}])
def test_where_it_cannot_be_asked_nothing_is_told_and_it_is_not_asked_again(world, caplog, answer):
    world.attributes = answer or {"Nothing": 1}
    world.engine.advance(3600)
    assert questions(world) == 1
    assert told(caplog) == []
