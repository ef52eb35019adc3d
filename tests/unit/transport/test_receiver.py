"""Receiving: when there are slots to fill, without haste when there is nothing, whatever is answered."""

from __future__ import annotations

from collections import Counter

import pytest
from fake_engine import PASSING, PERMANENT, message
from fake_sqs import MISSING, World
from hypothesis import given, settings
from hypothesis import strategies as st

from app.outcome import DONE
from app.transport.options import QueueOptions

HOUR = 3600


def test_an_idle_queue_costs_one_receive_in_twenty_seconds():
    world = World(slots=100)
    world.consume("orders")
    world.engine.advance(HOUR)
    assert len(world.receives()) <= HOUR / 20 + 2


def test_and_so_it_does_after_a_backlog():
    world = World(slots=100, most=400)
    world.send("orders", 5000)
    world.consume("orders")
    world.engine.advance(60)
    assert len(world.given) == 5000
    before = len(world.receives())
    world.engine.advance(HOUR)
    assert len(world.receives()) - before <= HOUR / 20 + 2


def test_a_backlog_is_asked_for_in_tens():
    world = World(slots=50, most=200, seconds=0.05)
    world.send("orders", 5000)
    world.consume("orders")
    world.engine.advance(60)
    assert len(world.given) == 5000
    assert len([call for call in world.receives() if call.answers]) <= 5000 / 10 * 1.3


def test_several_receives_are_in_flight_while_there_is_a_backlog():
    world = World(slots=100, seconds=None)
    world.send("orders", 1000)
    world.consume("orders")
    world.engine.advance(0.2)
    assert len(world.given) == 100


def test_fewer_than_ten_free_slots_wait_for_more_but_not_for_long():
    world = World(slots=3, grows_to=30, seconds=None)
    world.send("orders", 100)
    world.consume("orders")
    world.engine.advance(1)
    assert world.intake.waiting == 27
    before = len(world.receives())
    for delivery in world.given[:3]:
        delivery.settle(DONE)
    world.engine.advance(0.019)
    assert world.counts()[before:] == []
    world.engine.advance(0.002)
    assert world.counts()[before:] == [3]


def test_ten_free_slots_wait_for_nothing():
    world = World(slots=10, grows_to=30, seconds=None)
    world.send("orders", 100)
    world.consume("orders")
    world.engine.advance(1)
    before = len(world.receives())
    for delivery in world.given[:10]:
        delivery.settle(DONE)
    world.engine.turn()
    assert world.counts()[before:] == [10]


def test_when_the_pool_runs_dry_one_slot_is_enough():
    world = World(slots=4, seconds=None)
    world.send("orders", 100)
    world.consume("orders")
    world.engine.advance(1)
    before = len(world.receives())
    world.given[0].settle(DONE)
    world.engine.turn()
    assert world.counts()[before:] == [1]


def test_nothing_is_asked_for_while_the_outbox_is_full(monkeypatch):
    world = World()
    monkeypatch.setattr(type(world.custody.outbox), "is_full", True)
    world.consume("orders")
    world.engine.advance(1)
    assert world.receives() == []
    monkeypatch.setattr(type(world.custody.outbox), "is_full", False)
    world.engine.advance(0.2)
    assert len(world.receives()) == 1


def test_empty_answers_that_come_at_once_are_no_reason_to_ask_without_pause():
    world = World()
    world.does_not_wait = True
    world.consume("orders")
    world.engine.advance(10)
    assert 10 <= len(world.receives()) <= 42


def test_neither_are_answers_that_bring_only_what_is_in_work_here():
    """Each is a receive of that message's, and there are so many until the dead-letter queue."""
    world = World(slots=40, seconds=None)
    world.consume("orders")
    world.send("orders", message_id="again")
    world.engine.advance(1)
    before = len(world.receives())
    for _ in range(600):
        world.send("orders", message_id="again")
        world.engine.advance(0.1)
    assert 10 <= len(world.receives()) - before <= 30
    world.queues["orders"].clear()
    world.send("orders")
    world.engine.advance(5)
    assert len(world.given) == 2


