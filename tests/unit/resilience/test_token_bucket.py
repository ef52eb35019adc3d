from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.resilience.token_bucket import TokenBucket


def test_a_full_bucket_gives_its_burst_at_once():
    bucket = TokenBucket(10, burst=3, now=100.0)
    assert [bucket.take(1, now=100.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(1, now=100.0) == pytest.approx(0.1)


def test_a_refusal_takes_nothing_and_tells_when_to_come_back():
    bucket = TokenBucket(2, burst=4, now=0.0)
    assert bucket.take(4, now=0.0) == 0
    wait = bucket.take(3, now=0.0)
    assert wait == pytest.approx(1.5)
    assert bucket.take(3, now=1.0) == pytest.approx(0.5)
    assert bucket.take(3, now=wait) == 0


def test_an_idle_bucket_does_not_overflow():
    bucket = TokenBucket(100, burst=5, now=0.0)
    assert bucket.take(5, now=1000.0) == 0
    assert bucket.take(1, now=1000.0) > 0


def test_a_clock_that_goes_back_changes_nothing():
    bucket = TokenBucket(1, burst=1, now=50.0)
    assert bucket.take(1, now=50.0) == 0
    assert bucket.take(1, now=10.0) == pytest.approx(1.0)
    assert bucket.take(1, now=51.0) == 0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_or_burst_of_nothing_is_refused(rate, burst):
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(rate, burst=burst, now=0.0)


def test_more_than_it_can_hold_is_refused_instead_of_waited_for():
    with pytest.raises(ValueError, match="never"):
        TokenBucket(1, burst=2, now=0.0).take(3, now=0.0)


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    asks=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), max_size=50),
)
def test_never_more_than_burst_plus_rate_and_a_told_wait_suffices(rate, burst, asks):
    now, taken = 0.0, 0
    bucket = TokenBucket(rate, burst=burst, now=now)
    for pause, amount in asks:
        now += pause
        wanted = min(amount, burst)
        wait = bucket.take(wanted, now=now)
        if wait:
            now += wait
            assert bucket.take(wanted, now=now) == 0
        taken += wanted
        assert taken <= burst + rate * now + 1e-6 * (1 + taken)
