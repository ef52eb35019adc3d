"""Every message that is received and not settled is renewed in time, and not for longer than it may be."""

from __future__ import annotations

import gc
from types import FrameType

import pytest
from fake_engine import PASSING, PERMANENT, RECEIPT, FakeEngine, FakeIntake, delivery, well
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.outcome import DONE, RETURNED, retry
from app.transport.custody import Custody
from app.transport.options import Options

CHANGE = "ChangeMessageVisibilityBatch"
HALF_DAY = 43_200

#: In leases, as all times of the property.
limits = st.sampled_from([None, 0.3, 0.8, 0.95, 1.5, 4.2])


class Queue:
    """Until when SQS hides each message, as it knows best."""

    def __init__(self, engine):
        self.engine = engine
        self.hidden_until, self.received_at, self.receipts = {}, {}, {}
        self.is_down = False
        engine.calls.reply = self.reply

    def give(self, custody, **options):
        mine = delivery(custody, FakeIntake(), **options)
        now = self.engine.clock.monotonic()
        self.hidden_until[mine.message_id] = now + mine.visibility
        self.received_at[mine.message_id] = now
        self.receipts[mine.receipt] = mine.message_id
        return mine

    def reply(self, call):
        if self.is_down:
            return 0.5, PASSING
        if call.action == CHANGE:
            now = self.engine.clock.monotonic()
            for entry in call.entries:
                message_id = self.receipts[entry["ReceiptHandle"]]
                assert now + entry["VisibilityTimeout"] <= self.received_at[message_id] + HALF_DAY
                self.hidden_until[message_id] = now + entry["VisibilityTimeout"]
        return 0.01, well(call)


@pytest.fixture
def custody(engine):
    return Custody(engine, Options())


@pytest.fixture
def leases(custody):
    return custody.leases


@pytest.fixture
def queue(engine):
    return Queue(engine)


def take(queue, custody, **options):
    mine = queue.give(custody, **options)
    assert custody.take(mine)
    return mine


def running(queue, custody, *, limit=None, **options):
    mine = take(queue, custody, **options)
    assert mine.enter_pool(limit=limit)
    mine.started(limit=limit)
    return mine


def test_what_runs_is_hidden_all_the_time(engine, queue, custody):
    mine = running(queue, custody)
    for _ in range(1000):
        engine.advance(1)
        assert queue.hidden_until[mine.message_id] > engine.clock.monotonic() + 20
        assert mine.leased_until <= queue.hidden_until[mine.message_id] + 1e-6
    assert len(engine.calls.made) <= 1000 / 33 + 1
    assert custody.leases.lost == 0


def test_what_was_received_at_about_the_same_time_is_renewed_by_ten(engine, queue, custody):
    for _ in range(100):
        running(queue, custody)
        engine.advance(0.01)
    engine.advance(40)
    assert sum(len(call.entries) for call in engine.calls.made) == 100
    assert len(engine.calls.made) <= 11


def test_what_has_not_begun_after_one_visibility_timeout_is_handed_back(engine, queue, custody):
    mine = take(queue, custody)
    engine.advance(59.9)
    assert not mine.is_settled
    engine.advance(3.2)
    assert mine.is_settled
    assert queue.hidden_until[mine.message_id] <= engine.clock.monotonic()
    assert not mine.enter_pool(limit=None)
    assert mine.intake.slots_freed == mine.intake.gone == [mine]


def test_what_is_settled_leaves_nothing_behind(engine, queue, custody):
    """At thousands a second and leases of hours, their bodies would fill the memory."""
    mine = running(queue, custody, visibility=HALF_DAY)
    intake, mine.intake = mine.intake, FakeIntake()
    mine.settle(DONE)
    engine.advance(0.1)
    engine.calls.take()
    intake.in_pool.clear()
    mine.intake.slots_freed.clear()
    mine.intake.gone.clear()
    gc.collect()
    assert [each for each in gc.get_referrers(mine) if not isinstance(each, FrameType)] == []


