"""What goes out over the link: in order, bounded, never in anybody's way."""

from __future__ import annotations

import pytest
import redis

from app.control.background import Background
from app.control.publisher import Publisher
from app.control.state import LinkState


class Server:
    """As much of redis-py as publishing needs."""

    def __init__(self):
        self.got, self.pings, self.fails, self.fails_ping = [], 0, None, None

    def ping(self):
        self.pings += 1
        if self.fails_ping:
            raise self.fails_ping

    def pipeline(self, *, transaction):
        assert not transaction
        return Pipeline(self)


class Pipeline:
    def __init__(self, server):
        self.server, self.batch = server, []

    def publish(self, topic, payload):
        self.batch.append((topic, payload))

    def execute(self):
        if self.server.fails:
            raise self.server.fails
        self.server.got += self.batch


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def state(manual_clock):
    return LinkState(clock=manual_clock)


@pytest.fixture
def publisher(server, state, monkeypatch):
    """Its turns are taken by the test."""
    monkeypatch.setattr(Background, "tell", lambda _: None)
    return Publisher(server, state, buffer=1000)


def test_what_is_published_arrives_in_order_at_most_five_hundred_in_one_go(publisher, server):
    for n in range(700):
        publisher.publish("t", str(n))
    assert publisher.send_some() == 0
    assert len(server.got) == 500
    publisher.send_some()
    assert server.got == [("t", str(n)) for n in range(700)]


def test_beyond_the_buffer_the_oldest_are_dropped_and_counted(publisher, server, state):
    for n in range(1003):
        publisher.publish("t", str(n))
    assert (len(publisher), state.dropped) == (1000, 3)
    publisher.send_some()
    assert server.got[0] == ("t", "3")


def test_what_failed_halfway_is_lost_and_not_sent_twice(publisher, server, state):
    server.fails = redis.TimeoutError("no answer")
    publisher.publish("t", "1")
    assert publisher.send_some() > 0
    assert (state.dropped, state.is_up) == (1, False)
    server.fails = None
    publisher.publish("t", "2")
    assert publisher.send_some() == 0
    assert server.got == [("t", "2")]
    assert state.is_up


def test_while_the_server_is_away_nothing_is_taken_from_the_buffer(publisher, server, state):
    server.fails = redis.ConnectionError("away")
    publisher.publish("t", "1")
    publisher.send_some()
    server.fails_ping = redis.ConnectionError("away")
    publisher.publish("t", "2")
    pauses = [publisher.send_some() for _ in range(10)]
    assert (len(publisher), state.dropped) == (1, 1)
    assert 5 <= pauses[-1] <= 10


def test_a_server_that_answers_pings_and_refuses_to_publish_is_told_of_once(publisher, server, state, caplog):
    """As with an access list; the pauses grow all the same."""
    server.fails = redis.ResponseError("no permission to publish")
    pauses = []
    for n in range(8):
        publisher.publish("t", str(n))
        pauses.append(publisher.send_some())
    assert len(caplog.records) == 1
    assert pauses[-1] > 4


def test_an_error_of_whatever_kind_does_not_end_it(publisher, server):
    server.fails = ValueError("file closed")
    publisher.publish("t", "1")
    assert publisher.send_some() > 0


def test_flush_says_whether_all_is_gone(publisher, server):
    assert publisher.flush(0)
    publisher.publish("t", "1")
    assert not publisher.flush(0)
    publisher.send_some()
    assert publisher.flush(0)
    server.fails = redis.ConnectionError("away")
    publisher.publish("t", "2")
    publisher.publish("t", "3")
    publisher._take = list  # what waits, waits
    publisher.send_some()
    assert not publisher.flush(60)  # and at once, since sending fails


def test_where_the_system_gives_no_thread_the_event_waits_for_the_next(publisher, server, state, monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Background, "tell", no_thread)
    publisher.publish("t", "1")
    assert not state.is_up
    publisher.send_some()
    assert server.got == [("t", "1")]
    assert state.is_up


def test_a_turn_with_nothing_to_send_talks_to_nobody(publisher, server):
    assert publisher._turn() is None
    publisher.publish("t", "1")
    assert publisher._turn() == 0
    assert server.got == [("t", "1")]
    assert publisher._turn() is None
