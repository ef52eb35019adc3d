from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.ranges import Ranges, parse, ranges_of


def test_neighbours_become_one_range():
    ranges = Ranges()
    for start, end in [(1, 10), (21, 30), (11, 20), (40, 40)]:
        ranges.add(start, end)
    assert str(ranges) == "1-30,40"
    assert len(ranges) == 31
    assert ranges.last == 40


def test_an_empty_set():
    assert (str(Ranges()), len(Ranges()), Ranges().last, 1 in Ranges()) == ("", 0, 0, False)


@pytest.mark.parametrize("again", [(5, 5), (1, 1), (10, 12), (0, 0), (-3, -1), (8, 7), (0, 3), (4, 30)])
def test_what_is_there_already_or_is_no_range_is_refused(again):
    ranges = Ranges()
    ranges.add(1, 10)
    with pytest.raises(ValueError, match=r"before|no range"):
        ranges.add(*again)
    assert str(ranges) == "1-10"


@given(st.lists(st.integers(1, 60), unique=True))
def test_it_is_the_set_of_what_was_added_in_any_order(numbers):
    ranges = ranges_of(numbers)
    assert len(ranges) == len(numbers)
    assert {n for n in range(70) if n in ranges} == set(numbers)
    text = str(ranges)
    if text:
        assert {n for start, end in parse(text) for n in range(start, end + 1)} == set(numbers)


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "1-2-3"])
def test_text_that_is_no_ranges_is_refused(text):
    with pytest.raises(ValueError):
        list(parse(text))