def test_after_a_failure_it_asks_with_growing_pauses_and_goes_on_when_it_works():
    world = World()
    world.fault = PASSING
    world.consume("orders")
    world.engine.advance(120)
    assert 5 < len(world.receives()) < 25
    world.fault = None
    world.send("orders")
    world.engine.advance(21)
    assert len(world.given) == 1


def test_many_receives_that_fail_at_once_are_one_failure():
    world = World(slots=200, default=QueueOptions(polls_min=6))
    world.consume("orders")
    world.engine.advance(1)
    assert world.intake._receivers["orders"].in_flight == 6
    for poll in world.open:
        poll.call.answer(PASSING)
    world.open.clear()
    world.send("orders")
    world.engine.advance(1.5)
    assert len(world.given) == 1


def test_a_receive_that_works_ends_the_pause_that_another_began():
    world = World(slots=30, default=QueueOptions(polls_min=2))
    world.consume("orders")
    world.engine.advance(1)
    failing, working = world.open
    failing.call.answer(PASSING)
    world.open.remove(failing)
    before = len(world.receives())
    world.engine.advance(0.01)
    assert len(world.receives()) == before
    working.call.answer({})
    world.open.remove(working)
    world.engine.advance(0.05)
    assert len(world.receives()) == before + 2


SENTENCE = (
    "Queue orders: receiving fails (The queue 'prod-orders' does not exist here. Make it with "
    "`celery -A app queues ensure`, or correct its name, AWS_REGION or the account in use.); trying on"
)


def test_a_queue_that_is_not_there_is_told_once_with_what_to_do_and_looked_for_until_it_is(caplog):
    world = World(queues={"orders": QueueOptions(name="prod-orders")})
    world.fault = MISSING
    world.intake.consume("orders", None)
    world.engine.advance(100)
    assert 3 <= len(world.missing) <= 15
    assert world.receives() == []
    world.fault = None
    world.send("prod-orders")
    world.engine.advance(31)
    assert len(world.given) == 1
    told, over = (message for message in caplog.messages if "receiving" in message)
    assert told == SENTENCE
    assert "works again" in over


def test_while_one_queue_is_not_there_the_others_run_on():
    world = World(slots=4)
    world.missing_queues = {"gone"}
    world.consume("orders", "gone", "mails")
    for _ in range(20):
        world.send("orders", 5)
        world.send("mails", 5)
        world.engine.advance(5)
    assert len(world.given) == 200
    assert len(world.missing) >= 3
    world.missing_queues = set()
    world.send("gone")
    world.engine.advance(31)
    assert len(world.given) == 201


def test_that_a_queue_is_gone_is_told_also_when_something_else_failed_before(caplog):
    world = World(queues={"orders": QueueOptions(name="prod-orders")})
    world.fault = PASSING
    world.intake.consume("orders", None)
    world.engine.advance(10)
    world.fault = MISSING
    world.engine.advance(100)
    assert caplog.messages == ["Queue orders: receiving fails (InternalError); trying on", SENTENCE]


def test_a_queue_whose_address_is_not_known_is_asked_for():
    world = World()
    world.intake.consume("orders", None)
    world.send("orders")
    world.engine.advance(1)
    assert len(world.given) == 1


@pytest.mark.parametrize("url", ["", "?", 5, "https://sqs.example/other"])
def test_a_wrong_address_does_not_last(url):
    """Once an answer was wrong; of an address at which nothing works another one is asked for."""
    world = World(queues={"orders": QueueOptions(name="orders")})
    world.fault = {"QueueUrl": url}
    world.intake.consume("orders", None)
    world.engine.advance(0.05)
    world.fault = PERMANENT
    world.engine.advance(5)
    world.fault = None
    world.send("orders")
    world.engine.advance(30)
    assert [each.url for each in world.given] == ["https://sqs.example/orders"]