def test_no_timer_is_left_one_lease_after_all_is_settled(engine, queue, custody):
    for outcome in (DONE, RETURNED, retry(5)):
        running(queue, custody, limit=30).settle(outcome)
    engine.advance(64)
    assert engine.timers == []


def test_a_renewal_that_fails_is_tried_again_while_the_lease_lasts(engine, queue, custody):
    mine = running(queue, custody)
    queue.is_down = True
    engine.advance(55)
    queue.is_down = False
    engine.advance(60)
    assert custody.leases.lost == 0
    assert queue.hidden_until[mine.message_id] > engine.clock.monotonic()


def test_a_lease_that_cannot_be_renewed_is_lost_once_and_told_once(engine, queue, custody, caplog):
    mine = running(queue, custody)
    queue.is_down = True
    engine.advance(300)
    assert custody.leases.lost == 1
    assert mine.is_lost
    assert not mine.is_settled
    [told] = [each for each in caplog.messages if "is lost" in each]
    assert "Queue orders: the lease of message " + mine.message_id in told
    assert "InternalError" in told
    assert len(custody.leases) == 1  # it runs, and if it comes again it is not to run beside itself


@pytest.mark.parametrize("failure", [RECEIPT, PERMANENT])
def test_a_lease_that_sqs_says_is_over_is_lost_at_once(engine, queue, custody, failure):
    mine = running(queue, custody)
    engine.calls.reply = lambda _: (0.01, failure)
    engine.advance(40)
    assert custody.leases.lost == 1
    assert mine.is_lost
    mine.settle(retry())
    engine.calls.take()
    engine.advance(10)
    assert engine.calls.made == []  # whoever has it now keeps it
    assert len(custody.leases) == 0


def test_what_has_not_begun_is_dropped_with_its_lease_and_never_begins(engine, queue, custody):
    mine = take(queue, custody)
    engine.calls.reply = lambda _: (0.01, RECEIPT)
    engine.advance(40)
    assert mine.is_settled
    assert not mine.enter_pool(limit=None)
    assert mine.intake.slots_freed == mine.intake.gone == [mine]
    assert len(custody.leases) == 0


def test_after_a_stop_that_outlasts_the_lease_nothing_that_waits_is_begun(engine, queue, custody, caplog):
    waiting, works = take(queue, custody), running(queue, custody)
    engine.clock.advance(100)
    assert not waiting.enter_pool(limit=None)  # before the engine has looked
    engine.turn()
    assert not waiting.enter_pool(limit=None)
    assert waiting.is_settled
    assert works.is_lost
    assert custody.leases.lost == 2
    assert sum("this process stood still" in each for each in caplog.messages) == 2
    engine.advance(200)
    assert custody.leases.lost == 2


def test_nor_when_a_renewal_was_on_its_way(engine, queue, custody):
    waiting = take(queue, custody)
    queue.is_down = True
    engine.advance(36.1)
    assert engine.calls.made
    engine.jump(100)
    assert not waiting.enter_pool(limit=None)
    engine.advance(10)
    assert not waiting.enter_pool(limit=None)
    assert waiting.is_settled


@pytest.mark.parametrize("limit", [97.77, 100, 100.3])
def test_renewal_ends_with_the_time_limit(engine, queue, custody, caplog, limit):
    mine = running(queue, custody, limit=limit)
    engine.advance(97)
    assert limit <= queue.hidden_until[mine.message_id] <= limit + 1.1
    calls = len(engine.calls.made)
    engine.advance(100)
    assert len(engine.calls.made) == calls <= 3
    assert custody.leases.lost == 1
    assert sum("its time limit is over and it still runs" in each for each in caplog.messages) == 1


def test_a_renewal_that_is_tried_again_after_the_start_reaches_no_further_than_the_new_limit(engine, queue, custody):
    mine = queue.give(custody)
    custody.take(mine)
    engine.advance(30)
    queue.is_down = True
    engine.advance(10)
    mine.enter_pool(limit=None)
    mine.started(limit=5.0)
    queue.is_down = False
    engine.advance(15)
    assert queue.hidden_until[mine.message_id] <= mine.received_at + 60
    assert mine.leased_until <= mine.received_at + 60


