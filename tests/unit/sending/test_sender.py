"""The sender, with a queue that lives in memory: which calls are made, what is recorded, and how it ends."""

from __future__ import annotations

import threading
import uuid

import pytest

from app.sending.answers import Answer, CallFailed, Fate
from app.sending.entries import Entry
from app.sending.sender import GaveUp, Sender
from app.testing.clock import ManualClock


def batches(count, size=10):
    return [
        [Entry(n, uuid.UUID(int=n), {"MessageBody": "x"}) for n in range(first, first + size)]
        for first in range(1, count * size + 1, size)
    ]


class Queue:
    """Takes all, unless told otherwise, one plan a call."""

    def __init__(self, *plans):
        self.plans = list(plans)
        self.calls = []
        self.arrived = []
        self.lock = threading.Lock()

    def __call__(self, batch):
        numbers = [entry.number for entry in batch]
        with self.lock:
            self.calls.append(numbers)
            plan = self.plans.pop(0) if self.plans else None
            if isinstance(plan, CallFailed):
                if plan.fate is Fate.UNCERTAIN:
                    self.arrived += numbers
                raise plan
            if plan is not None:
                return plan
            self.arrived += numbers
            return Answer(accepted=frozenset(numbers))


class Remembered(list):
    def add(self, entries):
        self.extend(entry.number for entry in entries)


def sender(queue, record, *, clock=None, told=None, **options):
    clock = clock or ManualClock()
    return Sender(
        send_batch=queue,
        record=record,
        report=lambda *what: told.append(what) if told is not None else None,
        clock=clock,
        sleep=clock.advance,
        **options,
    )


def test_all_batches_are_sent_and_recorded():
    queue, record = Queue(), Remembered()
    one = sender(queue, record)
    one.run(batches(20))
    assert sorted(record) == sorted(queue.arrived) == list(range(1, 201))
    assert (one.progress.sent, one.progress.unsent, one.progress.uncertain_calls) == (200, 0, 0)


def test_an_uncertain_call_is_repeated_and_counted():
    queue, record = Queue(CallFailed(Fate.UNCERTAIN, "ReadTimeoutError")), Remembered()
    one = sender(queue, record, concurrency=1)
    one.run(batches(1))
    assert queue.calls == [list(range(1, 11))] * 2
    assert queue.arrived == list(range(1, 11)) * 2
    assert list(record) == list(range(1, 11))
    assert (one.progress.sent, one.progress.uncertain_calls) == (10, 1)


def test_a_call_that_was_not_done_is_repeated_and_not_counted():
    queue = Queue(CallFailed(Fate.NOT_DONE, "ThrottlingException"), CallFailed(Fate.NOT_DONE, "ThrottlingException"))
    one = sender(queue, Remembered(), concurrency=1)
    one.run(batches(1))
    assert (len(queue.calls), one.progress.sent, one.progress.uncertain_calls) == (3, 10, 0)


def test_one_refused_line_is_told_and_does_not_hold_up_the_others():
    told, record = [], Remembered()
    plan = Answer(accepted=frozenset({1}), failed={2: "InternalError"}, refused={3: "InvalidMessageContents"})
    one = sender(Queue(plan), record, told=told)
    one.run(batches(1, size=3))
    assert sorted(record) == [1, 2]
    assert told == [(3, "SQS refuses it: InvalidMessageContents")]
    assert (one.progress.sent, one.progress.bad, one.progress.unsent) == (2, 1, 0)


def test_a_hopeless_call_ends_the_run_with_the_line_and_the_reason():
    queue = Queue(*[CallFailed(Fate.REFUSED, "AccessDenied")] * 3)
    one = sender(queue, Remembered(), concurrency=1)
    with pytest.raises(GaveUp, match="line 1: AccessDenied"):
        one.run(batches(1000))
    assert len(queue.calls) <= 2
    assert one.progress.sent == 0
    assert one.progress.unsent >= 10


