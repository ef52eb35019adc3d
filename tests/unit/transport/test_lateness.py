"""Late messages: counted, told at most once a minute."""

from __future__ import annotations

import pytest

from app.transport.intake.lateness import Lateness


@pytest.fixture
def late(manual_clock):
    return Lateness("orders", max_age=60, clock=manual_clock)


def test_what_is_in_time_is_not_told(late, manual_clock):
    assert late.received([manual_clock.time(), manual_clock.time() - 60]) is None


def test_the_first_late_ones_are_told_at_once(late, manual_clock):
    assert late.received([manual_clock.time() - 61, manual_clock.time() - 100, manual_clock.time()]) == (
        "Queue orders: 2 messages were older than its max_age of 60 s when received, the oldest by 40 s"
    )


def test_within_a_minute_they_are_only_counted_and_then_told_even_if_no_more_come(late, manual_clock):
    late.received([manual_clock.time() - 61])
    assert late.received([manual_clock.time() - 65]) is None
    manual_clock.advance(30)
    assert late.received([manual_clock.time() - 90]) is None
    manual_clock.advance(30)
    assert "2 messages" in late.received([])
    manual_clock.advance(600)
    assert late.received([]) is None


def test_a_message_without_a_time_is_not_late(late):
    assert late.received([float("inf")]) is None