def test_a_time_limit_that_ends_within_the_lease_costs_no_renewal(engine, queue, custody):
    running(queue, custody, limit=50)
    engine.advance(59)
    assert engine.calls.made == []
    assert custody.leases.lost == 0


@pytest.mark.parametrize("begins_after", [0, 10, 40, 55, 59])
def test_the_time_in_the_pool_before_it_begins_is_not_part_of_the_limit(engine, queue, custody, begins_after):
    """What it was given to had no place for it: its limit is counted anew when it begins, and so is its lease."""
    mine = take(queue, custody)
    assert mine.enter_pool(limit=50)
    engine.advance(begins_after)
    mine.started(limit=50)
    engine.advance(49)
    assert queue.hidden_until[mine.message_id] > engine.clock.monotonic()
    assert custody.leases.lost == 0
    mine.settle(DONE)


def test_nothing_is_renewed_beyond_twelve_hours(engine, queue, custody, caplog):
    mine = running(queue, custody, visibility=3600)
    engine.advance(HALF_DAY - 10)
    assert queue.hidden_until[mine.message_id] > HALF_DAY - 6
    assert custody.leases.lost == 0
    engine.advance(3600)
    assert custody.leases.lost == 1
    assert sum("12 hours" in each for each in caplog.messages) == 1


def test_a_message_that_comes_again_while_it_is_in_work_runs_once_with_the_newer_receipt(engine, queue, custody):
    mine = running(queue, custody)
    engine.advance(30)
    again = queue.give(custody, message_id=mine.message_id, receipt="newer")
    assert not custody.take(again)
    assert mine.receipt == "newer"
    assert mine.leased_until == 90
    mine.settle(DONE)
    engine.advance(1)
    assert engine.calls.made[-1].receipts == ["newer"]
    assert mine.intake.slots_freed == [mine]


def test_the_failure_of_the_old_receipt_says_nothing_of_the_newer_one(engine, queue, custody):
    mine = running(queue, custody)
    engine.calls.reply = None
    engine.advance(37)
    [renewal] = engine.calls.take()
    assert not custody.take(queue.give(custody, message_id=mine.message_id))
    renewal.answer(RECEIPT)
    assert custody.leases.lost == 0
    queue.engine.calls.reply = queue.reply
    engine.advance(100)
    assert queue.hidden_until[mine.message_id] > engine.clock.monotonic()


def test_a_lost_one_that_comes_again_to_us_is_ours_again(engine, queue, custody):
    mine = running(queue, custody)
    engine.jump(100)
    assert mine.is_lost
    assert not custody.take(queue.give(custody, message_id=mine.message_id))
    assert not mine.is_lost
    engine.advance(300)
    assert queue.hidden_until[mine.message_id] > engine.clock.monotonic()
    assert custody.leases.lost == 1


def test_an_error_with_one_is_none_with_the_others(engine, queue, custody):
    """One that cannot be handed back must not keep the rest."""
    broken, others = take(queue, custody), [take(queue, custody) for _ in range(3)]
    errors = []
    call_soon = engine.call_soon

    def guarded(call, *arguments):  # as the engine does it
        def run():
            try:
                call(*arguments)
            except ZeroDivisionError as error:
                errors.append(error)

        call_soon(run)

    engine.call_soon = guarded
    broken.intake.left = lambda _: 1 / 0
    engine.advance(64)
    assert errors
    assert all(each.is_settled for each in others)


