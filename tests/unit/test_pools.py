"""What is known of Celery's pools."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import threading
from types import SimpleNamespace

import pytest

from app import outcome, pools
from app.pools import prefork, threads
from app.pools.contained import contained
from app.pools.prefork import AsynPool, ResultHandler, TaskPool


def test_a_prefork_pool_that_has_ended_has_no_places():
    """It is asked for as long as the worker's last receives go on."""
    pool = TaskPool(4)
    assert pools.has_ended(pool)
    assert pools.places(pool) == 0


def test_what_goes_wrong_around_a_task_is_reported_as_a_failure_of_it():
    def run():
        raise OSError("the result cannot be stored")

    failed, info, runtime = contained(run)()
    assert (failed, repr(outcome.exception_in(info)), runtime) == (True, "OSError('the result cannot be stored')", None)


class Child:
    """One end of a pipe as a child process has it, and the parent's reader of it."""

    def __init__(self):
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.is_alive = True
        self.heard, self._readers = [], {}
        self.handler = ResultHandler(*[None] * 9, fileno_to_outq={self.reader: self}, on_process_alive=None)
        self.handler.on_state_change = self.heard.append

    def _is_alive(self):
        return self.is_alive

    def write(self, data):
        os.write(self._writer, data)

    def loop_begins(self):
        """An event loop, which knows nothing of an earlier one."""
        hub = SimpleNamespace(add_reader=self._add, remove_reader=self._readers.pop)
        self.handler.register_with_event_loop(hub)
        self._readers = {self.reader: lambda: self.handler.handle_event(self.reader)}

    def _add(self, descriptor, call, *arguments):
        self._readers[descriptor] = call.__next__ if hasattr(call, "__next__") else lambda: call(*arguments)

    def loop_reads(self):
        with contextlib.suppress(StopIteration):
            self._readers[self.reader]()

    def flush(self):
        """At the end; whether it is to be heard further."""
        removed = []
        self.handler._flush_outqueue(self.reader, removed.append, {self.reader: self}, self.heard.append)
        return not removed


@pytest.fixture
def child(monkeypatch):
    monkeypatch.setattr(prefork, "_LISTEN", 0.0)
    child = Child()
    yield child
    os.close(child.reader)
    os.close(child._writer)


def written(message):
    data = pickle.dumps(message)
    return struct.pack("!i", len(data)) + data


@pytest.mark.parametrize("cut", [1, 4, 5, -1])
@pytest.mark.parametrize("who_reads_on", ["drain", "loop"])
def test_what_the_event_loop_has_half_read_of_a_child_is_read_on(child, who_reads_on, cut):
    first, second = written(["first"]), written(["second"])
    child.loop_begins()
    child.write(first[:cut])
    child.loop_reads()
    assert child.heard == []
    if who_reads_on == "loop":
        child.loop_begins()
    read = child.loop_reads if who_reads_on == "loop" else child.flush
    child.write(first[cut:] + second)
    read()
    read()
    assert child.heard == [["first"], ["second"]]


def test_a_child_that_died_as_it_wrote_is_not_heard_further(child):
    """Others may hold its pipe open: its end does not come."""
    child.write(written(["whole"]) + written(["half"])[:-1])
    child.is_alive = False
    assert child.flush()
    assert not child.flush()
    assert child.heard == [["whole"]]


def test_what_cannot_be_read_keeps_nothing_else_from_being_heard(child, caplog):
    child.write(struct.pack("!i", 3) + b"odd" + written(["after"]))
    assert child.flush()
    assert child.flush()
    assert child.heard == [["after"]]
    assert "could not be taken in" in caplog.text


def test_a_child_that_cannot_be_waited_for_yet_is_looked_after_until_it_can_be():
    """Its end of the pipe is closed a moment before the system says that it is dead."""
    pool, child, timers, looks = AsynPool.__new__(AsynPool), SimpleNamespace(), [], []
    pool._pool = [child]
    pool.maintain_pool = lambda: looks.append(len(looks)) or (len(looks) == 3 and pool._pool.remove(child))
    hub = SimpleNamespace(call_later=lambda *call: timers.append(call))
    pool._event_process_exit(hub, child)
    while timers:
        _, call, *arguments = timers.pop()
        call(*arguments)
    assert len(looks) == 3


def test_one_that_lives_on_without_it_is_not_looked_after_for_ever():
    pool, child, timers, delays = AsynPool.__new__(AsynPool), SimpleNamespace(), [], []
    pool._pool, pool.maintain_pool = [child], lambda: None
    pool._event_process_exit(SimpleNamespace(call_later=lambda *call: timers.append(call)), child)
    while timers:
        delay, call, *arguments = timers.pop()
        delays.append(delay)
        call(*arguments)
    assert sum(delays) < 10


def test_what_a_dead_child_has_half_written_is_nothing_and_the_rest_is_taken_in(child):
    child.outq = SimpleNamespace(_reader=SimpleNamespace(closed=False, fileno=lambda: child.reader))
    child.loop_begins()
    child.write(written(["first"])[:5])
    child.loop_reads()
    child.write(written(["first"])[5:] + written(["second"]) + written(["third"])[:-1])
    child.handler.hear_out(child)
    child.handler.hear_out(child)
    assert child.heard == [["first"], ["second"]]


def test_a_threads_pool_that_has_started_needs_no_further_thread(monkeypatch):
    pool, given = threads.TaskPool(4), []
    pool.start()

    def give_none(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", give_none)
    together = threading.Barrier(4)
    for number in range(8):
        pool.apply_async(lambda: together.wait(10), callback=given.append, accept_callback=lambda *_: None)
        assert len(pool.executor._threads) == 4, number
    pool.stop()
    assert sorted(given) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_threads_pool_that_gets_too_few_threads_says_so_and_leaves_none(monkeypatch, caplog):
    pool, start = threads.TaskPool(4), threading.Thread.start
    started = []

    def give_two(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", give_two)
    with pytest.raises(SystemExit) as ended:
        pool.start()
    assert ended.value.code == 1
    assert "gives 2 of 4 threads of --concurrency" in caplog.text
    assert not any(thread.is_alive() for thread in started)
