"""The consumer: whose requests it takes, and in which order it does what it was asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.request import Request as CeleryRequest

from app.base_task import Request
from app.consumer import Consumer, kept_by_ours


class Ours(Request):
    pass


class Theirs(CeleryRequest):
    def on_timeout(self, soft, timeout):
        return "theirs"


def test_celerys_own_requests_become_ours():
    assert kept_by_ours(CeleryRequest) is Request


def test_ours_and_what_derives_from_them_stay():
    assert kept_by_ours(Request) is Request
    assert kept_by_ours(Ours) is Ours


def test_others_keep_what_they_change_and_get_the_rest():
    mixed = kept_by_ours(Theirs)
    assert mixed.on_timeout is Theirs.on_timeout
    assert mixed.enter_pool is Request.enter_pool
    assert mixed.acknowledge is Request.acknowledge


class Transport:
    """A connection's, as far as the consumer knows it."""

    def __init__(self, in_pool=0):
        self.in_pool, self.drains, self.next, self.filled = in_pool, [], None, 0

    def begin_drain(self, then):
        self.drains.append(then)

    def when_place_is_free(self, call):
        self.next = call

    def fill_places(self):
        self.filled += 1


@pytest.fixture
def connect(monkeypatch):
    """Has a consumer connect to this transport."""
    consumer = Consumer.__new__(Consumer)
    consumer._transport, consumer._earlier, consumer._is_draining, consumer._then = None, [], False, []
    consumer.controller = SimpleNamespace(state=SimpleNamespace(revoked=set()), autoscaler=None)
    consumer.pool = SimpleNamespace(is_green=False, num_processes=4)

    def connect(transport):
        monkeypatch.setattr(CeleryConsumer, "connect", lambda _: SimpleNamespace(transport=transport), raising=True)
        consumer.connect()
        return consumer

    return connect


def test_who_is_told_to_stop_before_there_is_a_connection_begins_nothing_on_one(connect):
    told, consumer = [], connect(earlier := Transport())
    consumer._transport = None  # not yet
    consumer.begin_drain(lambda: told.append("drain"))
    connect(transport := Transport())
    assert earlier.drains == []
    [then] = transport.drains
    then()
    connect(another := Transport())
    [then] = another.drains
    then()
    assert told == ["drain"]


def test_tasks_of_an_earlier_connection_keep_their_places_until_they_have_ended(connect):
    connect(first := Transport())
    assert first.places() == 4
    first.in_pool = 3
    connect(second := Transport())
    assert second.places() == 1
    assert second.most_places() == 1
    first.in_pool = 2
    first.next()
    assert (second.places(), second.filled) == (2, 1)
    connect(third := Transport())
    first.next()
    assert (third.places(), third.filled) == (2, 1)


def test_what_remote_control_asks_for_is_done_in_the_order_of_asking():
    consumer, done = Consumer.__new__(Consumer), []
    consumer.hub, consumer._pending_operations = None, []
    for name in ("cancel", "add", "cancel again"):
        consumer.call_soon(done.append, name)
    consumer.perform_pending_operations()
    assert done == ["cancel", "add", "cancel again"]
