"""The slots of one queue, shared by its polls."""

from __future__ import annotations

from app.transport.slots import Slots


def test_a_poll_gets_no_more_than_is_free():
    assert Slots(lambda: 3).take(10) == 3


def test_two_polls_never_get_the_same_slot():
    slots = Slots(lambda: 15)
    assert [slots.take(10), slots.take(10), slots.take(10)] == [10, 5, 0]


def test_what_is_given_back_can_be_taken_again():
    slots = Slots(lambda: 5)
    slots.give_back(slots.take(10))
    assert slots.take(10) == 5


def test_each_poll_gets_its_part_so_that_all_can_be_open():
    slots = Slots(lambda: 20, polls=3)
    assert [slots.take(10) for _ in range(3)] == [6, 6, 6]


def test_with_fewer_slots_than_polls_some_polls_wait():
    slots = Slots(lambda: 2, polls=4)
    assert [slots.take(10) for _ in range(4)] == [1, 1, 0, 0]


def test_a_window_that_shrank_under_what_is_promised_gives_nothing():
    free = [10]
    slots = Slots(lambda: free[0])
    slots.take(10)
    free[0] = -3
    assert slots.take(10) == 0
