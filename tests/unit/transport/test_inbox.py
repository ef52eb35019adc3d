"""The inbox: what others put there runs once, in order, one at a time."""

from __future__ import annotations

from collections import deque

import pytest

from app.transport.inbox import Inbox


def test_items_run_one_at_a_time_in_the_order_put():
    """Between two of them Celery looks whether to stop."""
    inbox, ran = Inbox(), []
    for n in range(3):
        assert inbox.put(ran.append, n)
    assert inbox.run()
    assert ran == [0]
    assert inbox.run()
    assert inbox.run()
    assert ran == [0, 1, 2]
    assert not inbox.run()


def test_what_raises_takes_nothing_else_along():
    """A shutdown is an exception too."""
    inbox, ran = Inbox(), []

    def shutdown():
        raise SystemExit

    inbox.put(shutdown)
    inbox.put(ran.append, 1)
    with pytest.raises(SystemExit):
        inbox.run()
    inbox.run()
    assert ran == [1]


def test_closing_runs_what_is_there_and_takes_nothing_more():
    inbox, ran = Inbox(), []
    inbox.put(ran.append, 1)
    inbox.close()
    assert ran == [1]
    assert not inbox.put(ran.append, 2)
    assert len(inbox) == 0


class Loop:
    """An event loop that remembers what it watches."""

    def __init__(self):
        self.watched = {}

    def add_reader(self, reader, call):
        self.watched[reader] = call

    def remove(self, reader):
        del self.watched[reader]


def is_readable(reader):
    reader.setblocking(False)
    try:
        return bool(reader.recv(1, 2))  # MSG_PEEK
    except BlockingIOError:
        return False


@pytest.mark.parametrize("closes", ["before", "after"])
def test_what_is_put_while_it_closes_is_run_or_refused(closes):
    """By another thread, between its look and its put."""

    class Items(deque):
        def append(self, item):
            if closes == "before":
                inbox.close()
            super().append(item)
            if closes == "after":
                inbox.close()

    inbox, ran = Inbox(), []
    inbox._items = Items()
    assert inbox.put(ran.append, 1) is (closes == "after")
    assert ran == ([1] if closes == "after" else [])
    assert len(inbox) == 0


def test_an_event_loop_finds_it_readable_exactly_while_something_is_in_it():
    inbox, loop, ran = Inbox(), Loop(), []
    inbox.put(ran.append, 0)
    inbox.attach(loop)
    [reader] = loop.watched
    assert is_readable(reader)
    inbox.put(ran.append, 1)
    loop.watched[reader]()
    assert is_readable(reader)
    inbox.run()  # by somebody else
    assert not is_readable(reader)
    inbox.put(ran.append, 2)
    assert is_readable(reader)
    inbox.detach()
    assert loop.watched == {}
    inbox.run()
    assert ran == [0, 1, 2]
    inbox.close()


def test_a_byte_without_a_mark_is_read_too():
    """Two threads that put something at once can leave one; an event loop would come again and again because of it."""
    inbox = Inbox()
    reader = inbox._open()
    inbox._writer.send(b"\0")
    assert not inbox.run()
    with pytest.raises(BlockingIOError):
        reader.recv(1)
    inbox.close()


def test_a_connection_that_only_sends_opens_no_sockets():
    inbox = Inbox()
    inbox.close()
    assert inbox._reader is None
