"""A process's messages: what is done is deleted and never runs again, what is not comes back."""

from __future__ import annotations

import pytest
from fake_engine import PASSING, PERMANENT, RECEIPT, FakeIntake, badly, delivery, well

from app.outcome import DONE, LOST, RETURNED, retry
from app.transport.custody import Custody
from app.transport.custody import custody as module
from app.transport.options import Options

DELETE, CHANGE = "DeleteMessageBatch", "ChangeMessageVisibilityBatch"


@pytest.fixture
def custody(engine):
    engine.calls.reply = lambda call: (0.01, well(call))
    return Custody(engine, Options(retry_first=4.0, retry_most=100.0))


def received(custody, **options):
    mine = delivery(custody, FakeIntake(), **options)
    assert custody.take(mine)
    return mine


def told(engine):
    """What SQS was told since the last time: action, receipt, seconds until it is visible."""
    return [
        (call.action, entry["ReceiptHandle"], entry.get("VisibilityTimeout"))
        for call in engine.calls.take()
        for entry in call.entries
    ]


def test_what_is_done_is_deleted_and_its_slot_free_at_once(engine, custody):
    mine = received(custody, receipt="mine")
    mine.settle(DONE)
    engine.turn()
    assert mine.intake.slots_freed == [mine]
    assert len(custody.leases) == 0
    engine.advance(0.1)
    assert told(engine) == [(DELETE, "mine", None)]


@pytest.mark.parametrize(
    ("outcome", "least", "most"),
    [
        (RETURNED, 0, 0),
        (retry(30), 30, 30),
        (retry(0), 0, 0),
        (retry(-1), 0, 0),
        (retry(1_000_000), 43_198, 43_200),
        (retry(), 2, 4),
        (LOST, 2, 4),
    ],
)
def test_what_is_not_done_comes_back(engine, custody, outcome, least, most):
    mine = received(custody, receipt="mine")
    engine.advance(1)
    mine.settle(outcome)
    engine.advance(0.1)
    [(action, receipt, seconds)] = told(engine)
    assert (action, receipt) == (CHANGE, "mine")
    assert least <= seconds <= most


def test_it_comes_back_later_each_time(engine, custody):
    mine = received(custody)
    mine.attributes["ApproximateReceiveCount"] = "4"
    mine.settle(retry())
    engine.advance(0.1)
    [(_, _, seconds)] = told(engine)
    assert 16 <= seconds <= 32


def test_of_a_message_whose_lease_is_over_nothing_is_told_but_that_it_is_done(engine, custody):
    """Somebody else may have it, and would lose it."""
    lost, done = received(custody), received(custody, receipt="done")
    for each in (lost, done):
        assert each.enter_pool(limit=None)
    engine.clock.advance(100)
    lost.settle(retry())
    done.settle(DONE)
    engine.advance(1)
    assert told(engine) == [(DELETE, "done", None)]
    assert lost.intake.slots_freed == [lost]


def test_a_message_that_is_done_does_not_run_again_and_is_deleted_again(engine, custody):
    received(custody, message_id="m").settle(DONE)
    engine.advance(0.1)
    told(engine)
    again = delivery(custody, message_id="m", receipt="again")
    assert not custody.take(again)
    assert again.is_settled
    engine.advance(0.1)
    assert told(engine) == [(DELETE, "again", None)]
    assert len(custody.leases) == 0


def test_neither_while_its_delete_waits(engine, custody):
    received(custody, message_id="m", receipt="first").settle(DONE)
    engine.turn()
    assert not custody.take(delivery(custody, message_id="m", receipt="again"))
    engine.advance(0.1)
    assert told(engine) == [(DELETE, "first", None), (DELETE, "again", None)]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(DONE, (DELETE, "again", None)), (RETURNED, (CHANGE, "again", 0)), (retry(9), (CHANGE, "again", 9))],
)
def test_neither_between_its_end_and_the_engine_hearing_of_it(engine, custody, outcome, expected):
    """The worker's thread has settled it, the engine's does not know yet: the newer receipt is for that outcome."""
    mine = received(custody, message_id="m", receipt="first")
    mine.settle(outcome)
    assert not custody.take(delivery(custody, message_id="m", receipt="again"))
    engine.advance(0.1)
    assert told(engine) == [expected]
    assert mine.intake.slots_freed == [mine]
    engine.advance(200)
    assert (engine.timers, told(engine), len(custody.leases)) == ([], [], 0)


