"""What comes in over the link, and what is done about silence and trouble."""

from __future__ import annotations

import pytest
import redis

from app.control.background import Background
from app.control.state import LinkState
from app.control.subscriber import Subscriber


class Server:
    """As much of redis-py as listening needs: it confirms what is asked for, and then gives what it is told to."""

    def __init__(self):
        self.asked, self.script, self.pings, self.closed, self.fails = [], [], 0, 0, None

    def ping(self):
        if self.fails:
            raise self.fails
        self.pings += 1

    def pubsub(self):
        return self

    def close(self):
        self.closed += 1

    def subscribe(self, topic):
        self.asked.append(("subscribe", topic))
        self.script.append({"type": "subscribe", "pattern": None, "channel": topic.encode(), "data": 1})

    def psubscribe(self, topic):
        self.asked.append(("psubscribe", topic))
        self.script.append({"type": "psubscribe", "pattern": None, "channel": topic.encode(), "data": 1})

    def unsubscribe(self, topic):
        self.asked.append(("unsubscribe", topic))

    def next(self):
        step = self.script.pop(0)
        step = step() if callable(step) else step
        if isinstance(step, Exception):
            raise step
        return step


class Line:
    """What nobody waits on."""

    def __init__(self, pubsub):
        self.pubsub, self.get_message, self.close, self.wait = pubsub, pubsub.next, pubsub.close, lambda _: None


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def state(manual_clock):
    return LinkState(clock=manual_clock)


@pytest.fixture
def subscriber(server, state, manual_clock, monkeypatch):
    """Its turns are taken by the test."""
    monkeypatch.setattr(Background, "tell", lambda _: None)
    return Subscriber(server, state, clock=manual_clock, line=Line)


END = redis.ConnectionError("gone")


def message(topic, data, pattern=None):
    return {"type": "pmessage" if pattern else "message", "pattern": pattern, "channel": topic, "data": data}


def test_payloads_go_to_whoever_asked_for_their_topic_or_pattern(subscriber, server):
    got = {"box": [], "events": [], "again": []}
    subscriber.subscribe("pidbox", got["box"].append, wait=0)
    subscriber.subscribe("celeryev/*", got["events"].append, wait=0)
    subscriber.subscribe("pidbox", got["again"].append, wait=0)
    server.script = [
        lambda: message(b"pidbox", b"command"),
        lambda: message(b"celeryev/task.sent", b"event", b"celeryev/*"),
        lambda: message(b"other", b"not ours"),
        lambda: message(b"pidbox", b"\xff"),
        END,
    ]
    subscriber.listen()
    assert server.asked == [("subscribe", "pidbox"), ("psubscribe", "celeryev/*")]
    assert got == {"box": ["command", "\ufffd"], "events": ["event"], "again": ["command", "\ufffd"]}
    assert server.closed == 1


def test_a_subscription_is_confirmed_by_the_server(subscriber, server):
    seen = []
    subscriber.subscribe("a", print, wait=0)
    server.script = [
        {"type": "subscribe", "pattern": None, "channel": b"a", "data": 1},
        lambda: seen.append(subscriber.subscribe("a", print, wait=0)) or END,
    ]
    subscriber.listen()
    assert seen == [True]
    assert subscriber.subscribe("a", print, wait=0) is False  # the connection is gone, and with it the confirmation


def test_who_unsubscribes_last_ends_it(subscriber, server):
    one, two = [], []

    def unsubscribe_one():
        subscriber.unsubscribe("a", one.append)
        return message(b"a", b"only two")

    def unsubscribe_two():
        subscriber.unsubscribe("a", two.append)

    subscriber.subscribe("a", one.append, wait=0)
    subscriber.subscribe("a", two.append, wait=0)
    server.script = [unsubscribe_one, unsubscribe_two]
    assert subscriber.listen() == 0
    assert (one, two) == ([], ["only two"])
    assert server.asked[-1] == ("unsubscribe", "a")