@pytest.mark.parametrize(
    "messages", ["?", "", {}, 0, [message() | {"Attributes": 5}], [None], [{"Body": "x"}], [message() | {"Body": None}]]
)
def test_an_answer_that_is_none_of_sqs_is_a_failure(messages):
    world = World()
    world.fault = {"Messages": messages}
    world.consume("orders")
    world.engine.advance(1)
    assert world.given == []
    world.fault = None
    world.send("orders")
    world.engine.advance(21)
    assert len(world.given) == 1


def test_what_a_stopped_receiver_still_gets_is_handed_back():
    world = World()
    world.consume("orders")
    world.engine.advance(1)
    world.intake.begin_drain()
    world.send("orders", 3)
    world.engine.advance(1)
    assert world.given == []
    [change] = world.engine.calls.of("ChangeMessageVisibilityBatch")
    assert [entry["VisibilityTimeout"] for entry in change.entries] == [0] * len(change.entries)
    assert world.intake._window.held == 0
    world.engine.advance(HOUR)
    assert len(world.receives()) == 1


@pytest.mark.parametrize("end", [lambda world: world.intake.begin_drain(), lambda world: world.intake.cancel("orders")])
def test_what_goes_back_does_not_go_round_among_the_receives_that_are_still_open(end):
    """Each time would be one receive more of it, and there are so many until the dead-letter queue."""
    world = World(slots=2, grows_to=80, seconds=None, default=QueueOptions(polls_min=8))
    world.gives_again = True
    world.consume("orders")
    world.engine.advance(1)
    world.send("orders", 3)
    world.engine.advance(1)
    assert world.intake.waiting == 1
    end(world)
    world.engine.advance(40)
    [left] = world.queues["orders"]
    assert int(left["Attributes"]["ApproximateReceiveCount"]) <= 3  # the next one: it was received once more at most


def test_a_queue_has_no_more_than_its_own_prefetch():
    world = World(slots=20, seconds=None, queues={"orders": QueueOptions(prefetch=3)})
    world.send("orders", 100)
    world.send("mails", 100)
    world.consume("orders", "mails")
    world.engine.advance(1)
    assert world.intake._window.held_of("orders") == 3
    assert world.intake._window.held_of("mails") == 17


def test_idle_queues_reserve_a_small_part_of_the_slots_and_a_busy_one_may_take_the_rest():
    world = World(slots=100, seconds=None)
    queues = [f"idle-{n}" for n in range(9)]
    world.consume(*queues, "busy")
    world.engine.advance(5)
    world.send("busy", 1000)
    world.engine.advance(1)
    assert len(world.given) >= 75


def test_and_so_they_do_with_several_receives_each():
    world = World(slots=64, seconds=None, default=QueueOptions(polls_min=5))
    world.consume("a", "b", "c", "busy")
    world.engine.advance(5)
    world.send("busy", 1000)
    world.engine.advance(1)
    assert len(world.given) >= 48


def test_with_few_slots_idle_queues_leave_most_of_them_to_a_busy_one():
    world = World(slots=4, seconds=None)
    world.consume("a", "b", "c", "busy")
    world.engine.advance(1)
    world.send("busy", 100)
    world.engine.advance(1.5)
    assert len(world.given) >= 3


@pytest.mark.parametrize("idle", [1, 3])
def test_while_tasks_are_slow_a_busy_queue_fills_the_whole_pool(idle):
    """What idle queues reserve beyond what waits anyway would leave places empty with work to do."""
    world = World(slots=100, most=400, seconds=12)
    world.consume(*(f"idle-{n}" for n in range(idle)), "busy")
    world.engine.advance(5)
    world.send("busy", 1000)
    for _ in range(4):
        world.engine.advance(12)
        assert len(world.intake._in_pool) == 100
    for n in range(idle):
        world.send(f"idle-{n}")
    world.engine.advance(24)
    assert {each.queue for each in world.given} >= {f"idle-{n}" for n in range(idle)}