@pytest.mark.parametrize("failure", [PASSING, RECEIPT, PERMANENT])
def test_what_could_not_be_deleted_is_told_with_its_id_and_deleted_when_it_comes_back(engine, custody, caplog, failure):
    engine.calls.reply = lambda _: (0.01, failure)
    received(custody, message_id="the-message").settle(DONE)
    engine.advance(80)
    [told_of_it] = [each for each in caplog.messages if "could not be deleted" in each]
    assert "Queue orders: message the-message is done but could not be deleted" in told_of_it
    assert failure.code in told_of_it
    for _ in range(20_000):  # however much is done meanwhile
        custody._done.deleted("another")
    told(engine)
    engine.calls.reply = lambda call: (0.01, well(call))
    assert not custody.take(delivery(custody, message_id="the-message", receipt="again"))
    engine.advance(1)
    assert told(engine) == [(DELETE, "again", None)]


def test_a_delete_is_tried_for_a_while_even_when_the_lease_is_nearly_over(engine, custody):
    mine = received(custody, visibility=2)
    assert mine.enter_pool(limit=None)
    engine.clock.advance(1.9)
    engine.calls.reply = lambda call: (0.01, badly(call))
    mine.settle(DONE)
    engine.advance(8)
    told(engine)
    engine.calls.reply = lambda call: (0.01, well(call))
    engine.advance(4)
    assert len(told(engine)) == 1
    assert len(custody.outbox) == 0


def test_that_the_older_receipt_failed_is_not_told_when_the_newer_one_has_deleted_it(engine, custody, caplog):
    engine.calls.reply = None
    received(custody, message_id="m", receipt="older").settle(DONE)
    engine.advance(0.1)
    [first] = engine.calls.take()
    custody.take(delivery(custody, message_id="m", receipt="newer"))
    engine.advance(0.1)
    [second] = engine.calls.take()
    second.answer(well(second))
    first.answer(RECEIPT)
    assert caplog.messages == []


def test_what_hangs_here_beyond_its_time_limit_is_left_to_others_and_deleted_by_the_newest_receipt(
    engine, custody, caplog
):
    hanging = received(custody, message_id="m", receipt="first")
    hanging.enter_pool(limit=5)
    hanging.started(limit=5)
    engine.advance(100)
    assert hanging.is_lost
    for count, most in ((2, 8), (3, 16)):
        engine.calls.take()
        again = delivery(custody, message_id="m", receipt=f"receipt-{count}")
        again.attributes["ApproximateReceiveCount"] = str(count)
        assert not custody.take(again)
        engine.advance(100)
        [(action, receipt, seconds)] = told(engine)
        assert (action, receipt) == (CHANGE, f"receipt-{count}")
        assert most / 2 <= seconds <= most
        assert hanging.is_lost
    assert "message m came again while its task, whose time limit is over, still runs here: it goes back" in caplog.text
    hanging.settle(DONE)
    engine.advance(0.1)
    assert told(engine) == [(DELETE, "receipt-3", None)]


def test_what_cannot_be_delayed_keeps_its_lease_and_is_told(engine, custody, caplog):
    engine.calls.reply = lambda _: (0.01, PERMANENT)
    received(custody, message_id="the-message").settle(retry(5))
    engine.advance(1)
    assert "message the-message keeps its visibility timeout" in caplog.text


class Lock:
    """A lock that is waited for by letting the engine's time pass."""

    def __init__(self, engine):
        self.engine, self.is_locked = engine, False

    def acquire(self, _=True, timeout=0.0):
        for _ in range(int(timeout / 0.005) + 1):
            if not self.is_locked:
                break
            self.engine.turn()
            if self.is_locked:
                self.engine.advance(0.005)
        was_free, self.is_locked = not self.is_locked, True
        return was_free

    def release(self):
        self.is_locked = False


@pytest.fixture
def lock(engine, monkeypatch):
    monkeypatch.setattr(module, "allocate_lock", lambda: Lock(engine))


def test_closing_hands_back_what_has_not_begun_and_tells_it(engine, custody, lock, caplog):
    """Said in the same moment, before the engine has had a turn."""
    waiting, runs = received(custody, receipt="waiting"), received(custody, message_id="runs")
    runs.enter_pool(limit=None)
    custody.close(polls=0.0, flush=5.0)
    assert told(engine) == [(CHANGE, "waiting", 0)]
    assert waiting.is_settled
    assert engine.is_stopped
    assert len(custody.outbox) == 0
    assert "runs" in caplog.text


def test_a_flush_says_whether_all_was_told_and_looks_no_more_when_nobody_waits(engine, custody, lock):
    engine.calls.reply = None
    received(custody).settle(DONE)
    assert not custody.flush(1.0)
    assert engine.clock.monotonic() < 1.1
    engine.advance(0.1)
    [call] = engine.calls.take()
    call.answer(well(call))
    engine.advance(64)
    assert engine.timers == []
    assert custody.flush(1.0)


def test_a_flush_costs_one_call_for_ten(engine, custody, lock):
    for _ in range(20):
        received(custody).settle(DONE)
    assert custody.flush(1.0)
    assert [len(call.entries) for call in engine.calls.take()] == [10, 10]
