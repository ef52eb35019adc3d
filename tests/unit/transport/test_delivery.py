"""One receipt of a message: started or handed back once, settled once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_engine import FakeEngine, FakeIntake, delivery
from hypothesis import given
from hypothesis import strategies as st

from app.lease import leases
from app.outcome import DONE, RETURNED, retry


class Custody:
    """Remembers what it is told."""

    def __init__(self, engine):
        self.engine = engine
        self.started, self.settled = [], []
        self.leases = SimpleNamespace(started=self.started.append)

    def settle(self, delivery, outcome):
        self.settled.append(outcome)


@pytest.fixture
def custody(engine):
    return Custody(engine)


@pytest.fixture
def mine(custody):
    return delivery(custody, FakeIntake())


def test_it_is_claimed_once_and_closed_once(mine):
    assert [mine.claim(), mine.claim()] == [True, False]
    assert [mine.close(), mine.close()] == [True, False]
    assert mine.is_claimed
    assert mine.is_settled


def test_only_the_first_outcome_counts(mine, custody):
    mine.settle(DONE)
    mine.settle(retry())
    assert custody.settled == [DONE]
    assert mine.intake.gone == [mine]


def test_what_is_settled_is_never_started(mine):
    mine.settle(RETURNED)
    assert not mine.enter_pool(limit=None)
    assert mine.intake.in_pool == []


def test_what_was_handed_back_does_not_enter_the_pool(mine):
    assert mine.claim()
    assert not mine.enter_pool(limit=None)


def test_it_enters_the_pool_while_its_lease_lasts(mine, engine):
    engine.clock.advance(59.9)
    assert mine.enter_pool(limit=100)
    assert mine.is_in_pool
    assert mine.intake.in_pool == [mine]
    assert mine.ends_at == engine.clock.monotonic() + 100
    assert mine.started_at is None


def test_it_does_not_enter_the_pool_when_its_lease_is_over(mine, engine):
    """This process stood still: somebody else may have it."""
    engine.clock.advance(60)
    assert not mine.enter_pool(limit=None)
    assert not mine.is_claimed


def test_its_time_limit_counts_from_the_start(mine, engine, custody):
    mine.enter_pool(limit=100)
    engine.clock.advance(30)
    mine.started(limit=100)
    assert (mine.started_at, mine.ends_at) == (30, 130)
    assert custody.started == [mine]
    mine.started(limit=None)
    assert mine.ends_at is None


def test_its_size_is_in_bytes(custody):
    assert delivery(custody, body="abc").size == 3
    assert delivery(custody, body="äöü").size == 6
    assert delivery(custody, body="\ud800").size == 3


@pytest.mark.parametrize(
    ("attributes", "count", "sent_at"),
    [
        ({"ApproximateReceiveCount": "3", "SentTimestamp": "1700000000500"}, 3, 1_700_000_000.5),
        ({}, 1, float("inf")),
        (None, 1, float("inf")),
        ({"ApproximateReceiveCount": "many", "SentTimestamp": None}, 1, float("inf")),
        ({"ApproximateReceiveCount": float("inf"), "SentTimestamp": float("nan")}, 1, float("inf")),
    ],
)
def test_what_sqs_says_of_it_may_be_missing(custody, attributes, count, sent_at):
    mine = delivery(custody)
    mine.attributes = attributes or {}
    assert (mine.receive_count, mine.sent_at) == (count, sent_at)


def test_a_newer_receipt_brings_a_newer_lease(mine, custody, engine):
    engine.clock.advance(70)
    mine.is_lost = True
    newer = delivery(custody, message_id=mine.message_id, receipt="newer", visibility=30)
    mine.receive_again(newer)
    assert (mine.receipt, mine.leased_until, mine.visibility, mine.is_lost) == ("newer", 100, 30, False)


steps = st.lists(st.sampled_from(["claim", "enter", "settle", "drop", "time"]), max_size=12)


@given(steps)
def test_whatever_is_tried_in_whatever_order_it_is_started_and_settled_at_most_once(course):
    custody = Custody(FakeEngine())
    mine, claimed, closed = delivery(custody), 0, 0
    for step in course:
        was_settled = mine.is_settled
        if step == "claim":
            claimed += mine.claim()
        elif step == "enter":
            entered = mine.enter_pool(limit=10)
            claimed += entered
            assert not (entered and was_settled)
        elif step == "settle":
            mine.settle(DONE)
        elif step == "drop":
            if mine.claim():
                claimed += 1
                closed += mine.close()
        else:
            custody.engine.clock.advance(25)
    assert claimed <= 1
    assert len(custody.settled) + closed <= 1
    assert mine.is_settled == (len(custody.settled) + closed == 1)


@pytest.mark.parametrize("engine_does", ["renew", "lose"])
def test_what_the_engine_does_with_the_lease_as_the_pool_gets_it_holds(engine_does, mine, monkeypatch):
    """In its own thread, between two steps of this one: a renewal was written over, and the lease counted as lost."""
    write = leases.write

    def interrupted(place, until):
        monkeypatch.setattr(leases, "write", write)
        if engine_does == "renew":
            mine.leased_until = until + 30
        else:
            mine.is_lost = True
        write(place, until)

    monkeypatch.setattr(leases, "write", interrupted)
    before = mine.leased_until
    assert mine.enter_pool(limit=None)
    # Opening the row writes it, too: what comes in that moment has no place yet, and is shown afterwards.
    assert mine.leased_until == before + (30 if engine_does == "renew" else 0)
    assert mine.is_lost is (engine_does == "lose")
    assert leases.until(mine.place) == (float("-inf") if mine.is_lost else mine.leased_until)


def test_one_whose_lease_is_lost_does_not_begin(mine):
    mine.is_lost = True
    assert not mine.enter_pool(limit=None)


def test_it_is_settled_whatever_goes_wrong_around_that(custody, mine, monkeypatch):
    def fail(_):
        raise MemoryError

    monkeypatch.setattr(mine.intake, "left", fail, raising=False)
    with pytest.raises(MemoryError):
        mine.settle(DONE)
    assert custody.settled == [DONE]
