"""Clocks that are moved by hand, set and sped up."""

from __future__ import annotations

import math

import pytest

from app.testing.clock import AdjustableClock, ManualClock


def test_a_manual_clock_stands_still_until_it_is_advanced():
    clock = ManualClock(100.0)
    assert (clock.time(), clock.monotonic()) == (100.0, 0.0)
    clock.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (102.5, 2.5)


def test_setting_the_wall_clock_does_not_move_the_monotonic_one():
    clock = ManualClock(100.0)
    clock.set(50.0)
    assert (clock.time(), clock.monotonic()) == (50.0, 0.0)


@pytest.mark.parametrize("clock", [ManualClock(), AdjustableClock(source=ManualClock())])
def test_no_clock_is_advanced_backwards(clock):
    with pytest.raises(ValueError, match="use set"):
        clock.advance(-1)


def test_an_adjustable_clock_follows_its_source():
    source = ManualClock(1000.0)
    clock = AdjustableClock(source=source)
    source.advance(3)
    assert clock.time() == 1003.0


def test_it_runs_on_from_where_it_was_put_and_as_fast_as_it_was_told():
    source = ManualClock(1000.0)
    clock = AdjustableClock(source=source)
    clock.set(5000.0)
    clock.speed = 60
    source.advance(2)
    assert clock.time() == 5120.0
    clock.advance(30)
    clock.speed = 0
    source.advance(10)
    assert clock.time() == 5150.0


def test_it_says_how_long_to_wait_for_an_instant_in_real_seconds():
    clock = AdjustableClock(source=ManualClock(1000.0), speed=10)
    assert clock.real_seconds_until(1050.0) == 5.0
    assert clock.real_seconds_until(900.0) == 0.0
    clock.speed = 0
    assert clock.real_seconds_until(1050.0) == math.inf


def test_a_reset_clock_shows_the_source_again():
    source = ManualClock(1000.0)
    clock = AdjustableClock(source=source, speed=10)
    clock.set(5.0)
    clock.reset()
    source.advance(1)
    assert (clock.time(), clock.speed) == (1001.0, 1.0)


@pytest.mark.parametrize("speed", [-1, math.inf, math.nan])
def test_a_speed_that_makes_no_sense_is_refused(speed):
    with pytest.raises(ValueError, match="speed"):
        AdjustableClock(source=ManualClock(), speed=speed)


def test_a_time_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="nan"):
        AdjustableClock(source=ManualClock()).set(math.nan)
