"""How many messages may wait: as many as begin in time, as far as run times tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.transport.intake.pace import Pace


def paced(*seconds):
    pace = Pace()
    for each in seconds:
        pace.finished(each)
    return pace


def test_before_anything_is_measured_there_are_as_many_as_places():
    assert Pace().window(4, most=40, within=1.0) == 4
    assert Pace().window(4, most=40, within=1.0, running_for=0.001) == 4
    assert Pace().window(4, most=2, within=1.0) == 2


@pytest.mark.parametrize(("each", "size"), [(0.001, 40), (0.2, 24), (1.0, 8), (2.0, 6), (60.0, 4)])
def test_what_waits_begins_within_the_time(each, size):
    assert paced(each).window(4, most=40, within=1.0) == size


def test_no_time_to_wait_is_no_place_to_wait():
    assert paced(0.001).window(4, most=40, within=0.0) == 4


def test_tasks_that_take_no_time_at_all_make_it_as_large_as_it_may_be():
    assert paced(0.0).window(4, most=40, within=1.0) == 40


def test_it_shrinks_at_once_when_tasks_get_slow():
    pace = paced(*[0.001] * 100)
    assert pace.window(4, most=40, within=1.0, running_for=5.0) == 4
    pace.finished(60.0)
    assert pace.window(4, most=40, within=1.0) == 4


def test_it_forgets():
    pace = paced(60.0, *[0.001] * 200)
    assert pace.window(4, most=40, within=1.0) == 40


@given(
    st.lists(st.floats(0, 1e5)),
    st.integers(1, 500),
    st.integers(1, 100_000),
    st.floats(0, 43_200),
    st.floats(0, 1e5),
)
def test_never_less_than_the_places_nor_more_than_allowed(seconds, places, most, within, running_for):
    pace = paced(*seconds)
    size = pace.window(places, most=most, within=within, running_for=running_for)
    assert min(places, most) <= size <= most
    assert pace.window(places, most=most, within=within, running_for=running_for * 2) <= size
