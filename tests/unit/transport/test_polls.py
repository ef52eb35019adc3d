"""How many receives to have in flight: more with full answers, fewer with empty ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.transport.intake.polls import Ask, Polls


def full(polls, *, slots=200):
    polls.answered(asked=10, got=10, slots=slots)


def empty(polls, *, slots=200):
    polls.answered(asked=10, got=0, slots=slots)


def test_full_answers_go_half_way_up_to_what_the_slots_can_take():
    polls, targets = Polls(least=1, most=20, wait=20), []
    for _ in range(6):
        full(polls)
        targets.append(polls.target)
    assert targets == [11, 16, 18, 19, 20, 20]


def test_no_more_than_the_slots_can_take_in_tens():
    polls = Polls(least=1, most=20, wait=20)
    for _ in range(10):
        full(polls, slots=41)
    assert polls.target == 5


def test_empty_answers_go_down_by_half_and_short_ones_change_nothing():
    polls = Polls(least=1, most=20, wait=20)
    for _ in range(5):
        full(polls)
    polls.answered(asked=10, got=1, slots=200)
    assert polls.target == 20
    targets = []
    for _ in range(6):
        empty(polls)
        targets.append(polls.target)
    assert targets == [10, 5, 2, 1, 1, 1]


def test_one_message_of_one_asked_for_is_no_backlog_for_many_receives():
    """An idle queue among many asks for a few: a lone message must not have it ask eleven times at once."""
    polls = Polls(least=1, most=20, wait=20)
    polls.answered(asked=1, got=1, slots=200)
    assert polls.target == 1
    assert polls.next(in_flight=0, free=50, share=1) == Ask(10, 1)


def test_an_idle_queue_asks_for_its_share_and_waits_as_long_as_it_may():
    polls = Polls(least=2, most=20, wait=20)
    assert polls.next(in_flight=0, free=200, share=6) == Ask(3, 20)  # of two receives each has its half
    assert polls.next(in_flight=1, free=2, share=6) == Ask(2, 20)


def test_what_is_there_for_a_backlog_gives_its_slots_back_soon():
    polls = Polls(least=1, most=20, wait=20)
    full(polls)
    assert polls.next(in_flight=0, free=200, share=3) == Ask(10, 1)
    empty(polls)
    assert polls.next(in_flight=1, free=200, share=3) == Ask(3, 1)
    assert polls.next(in_flight=0, free=200, share=3) == Ask(3, 20)


def test_an_idle_queue_costs_one_receive_in_each_wait():
    """However it came to be idle."""
    polls = Polls(least=1, most=20, wait=20)
    for _ in range(5):
        full(polls)
    waits = []
    for _ in range(40):
        waits.append(polls.next(in_flight=polls.target - 1, free=200, share=3).wait)
        empty(polls)
    assert waits[-30:] == [20] * 30


def test_a_failure_takes_back_all_that_was_gained():
    polls = Polls(least=2, most=20, wait=20)
    full(polls)
    polls.failed()
    assert polls.target == 2
    assert not polls.is_hot


def test_fewer_at_most_than_at_least_is_as_many_as_at_least():
    polls = Polls(least=3, most=1, wait=20)
    full(polls)
    assert polls.target == 3


answers = st.tuples(st.integers(1, 10), st.integers(0, 10), st.integers(0, 1000))


@given(st.integers(1, 10), st.integers(1, 30), st.integers(1, 20), st.lists(st.none() | answers))
def test_the_target_stays_between_its_bounds_and_a_receive_asks_for_what_there_is(least, most, wait, course):
    polls = Polls(least=least, most=most, wait=wait)
    for step in course:
        if step is None:
            polls.failed()
        else:
            asked, got, slots = step
            before = polls.target
            polls.answered(asked=asked, got=min(asked, got), slots=slots)
            if got == 0:
                assert polls.target <= before
            if got >= asked:
                assert polls.target >= before
        assert least <= polls.target <= max(least, most)
        for in_flight, free, share in ((0, 1, 1), (least, 7, 2), (least + 1, 100, 10)):
            ask = polls.next(in_flight=in_flight, free=free, share=share)
            assert 1 <= ask.count <= min(10, free)
            assert 0 < ask.wait <= wait
