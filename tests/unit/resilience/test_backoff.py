"""How long to wait before the next try."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.resilience import backoff


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 1), (1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1000, 300)])
def test_it_doubles_up_to_the_most(attempt, seconds):
    """Without luck: all of the random half."""
    assert backoff.delay(attempt, first=1, most=300, spread=lambda: 1.0) == seconds


def test_half_of_it_is_left_to_chance():
    """What failed together must not come back together."""
    assert backoff.delay(3, first=1, most=300, spread=lambda: 0.0) == 2


@given(st.integers(), st.floats(0.001, 1e4), st.floats(0.001, 1e5))
def test_it_is_never_above_the_most_nor_below_half_the_first(attempt, first, most):
    """Whatever the count of attempts is, as SQS tells it."""
    assert min(first, most) / 2 <= backoff.delay(attempt, first=first, most=most) <= most