def test_a_queue_that_finds_all_slots_reserved_is_asked_once_they_were_not_needed():
    """Each of three queues had a message, so that the next receives of the first two reserve all that there is."""
    world = World(slots=10)
    world.consume("a", "b", "c")
    world.engine.advance(1)
    for queue in "abc":
        world.send(queue)
    world.engine.advance(3)
    world.send("c")
    world.engine.advance(3)
    assert len(world.given) == 4


def test_a_pool_that_grows_while_all_its_tasks_are_long_gets_more_to_do():
    world = World(slots=2, seconds=None)
    world.consume("orders")
    world.send("orders", 30)
    world.engine.advance(5)
    assert len(world.given) == 2
    world.slots = 6
    world.intake.resize(24)
    world.engine.advance(1)
    assert len(world.given) == 6


@pytest.mark.parametrize(("slots", "seconds"), [(4, 5), (1, 5), (8, 20)])
def test_of_queues_that_all_have_a_backlog_none_waits_for_another(slots, seconds):
    """While tasks are slow there is hardly a slot that is free: each goes to who has not asked for longest."""
    world = World(slots=slots, most=slots * 4, seconds=seconds)
    world.consume("a", "b", "c")
    for queue in "abc":
        world.send(queue, 500)
    world.engine.advance(60 * seconds)
    begun = Counter(each.queue for each in world.given)
    assert min(begun[queue] for queue in "abc") >= 60 * slots / 3 * 0.7


@pytest.mark.parametrize("idle", [10, 70])
def test_idle_queues_of_whose_messages_nothing_is_known_keep_no_bytes_from_a_busy_one(idle):
    """A message may have 1 MiB, and ten of each queue would be more than all that may be held."""
    world = World(slots=100, most=1_000, seconds=0.2, wait=2)
    world.consume(*(f"idle-{n}" for n in range(idle)), "busy")
    world.send("busy", 5_000)
    world.engine.advance(8)
    assert len(world.given) >= 3_000
    for n in range(idle):
        world.send(f"idle-{n}")
    world.engine.advance(4)
    assert {each.queue for each in world.given} >= {f"idle-{n}" for n in range(idle)}


@pytest.mark.parametrize(("queues", "slots", "every"), [(20, 4, 0.25), (60, 2, 0.17)])
def test_of_many_queues_with_a_message_now_and_then_none_waits_for_another(queues, slots, every):
    """One message is no backlog for which slots are to be kept from the others."""
    world = World(slots=slots, most=slots, seconds=0.02)
    names = [f"queue-{n}" for n in range(queues)]
    world.consume(*names)
    world.engine.advance(1)
    for n in range(120):
        world.send(names[n * 7 % queues])
        world.engine.advance(every)
        assert len(world.given) >= n - every  # all but what was sent just now
    world.engine.advance(1)
    assert len(world.given) == 120


@pytest.mark.parametrize("least", [1, 5, 20])
def test_however_many_receives_an_idle_queue_is_to_have_a_busy_one_fills_the_pool(least):
    world = World(slots=20, most=200, seconds=1.0, default=QueueOptions(polls_min=least, polls_max=20))
    world.consume(*(f"idle-{n}" for n in range(6)), "busy")
    world.send("busy", 2_000)
    world.engine.advance(30)
    begun = len(world.given)
    world.engine.advance(20)
    assert len(world.given) - begun >= 20 * 20 * 0.95


def test_an_error_of_its_own_does_not_silence_a_queue(monkeypatch, caplog):
    world = World()
    world.consume("orders")
    world.engine.advance(1)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.intake), "share", property(lambda _: 1 / 0))
        world.engine.advance(21)
    world.send("orders")
    world.engine.advance(3)
    assert len(world.given) == 1
    assert "receiving goes on after an error of its own" in caplog.text


def test_with_one_slot_all_of_four_idle_queues_are_polled():
    world = World(slots=1)
    queues = ["a", "b", "c", "d"]
    world.consume(*queues)
    world.engine.advance(25)
    assert [len(world.receives(queue)) > 0 for queue in queues] == [True] * 4