def test_a_queue_that_stays_away_ends_the_run_at_the_deadline():
    queue = Queue(*[CallFailed(Fate.NOT_DONE, "EndpointConnectionError")] * 1000)
    clock = ManualClock()
    one = sender(queue, Remembered(), clock=clock, concurrency=1, retry_for=30.0)
    with pytest.raises(GaveUp, match="did not take it within 30 s"):
        one.run(batches(5))
    assert clock.monotonic() <= 30.0


def test_a_stop_begins_no_further_call():
    """Given a send that is told to stop during its third call, then that call is recorded and none follows."""
    record = Remembered()
    queue = Queue()

    def send(batch):
        if len(queue.calls) == 2:
            one.stop()
        return queue(batch)

    one = sender(send, record, concurrency=1)
    one.run(batches(10))
    assert queue.calls[-1] == list(range(21, 31))
    assert sorted(record) == queue.arrived == list(range(1, 31))
    assert one.progress.unsent == 10  # the one batch that had been read and not begun


def test_an_interrupt_while_reading_waits_for_the_calls_in_flight():
    """Given a call in flight, when reading is interrupted, then it ends, is recorded, and the interrupt goes on."""
    record, begun, interrupted = Remembered(), threading.Event(), threading.Event()

    def send(batch):
        begun.set()
        assert interrupted.wait(10)
        return Answer(accepted=frozenset(entry.number for entry in batch))

    def source():
        yield batches(1)[0]
        assert begun.wait(10)
        interrupted.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sender(send, record).run(source())
    assert sorted(record) == list(range(1, 11))


def test_what_cannot_be_recorded_ends_the_run():
    class Full:
        def add(self, entries):
            raise OSError("the disk is full")

    queue = Queue()
    one = sender(queue, Full(), concurrency=1)
    with pytest.raises(OSError, match="the disk is full"):
        one.run(batches(1000))
    assert len(queue.calls) <= 2
    assert one.progress.sent == 0


def test_no_more_calls_at_a_time_than_told_and_no_more_read_than_that():
    most, now, lock = [0], [0], threading.Lock()
    taken, answered = [0], [0]

    def send(batch):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        with lock:
            now[0] -= 1
            answered[0] += 1
        return Answer(accepted=frozenset(entry.number for entry in batch))

    def source():
        for batch in batches(200):
            taken[0] += 1
            assert taken[0] - answered[0] <= 4
            yield batch

    sender(send, Remembered(), concurrency=3).run(source())
    assert 1 <= most[0] <= 3


def test_the_rate_is_kept():
    """Given 50 a second, then 200 messages take what is left of 4 s after the first ten."""
    clock = ManualClock()
    sender(Queue(), Remembered(), clock=clock, rate=50.0).run(batches(20))
    assert clock.monotonic() == pytest.approx(190 / 50)


def test_a_low_rate_makes_small_batches_instead_of_bursts():
    assert sender(Queue(), Remembered(), rate=3.5).max_entries == 3
    assert sender(Queue(), Remembered(), rate=0.1).max_entries == 1
    assert sender(Queue(), Remembered(), rate=1000.0).max_entries == 10
    assert sender(Queue(), Remembered()).max_entries == 10


def test_an_empty_batch_is_no_call_and_takes_nothing_from_the_rate():
    clock, queue = ManualClock(), Queue()
    sender(queue, Remembered(), clock=clock, rate=1.0).run([[], batches(1, size=1)[0], []])
    assert queue.calls == [[1]]
    assert clock.monotonic() == 0.0


def test_progress_is_shown_after_each_call_as_a_line():
    shown = []
    one = sender(Queue(), Remembered(), concurrency=1, shown=lambda progress: shown.append(progress.line(seconds=2.0)))
    one.bad(7, "no JSON")
    one.run(batches(2))
    assert shown == ["10 sent, 5 a second, 1 bad", "20 sent, 10 a second, 1 bad"]
    one.progress.sent_before, one.progress.uncertain_calls, one.progress.unsent = 1500, 1, 3
    assert one.progress.line(seconds=0.0) == "20 sent, 0 a second, 1,500 before, 1 bad, 3 not sent, 1 uncertain call"
