"""Messages that kill the process they are given to."""

from __future__ import annotations

from app.transport.custody.casualties import Casualties


def test_after_so_many_deaths_a_message_is_not_to_be_tried_again():
    casualties = Casualties(3)
    assert [casualties.died("a"), casualties.died("b"), casualties.died("a"), casualties.died("a")] == [
        None,
        None,
        None,
        3,
    ]


def test_one_that_ended_otherwise_begins_anew():
    casualties = Casualties(2)
    casualties.died("a")
    casualties.survived("a")
    casualties.survived("never seen")
    assert casualties.died("a") is None


def test_of_too_many_the_oldest_are_forgotten():
    casualties = Casualties(2)
    casualties.died("first")
    for n in range(10_000):
        casualties.died(str(n))
    assert casualties.died("first") is None
    assert casualties.died("9999") == 2