def test_with_one_slot_an_idle_queue_delays_nobody():
    world = World(slots=1)
    world.consume("a", "b", "c", "d")
    world.engine.advance(3)
    for queue in "abcd":
        world.send(queue)
    world.engine.advance(5)
    assert len(world.given) == 4


def test_a_busy_queue_among_idle_ones_asks_in_tens_too():
    world = World(slots=40, most=40, seconds=0.5)
    world.consume("a", "b", "c", "d", "busy")
    world.send("busy", 2000)
    world.engine.advance(40)
    assert len(world.given) >= 1990
    assert len(world.receives("busy")) <= 2000 / 10 * 1.5


def courses(queues, *, most):
    """What is sent, in steps: the queue, how many messages, seconds until the next, whether receives fail meanwhile."""
    step = st.tuples(st.sampled_from(queues), st.integers(0, 60), st.floats(0, 2), st.booleans())
    return st.lists(step, min_size=1, max_size=most)


def live(world, course):
    """Live through it, the pool never having more than its places; how many messages were sent."""
    for queue, count, pause, is_faulty in course:
        world.fault = PASSING if is_faulty else None
        world.send(queue, count)
        world.engine.advance(pause)
        assert len(world.intake._in_pool) <= world.slots
    return sum(count for _, count, _, _ in course)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.floats(0.001, 3), courses("abc", most=15))
def test_never_more_is_received_than_there_are_slots_and_all_is_done_once(slots, multiplier, seconds, course):
    world = World(slots=slots, most=slots * multiplier, seconds=seconds, default=QueueOptions(visibility=43_200))
    world.consume("a", "b", "c")
    sent = live(world, course)
    assert world.most_taken <= slots * multiplier + 2  # the idle two of the three queues, where slots are few
    world.intake.begin_drain()
    world.engine.advance(60 + sent * seconds)
    assert len(world.given) == len({each.message_id for each in world.given})
    assert all(each.is_settled for each in world.given)
    window = world.intake._window
    assert (window.held, window.held_bytes, window._reserved.total(), window._reserved_bytes) == (0, 0, 0, 0)
    assert len(world.custody.leases) == len(world.custody.outbox) == 0


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.floats(0.001, 3), courses("abcde", most=20))
def test_whatever_has_happened_no_queue_is_silent_afterwards(slots, multiplier, seconds, course):
    """A receiver that waits for slots must hear of them, whoever had them."""
    world = World(slots=slots, most=slots * multiplier, seconds=seconds)
    world.gives_again = True
    world.consume(*"abcde")
    sent = live(world, course)
    world.fault = None
    world.engine.advance(30 + sent * seconds)
    world.given.clear()
    for queue in "abcde":
        world.send(queue)
    world.engine.advance(3 + 5 * seconds)
    assert sorted(each.queue for each in world.given) == list("abcde")


def test_a_message_that_nothing_was_prepared_for_keeps_neither_others_nor_the_next_receive_away(monkeypatch, caplog):
    world = World()
    take = world.custody.take

    def take_or_fail(delivery):
        if delivery.body == "odd":
            raise OverflowError
        return take(delivery)

    monkeypatch.setattr(world.custody, "take", take_or_fail)
    world.send("orders", body="odd")
    world.send("orders", 3)
    world.consume("orders")
    world.engine.advance(1)
    world.send("orders")
    world.engine.advance(1)
    assert len(world.given) == 4
    assert "could not be taken, and comes back" in caplog.text


def test_nor_does_anything_else_that_goes_wrong_with_an_answer(monkeypatch):
    world = World()
    world.consume("orders")
    receiver = world.intake._receivers["orders"]
    monkeypatch.setattr(receiver, "_take", lambda _: 1 / 0)
    world.send("orders")
    with pytest.raises(ZeroDivisionError):
        world.engine.advance(1)
    assert receiver.in_flight == 1