class Life(RuleBasedStateMachine):
    """A worker's messages in any order of events; with a network and a process that fail, or without."""

    @initialize(is_calm=st.booleans(), visibility=st.sampled_from([2, 20, 60]))
    def begin(self, is_calm, visibility):
        self.is_calm, self.visibility = is_calm, visibility
        self.engine = FakeEngine()
        self.queue = Queue(self.engine)
        self.custody = Custody(self.engine, Options(retry_first=0, retry_most=0))
        self.known, self.received_again = [], 0

    @property
    def now(self):
        return self.engine.clock.monotonic()

    def seconds(self, leases):
        return None if leases is None else leases * self.visibility

    def draw(self, data, where):
        """One of the messages of which that is true; None: there is none."""
        choice = [mine for mine in self.known if not mine.is_settled and where(mine)]
        return data.draw(st.sampled_from(choice)) if choice else None

    @rule()
    def take(self):
        self.known.append(take(self.queue, self.custody, visibility=self.visibility))

    @rule(data=st.data(), limit=limits)
    def enter_pool(self, data, limit):
        if mine := self.draw(data, lambda mine: not mine.is_claimed):
            entered = mine.enter_pool(limit=self.seconds(limit))
            assert entered == (mine.leased_until > self.now)
            assert not entered or self.queue.hidden_until[mine.message_id] > self.now

    @rule(data=st.data(), limit=limits)
    def start(self, data, limit):
        if mine := self.draw(data, lambda mine: mine.is_in_pool and mine.started_at is None and self.may_run(mine)):
            mine.started(limit=self.seconds(limit))

    @rule(data=st.data(), outcome=st.sampled_from([DONE, RETURNED, retry(), retry(1000)]))
    def settle(self, data, outcome):
        if mine := self.draw(data, lambda _: True):
            mine.settle(outcome)

    @rule(data=st.data())
    def receive_again(self, data):
        if mine := self.draw(data, lambda _: True):
            self.received_again += 1
            assert not self.custody.take(
                self.queue.give(self.custody, message_id=mine.message_id, visibility=self.visibility)
            )

    @rule(leases=st.sampled_from([0.01, 0.3, 0.5, 0.7, 1.3]) | st.floats(0, 1.5))
    def time_passes(self, leases):
        for _ in range(10):
            self.engine.advance(leases * self.visibility / 10)
            self.all_is_well()

    @precondition(lambda self: not self.is_calm)
    @rule(is_down=st.booleans())
    def network(self, is_down):
        self.queue.is_down = is_down

    @precondition(lambda self: not self.is_calm)
    @rule(leases=st.floats(0, 3))
    def stand_still(self, leases):
        self.engine.jump(leases * self.visibility)

    def may_run(self, mine):
        return mine.ends_at is None or mine.ends_at > self.now

    @invariant()
    def all_is_well(self):
        for mine in self.known:
            if mine.is_settled:
                continue
            hidden = self.queue.hidden_until[mine.message_id]
            if self.is_calm and self.may_run(mine):
                assert hidden > self.now, "not renewed in time"
                assert not mine.is_lost
            if mine.started_at is not None and mine.ends_at is not None:
                longest = max(mine.ends_at + 1.2, self.queue.received_at[mine.message_id] + self.visibility)
                longest = max(longest, self.hidden_before_start(mine), self.now + 0.001)  # till now is not hidden
                assert hidden <= longest, "renewed past its time limit"
            if self.is_calm and not mine.is_claimed:
                assert self.now - mine.received_at <= self.visibility * 1.1, "it waits too long"

    def hidden_before_start(self, mine):
        """A renewal from before the start, when the limit was another, may reach further."""
        return mine.started_at + self.visibility + 0.1

    def teardown(self):
        if not hasattr(self, "engine"):
            return
        self.queue.is_down = False
        for mine in self.known:
            mine.settle(DONE)
        self.engine.advance(130)
        assert [mine.intake.slots_freed for mine in self.known] == [[mine] for mine in self.known]
        assert [mine.intake.gone for mine in self.known] == [[mine] for mine in self.known]
        assert len(self.custody.leases) == len(self.custody.outbox) == 0
        assert self.custody.leases.lost <= len(self.known) + self.received_again
        assert self.engine.timers == []


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