def test_who_takes_over_gets_what_comes_from_then_on_also_when_the_others_leave(subscriber, server):
    early, late = [], []

    def take_over():
        subscriber.take_over("a", late.append)
        return message(b"a", b"second")

    def leave():
        subscriber.unsubscribe("a", early.append)
        return message(b"a", b"third")

    subscriber.subscribe("a", early.append, wait=0)
    server.script = [lambda: message(b"a", b"first"), take_over, leave, END]
    subscriber.listen()
    assert (early, late) == (["first"], ["second", "third"])
    assert server.asked == [("subscribe", "a")]
    subscriber.unsubscribe("a", late.append)
    assert subscriber._turn() is None


def test_where_nobody_listens_there_is_nothing_to_take_over(subscriber):
    assert not subscriber.take_over("a", print)
    assert subscriber._turn() is None


def test_after_ten_silent_seconds_the_server_is_asked_and_after_twenty_given_up(
    subscriber, server, state, manual_clock
):
    subscriber.subscribe("a", print, wait=0)

    def silence():
        manual_clock.advance(5)

    server.script = [silence] * 10
    assert subscriber.listen() > 0
    assert len(server.script) == 10 + 1 - 5  # the confirmation that nobody read, and the rest of the silence
    assert server.pings == 1 + 1  # before listening, and once in between
    assert not state.is_up


def test_failures_are_followed_by_growing_pauses_until_a_subscription_is_confirmed(subscriber, server, state, caplog):
    subscriber.subscribe("a", print, wait=0)
    pauses = []
    for _ in range(8):
        server.script = [redis.ResponseError("no permission to subscribe")]
        pauses.append(subscriber.listen())
    assert pauses[-1] > 4
    assert len(caplog.records) == 1
    server.script = [{"type": "subscribe", "pattern": None, "channel": b"a", "data": 1}, END]
    assert subscriber.listen() <= 0.5
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "The control link is down",
        "The control link is up again after 0 s; 0 events were dropped so far",
        "The control link is down",
    ]


def test_while_it_fails_nobody_waits_for_a_confirmation(subscriber, server):
    server.fails = redis.ConnectionError("away")
    subscriber.listen()
    assert subscriber.subscribe("a", print, wait=60) is False


def test_a_sink_that_raises_and_a_closed_file_do_not_end_it(subscriber, server):
    def broken(payload):
        raise RuntimeError(payload)

    subscriber.subscribe("a", broken, wait=0)
    server.script = [lambda: message(b"a", b"x")]
    assert subscriber.listen() > 0
    server.script = [ValueError("I/O operation on closed file")]
    assert subscriber.listen() > 0


def test_a_fork_nearby_ends_the_listening_and_not_the_connection(subscriber, server, monkeypatch):
    got = []
    near = iter([False, False, True])
    monkeypatch.setattr(Background, "should_return", property(lambda _: next(near, False)))
    subscriber.subscribe("a", got.append, wait=0)
    server.script = [lambda: message(b"a", b"before")]
    assert subscriber._turn() == 0
    assert (server.asked, server.closed) == ([("subscribe", "a")], 0)
    assert subscriber.subscribe("a", print, wait=0)  # it is still confirmed
    server.script = [lambda: message(b"a", b"after"), END]
    subscriber._turn()
    assert got == ["before", "after"]
    assert (server.asked, server.closed, server.pings) == ([("subscribe", "a")], 1, 1)


def test_who_unsubscribes_last_while_the_process_forks_ends_it_with_the_next_turn(subscriber, server, monkeypatch):
    assert subscriber._turn() is None
    near = iter([True])
    monkeypatch.setattr(Background, "should_return", property(lambda _: next(near, False)))
    subscriber.subscribe("a", print, wait=0)
    subscriber._turn()
    subscriber.unsubscribe("a", print)
    assert subscriber._turn() == 0
    assert server.closed == 1
    assert subscriber._turn() is None


def test_where_the_system_gives_no_thread_nobody_waits_for_a_confirmation(subscriber, state, monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Background, "tell", no_thread)
    assert subscriber.subscribe("a", print, wait=60) is False
    assert not state.is_up
