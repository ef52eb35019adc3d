"""One turn of a poller after the other; its thread only waits between them."""

from __future__ import annotations

import logging

import pytest

from app.transport.poller import Poller
from app.transport.slots import Slots


class World:
    """The queue, the slots and the consumer of one poller."""

    def __init__(self, clock):
        self.clock, self.free, self.answers, self.asked, self.delivered, self.released = clock, 25, [], [], [], []
        self.slots = Slots(lambda: self.free)
        self.poller = Poller(
            queue="orders",
            receive=self.receive,
            slots=self.slots,
            deliver=lambda messages, taken: self.delivered.append((messages, taken)),
            release=self.released.append,
            clock=clock,
        )

    def receive(self, most):
        self.asked.append(most)
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def failing(self, times):
        self.answers += [OSError("away")] * times

    def turn(self):
        return self.poller.turn()


@pytest.fixture
def world(manual_clock):
    return World(manual_clock)


def test_it_asks_for_ten_and_hands_over_what_came(world):
    world.answers = [[{"n": 1}]]
    assert world.turn() == 0
    assert world.asked == [10]
    assert [messages for messages, _ in world.delivered] == [[{"n": 1}]]


def test_it_asks_for_no_more_than_there_are_slots_and_for_nothing_without(world):
    world.free, world.answers = 3, [[]]
    world.turn()
    assert world.asked == [3]
    world.free = 0
    assert world.turn() > 0
    assert world.asked == [3]


def test_it_asks_for_nothing_until_the_consumer_has_taken_what_came(world):
    world.answers = [[{}], []]
    world.turn()
    assert world.turn() > 0
    assert len(world.asked) == 1
    world.delivered[0][1]()
    world.turn()
    assert len(world.asked) == 2


def test_slots_are_promised_only_while_a_poll_is_open_or_its_messages_are_not_taken(world):
    world.answers = [[{}], [], OSError("away")]
    world.turn()
    assert world.slots.take(100) == 15
    world.slots.give_back(15)
    world.delivered[0][1]()
    for _ in range(2):
        world.turn()
        assert world.slots.take(100) == 25
        world.slots.give_back(25)


def test_an_empty_answer_that_did_not_wait_is_followed_by_a_pause(world):
    """A server that ignores WaitTimeSeconds must not be asked in a loop."""
    world.answers = [[]]
    assert world.turn() == pytest.approx(0.25)


def test_an_empty_answer_that_waited_is_followed_by_the_next_poll(world):
    world.answers = [lambda: world.clock.advance(20) or []]
    assert world.turn() == 0


def test_failures_are_followed_by_growing_pauses_up_to_twenty_seconds(world):
    world.failing(12)
    pauses = []
    for _ in range(12):
        pauses.append(world.turn())
        world.clock.advance(pauses[-1])
    assert 0.1 <= pauses[0] <= 0.2
    assert 10 <= pauses[-1] <= 20
    assert len(world.asked) == 12


def test_a_slot_that_is_freed_does_not_cut_a_pause_short(world):
    """Or a busy worker would hammer a server in trouble with each task that ends."""
    world.failing(1)
    pause = world.turn()
    world.poller.slot_freed()
    assert world.turn() == pytest.approx(pause)
    assert len(world.asked) == 1


def test_an_episode_has_one_line_at_its_begin_and_one_at_its_end(world, caplog):
    world.failing(3)
    world.answers.append([])
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            world.clock.advance(world.turn())
    assert [record.getMessage() for record in caplog.records] == [
        "Queue orders: receiving fails (OSError: away); trying on",
        "Queue orders: receiving works again, after 3 failed calls",
    ]


def test_trouble_with_the_slots_does_not_end_it(world):
    world.free = None
    assert world.turn() > 0
    world.free, world.answers = 5, [[]]
    world.clock.advance(1)
    world.turn()
    assert world.asked == [5]


def test_what_a_poll_brings_after_the_stop_is_released(world):
    world.answers = [lambda: world.poller.stop() or [{"n": 1}]]
    world.turn()
    assert world.released == [[{"n": 1}]]
    assert world.delivered == []


def test_its_state_can_be_printed(world):
    assert repr(world.poller) == "<Poller orders: polling>"
    world.failing(1)
    world.turn()
    assert repr(world.poller) == "<Poller orders: failing (1)>"
    world.poller.stop()
    assert repr(world.poller) == "<Poller orders: stopped>"
