"""The engine's rounds, one by one: what was handed in, timers, and what goes wrong in them. Without its thread."""

from __future__ import annotations

import os
import select

import pytest

from app.transport.engine import Engine
from app.transport.engine import engine as module


class Http:
    """Nothing to carry: says how long it was to wait, and looks whether it was woken."""

    def __init__(self, *_, **__):
        self.waits, self.during_the_wait = [], None

    def __len__(self):
        return 0

    def give_up_overdue(self):
        pass

    def turn(self, timeout, *, woken_by):
        self.waits.append(timeout)
        if self.during_the_wait is not None:
            self.during_the_wait()
        return is_readable(woken_by)


def is_readable(descriptor):
    return bool(select.select([descriptor], [], [], 0)[0])


@pytest.fixture
def engine(monkeypatch, manual_clock):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(module, "Http", Http)
    return Engine(endpoint_url="http://127.0.0.1:1", clock=manual_clock)


def test_what_is_handed_in_runs_in_its_order_in_the_next_round(engine):
    ran = []
    engine.call_soon(ran.append, 1)
    engine.call_soon(ran.append, 2)
    assert ran == []
    engine.turn()
    assert ran == [1, 2]
    engine.turn()
    assert ran == [1, 2]


def test_what_hands_itself_in_again_runs_once_a_round_and_does_not_wait(engine):
    rounds = []

    def again():
        rounds.append(1)
        engine.call_soon(again)

    engine.call_soon(again)
    for _ in range(5):
        engine.turn()
    assert len(rounds) == 5
    assert engine._http.waits == [0.0] * 5


def test_timers_run_when_they_are_due_in_their_order(engine):
    ran = []
    engine.call_later(2.0, ran.append, "second")
    engine.call_later(1.0, ran.append, "first")
    engine.call_later(2.0, ran.append, "third")
    engine.turn()
    assert engine._http.waits == [1.0]
    engine.clock.advance(1.0)
    engine.turn()
    assert ran == ["first"]
    engine.clock.advance(5.0)
    engine.turn()
    assert ran == ["first", "second", "third"]


def test_a_cancelled_timer_does_not_run(engine):
    ran = []
    timer = engine.call_later(1.0, ran.append, 1)
    timer.cancel()
    timer.cancel()
    engine.clock.advance(2.0)
    engine.turn()
    assert ran == []


def test_a_round_waits_one_second_at_most(engine):
    engine.call_later(3_600.0, print)
    engine.turn()
    assert engine._http.waits == [1.0]


def test_an_error_in_one_is_logged_and_the_others_run(engine, caplog):
    ran = []
    engine.call_soon(lambda: 1 / 0)
    engine.call_soon(ran.append, 1)
    engine.call_later(0.0, lambda: 1 / 0)
    engine.call_later(0.0, ran.append, 2)
    engine.turn()
    assert ran == [1, 2]
    assert len(caplog.records) == 2


def test_many_who_hand_in_wake_it_with_one_byte(engine):
    for _ in range(10):
        engine.call_soon(list)
    assert os.read(engine._reader, 100) == b"\0"
    engine.turn()
    engine.call_soon(list)
    assert is_readable(engine._reader)


def test_what_is_handed_in_while_it_waits_or_just_after_is_in_the_next_round(engine):
    ran = []
    engine._http.during_the_wait = lambda: engine.call_soon(ran.append, 1)
    engine.turn()
    engine._http.during_the_wait = None
    engine.turn()
    assert ran == [1]


def test_a_byte_that_comes_later_than_its_sign_is_read_too(engine):
    """Another thread set the sign, the round ended, and then the byte was written: else no wait would be one."""
    engine._is_woken = True
    engine.turn()
    os.write(engine._writer, b"\0")
    engine.turn()
    assert not is_readable(engine._reader)
    engine.call_soon(list)
    assert is_readable(engine._reader)


def test_one_that_was_stopped_does_not_start_again(engine):
    assert engine.stop(1.0)
    engine.start()
    assert repr(engine) == "<Engine: 0 calls in flight, stopped>"
