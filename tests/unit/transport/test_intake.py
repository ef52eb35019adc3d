"""What one consumer holds: given to the pool when that has a place, handed back when it has none in time."""

from __future__ import annotations

import json

import pytest
from fake_engine import delivery as message_received
from fake_sqs import World

from app.outcome import DONE, RETURNED
from app.transport.options import QueueOptions

CHANGE = "ChangeMessageVisibilityBatch"


def busy(*queues, count=100, **options):
    """A worker whose pool is full of tasks that do not end, with messages that wait for it."""
    world = World(**{"slots": 2, "grows_to": 20, "seconds": None, **options})
    for queue in queues or ("orders",):
        world.send(queue, count)
    world.consume(*(queues or ("orders",)))
    world.engine.advance(1)
    return world


def given_back(world):
    """The receipts of what was made visible at once."""
    return [
        entry["ReceiptHandle"]
        for call in world.engine.calls.of(CHANGE)
        for entry in call.entries
        if entry["VisibilityTimeout"] == 0
    ]


def test_the_pool_is_given_what_it_has_places_for_and_the_rest_waits():
    world = busy()
    assert (len(world.given), world.intake.waiting) == (2, 18)
    assert not world.intake.is_dry


def test_a_place_that_is_free_again_is_filled_at_once():
    world = busy()
    world.given[0].settle(DONE)
    world.engine.turn()
    assert len(world.given) == 3


def test_places_that_are_new_are_filled_when_it_is_told():
    world = busy()
    world.slots = 15
    world.intake.resize()
    world.engine.turn()
    assert len(world.given) == 15


def test_what_is_done_with_when_it_begins_keeps_its_place_until_it_has_ended():
    """Else the pool would be given more than it has places for, and what waits inside of it cannot go back."""
    world = busy()
    first, second = world.given
    for each in (first, second):
        world.intake.runs_on(each)
        each.settle(DONE)
    world.engine.advance(1)
    assert world.given == [first, second]
    world.intake.ended(first)
    world.engine.advance(1)
    assert len(world.given) == 3


def test_of_what_is_done_with_when_it_begins_no_more_is_held_than_of_others():
    """How long a task takes says when it ends, and not when its message is done with."""
    world = World(slots=2, most=20, seconds=None)
    give = world._give

    def give_and_be_done(delivery):
        give(delivery)
        world.intake.runs_on(delivery)
        delivery.settle(DONE)
        world.engine.call_later(5.0, world.intake.ended, delivery)

    world.intake._give = give_and_be_done
    world.send("orders", 100)
    world.consume("orders")
    for _ in range(60):
        world.engine.advance(1)
        assert world.intake.waiting <= 1
        assert world.intake._window.held <= 3
    assert len(world.given) >= 20


def test_while_the_consumer_stands_still_nothing_more_is_received():
    """What came would go round, one receive nearer to the dead-letter queue with each lease."""
    world, held_up = World(slots=4, default=QueueOptions(visibility=10)), []
    world.gives_again = True
    put, world.inbox.put = world.inbox.put, lambda *call: held_up.append(call) or True
    world.send("orders", 100)
    world.consume("orders")
    world.engine.advance(120)
    assert len(world.receives()) <= 3
    assert len(given_back(world)) == 4
    world.inbox.put = put
    for call in held_up:
        put(*call)
    world.engine.advance(5)
    assert len(world.given) == 100
    assert max(each.receive_count for each in world.given) == 2


def test_a_consumer_that_takes_one_after_the_other_in_one_go_does_not_stand_still():
    """As solo does, which runs each task as it takes it; messages come meanwhile."""
    world, still = World(slots=20, most=20), []

    def run(each):
        each.enter_pool(limit=None)
        world.engine.clock.advance(0.4)
        world.intake.deliver([message_received(world.custody, world.intake)])
        world.engine.clock.advance(0.4)
        still.append(world.intake.stands_still)
        each.settle(DONE)

    world.intake._give = run
    world.intake.deliver([message_received(world.custody, world.intake) for _ in range(20)])
    world.intake._pump()
    assert still == [False] * 10


def test_who_comes_after_hears_of_each_place_that_is_free_again():
    """The tasks of a connection that is closed run on in the same pool."""
    world, freed = busy(), []
    world.intake.close()
    world.intake.when_place_is_free = lambda: freed.append(world.intake.in_pool)
    assert world.intake.in_pool == 2
    for each in list(world.given):
        each.settle(DONE)
    assert freed == [1, 0]


def test_who_drains_receives_nothing_more_and_from_no_queue():
    world = World(slots=2)
    world.intake.begin_drain()
    world.send("orders", 5)
    world.consume("orders")
    world.engine.advance(5)
    assert (world.receives(), world.given) == ([], [])


def test_a_drain_hands_back_what_its_own_intake_holds():
    """Another connection of the process may hold messages too."""
    world, other = busy(), World(slots=0)
    other.intake._custody = world.custody
    other.intake.begin_drain()
    world.engine.advance(1)
    assert given_back(world) == []
    world.intake.begin_drain()
    world.engine.advance(1)
    assert len(given_back(world)) == 18


def test_what_a_rate_limit_lets_go_waits_for_a_place_and_comes_first_then():
    world, gone = busy(), []
    world.intake.when_there_is_a_place(lambda: gone.append(len(world.given)))
    world.engine.advance(1)
    assert gone == []
    world.given[0].settle(DONE)
    world.engine.advance(1)
    assert gone == [2]


def test_messages_are_given_in_the_order_in_which_they_came():
    world = busy(seconds=0.1)
    world.engine.advance(60)
    ids = [int(each.message_id.rpartition("-")[2]) for each in world.given]
    assert len(ids) == 100
    assert ids == sorted(ids)


def test_what_has_not_begun_after_one_lease_is_handed_back_and_not_given_any_more():
    world = busy(count=20)
    world.engine.advance(65)
    assert len(given_back(world)) == 18
    for delivery in world.given:
        delivery.settle(DONE)
    world.engine.advance(1)
    assert len(world.given) == 2
    assert world.intake._window.held == 0


def test_after_a_stop_that_outlasts_the_leases_nothing_that_waited_is_begun():
    world = busy(count=20)
    world.engine.clock.advance(100)
    world.given[0].settle(DONE)
    world.engine.advance(1)
    assert sum(each.started_at is not None for each in world.given) == 2


def test_neither_by_a_plain_client():
    world = World(slots=None)
    world.consume("orders")
    world.engine.advance(1)
    put, held_up = world.inbox.put, []
    world.inbox.put = lambda *call: held_up.append(call) or True
    world.send("orders")
    world.engine.advance(1)
    world.engine.clock.advance(100)
    for call, *arguments in held_up:
        call(*arguments)
    world.inbox.put = put
    world.engine.advance(1)
    assert world.given == []


def test_a_plain_client_has_begun_with_what_it_is_given():
    world = World(slots=None)
    world.send("orders", 3)
    world.consume("orders")
    world.engine.advance(300)
    assert len(world.given) == 3
    assert all(each.is_claimed and not each.is_settled for each in world.given)
    assert world.custody.leases.lost == 0
    world.intake.close()
    world.engine.advance(1)
    assert len(given_back(world)) == 3


def test_while_it_drains_nothing_more_is_given_and_what_waits_goes_back_at_once():
    world = busy()
    world.intake.begin_drain()
    world.engine.advance(0.1)
    assert len(given_back(world)) == 18
    world.given[0].settle(DONE)
    world.engine.advance(10)
    assert len(world.given) == 2
    assert world.intake._window.held == 1


def test_a_queue_that_is_cancelled_gives_back_what_has_not_begun_and_no_other_does():
    world = busy("orders", "mails")
    others = [each for each in world.intake._waiting if each.queue == "mails"]
    world.intake.cancel("orders")
    world.engine.advance(0.1)
    assert given_back(world)
    assert not any(each.is_settled for each in others)
    world.intake.cancel("orders")
    before = len(world.receives("orders"))
    world.engine.advance(60)
    assert len(world.receives("orders")) == before


def test_what_comes_when_nobody_consumes_any_more_goes_back():
    world = World()
    world.consume("orders")
    world.engine.advance(1)
    world.inbox.is_closed = True
    world.send("orders", 3)
    world.engine.advance(0.2)
    assert world.given == []
    assert given_back(world)


def test_closing_gives_back_what_was_given_and_has_not_begun():
    world = World(slots=4)
    given = []
    world.intake._give = given.append
    world.send("orders", 3)
    world.consume("orders")
    world.engine.advance(1)
    running = given[0]
    assert running.enter_pool(limit=None)
    world.intake.close()
    world.engine.advance(0.1)
    assert [each.is_settled for each in given] == [False, True, True]
    running.settle(DONE)
    assert world.intake.given == {}


def test_the_window_grows_with_quick_tasks_and_shrinks_at_once_with_slow_ones():
    world = World(slots=4, most=40, seconds=0.05)
    assert world.intake._window.size == 4
    world.send("orders", 1000)
    world.consume("orders")
    world.engine.advance(5)
    assert world.intake._window.size == 40
    world.seconds = 30
    world.engine.advance(3)
    assert world.intake._window.size < 10


def slowed_down(**options):
    """A worker that holds as many messages as are right for quick tasks, and they turn out to be slow."""
    world = World(slots=4, most=40, seconds=0.05)
    world.attributes = {"Attributes": options}
    world.send("orders", 500)
    world.consume("orders")
    world.engine.advance(4)
    world.seconds = 30
    world.send("orders", 40)
    world.engine.advance(0.5)
    held = world.intake._window.held
    assert held > 30
    world.engine.advance(20)
    return held, world


def test_what_the_window_has_shrunk_by_goes_back_for_others_to_begin():
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:dead", "maxReceiveCount": 4}
    held, world = slowed_down(RedrivePolicy=json.dumps(policy))
    window = world.intake._window
    assert window.held <= max(window.size, 5)
    assert len(given_back(world)) == held - window.held
    assert world.intake.waiting == window.held - 4
    world.engine.advance(50)
    assert world.custody.leases.lost == 0


def test_nothing_goes_back_that_will_begin_within_a_few_times_what_was_reckoned_with():
    """A slower moment must not send messages round."""
    world = World(slots=4, most=40, seconds=0.05)
    world.send("orders", 500)
    world.consume("orders")
    world.engine.advance(4)
    world.seconds = 0.3
    world.engine.advance(6)
    assert len(world.given) > 380
    assert given_back(world) == []


def test_and_so_it_does_while_the_consuming_thread_stands_in_a_task(monkeypatch):
    world = World(slots=1, most=20, seconds=0.01)
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:dead", "maxReceiveCount": 100}
    world.attributes = {"Attributes": {"RedrivePolicy": json.dumps(policy)}}
    world.consume("orders")
    world.send("orders", 60)
    world.engine.advance(5)
    world.seconds = None
    world.send("orders")
    world.engine.advance(0.5)
    monkeypatch.setattr(world.inbox, "put", lambda *_: True)
    world.send("orders", 12)
    world.engine.advance(40)
    assert len(given_back(world)) >= 8


def test_a_consumer_that_is_gone_leaves_no_timer_behind():
    world = busy(count=20)
    world.intake.close()
    world.inbox.is_closed = True
    world.engine.advance(200)
    assert not world.intake._is_watching


def test_but_nothing_goes_back_that_could_not_spare_a_receive():
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:dead", "maxReceiveCount": 3}
    held, world = slowed_down(RedrivePolicy=json.dumps(policy))
    assert world.intake._window.held == held
    assert given_back(world) == []


def test_a_task_that_was_handed_back_says_nothing_of_the_pace():
    world = busy(count=20)
    world.engine.advance(65)
    assert world.intake._pace._average is None
    world.given[0].settle(RETURNED)
    world.engine.advance(1)
    assert world.intake._pace._average is not None  # this one had run


def test_no_limit_of_the_consumer_is_still_a_limit():
    world = World(slots=None)
    world.send("orders", 5000)
    world.consume("orders")
    world.engine.advance(5)
    assert len(world.given) == 1000


def test_settling_many_at_once_has_each_queue_looked_at_once(monkeypatch):
    world = busy("a", "b", "c", slots=20, grows_to=20)
    looks = []
    for receiver in world.intake._receivers.values():
        monkeypatch.setattr(receiver, "consider", lambda: looks.append(1))
    for delivery in world.given:
        delivery.settle(DONE)
    world.engine.turn()
    assert len(world.given) >= 10
    assert len(looks) <= 2 * 3


def test_what_is_handed_back_while_it_is_being_given_is_not_kept(monkeypatch):
    """By the engine's thread, in the middle of a look at it by the consumer's."""
    world = World(slots=1)
    world.consume("orders")
    world.engine.advance(1)
    clock, intake = world.engine.clock, world.intake
    now, meddled = clock.monotonic, []

    def monotonic():
        if intake._is_meddled_with:
            intake._is_meddled_with = False
            [held] = list(world.custody.leases)
            meddled.append(held)
            held.settle(RETURNED)
        return now()

    intake._is_meddled_with = False
    put = world.inbox.put
    held_up = []
    world.inbox.put = lambda *call: held_up.append(call) or True
    world.send("orders")
    world.engine.advance(1)
    world.inbox.put = put
    monkeypatch.setattr(clock, "monotonic", monotonic)
    intake._is_meddled_with = True
    for call, *arguments in held_up:
        call(*arguments)
    world.engine.advance(1)
    assert meddled
    assert intake.given == {}


# -- what is not to begin yet -----------------------------------------------------------------------------------------


def postponed(seconds, **options):
    """A worker that was given a message which is due in so many seconds."""
    world = World(**{"slots": 2, "seconds": 0.1, **options})
    due_at = world.engine.clock.monotonic() + seconds
    give = world.intake._give

    def give_what_is_due(delivery):
        left = due_at - world.engine.clock.monotonic() if delivery.body == "{}" else 0.0
        world.intake.postpone(delivery, left) if left > 0 else give(delivery)

    world.intake._give = give_what_is_due
    world.send("orders")
    world.consume("orders")
    return world


def sends(world):
    return [entry["DelaySeconds"] for call in world.engine.calls.of("SendMessageBatch") for entry in call.entries]


def test_what_is_soon_due_is_kept_and_given_then():
    world = postponed(4.0)
    world.engine.advance(3.9)
    assert (world.given, sends(world)) == ([], [])
    world.engine.advance(0.2)
    assert len(world.given) == 1


def test_meanwhile_it_takes_no_place_of_the_pools():
    world = postponed(4.0, slots=2, most=10, grows_to=10)
    world.send("orders", 3, body='{"is": "due"}')
    world.engine.advance(1)
    assert len(world.given) == 3
    world.engine.advance(4)
    assert len(world.given) == 4


def test_what_is_due_later_is_sent_again():
    world = postponed(6.0)
    world.engine.advance(1)
    assert (world.given, sends(world)) == ([], [6])
    assert world.intake._window.held == 0


def test_what_is_due_when_its_lease_is_over_is_sent_again_too():
    world = postponed(4.0, default=QueueOptions(visibility=3))
    world.engine.advance(1)
    assert sends(world) == [4]


def test_what_is_kept_goes_back_when_the_worker_drains_or_has_gone():
    for end in ("begin_drain", "close"):
        world = postponed(4.0)
        world.engine.advance(1)
        getattr(world.intake, end)()
        world.inbox.is_closed = end == "close"
        world.engine.advance(5)
        assert world.given == []
        assert len(given_back(world)) == 1
        assert world.intake._window.held == 0


def limited(**options):
    """A worker with two places, and a task whose rate limit lets none of its messages begin."""
    world = World(**{"slots": 2, "most": 20, "seconds": None, **options})

    def give(delivery):
        world.given.append(delivery)
        delivery.limit_rate()

    world.intake._give = give
    world.send("orders", 50)
    world.consume("orders")
    return world


def test_what_a_rate_limit_holds_back_takes_no_place_of_the_pools():
    world = limited()
    world.engine.advance(1)
    held = len(world.given)
    assert held == world.intake._window.size
    world.intake._give = world._give
    world.given[0].settle(DONE)
    world.engine.advance(1)
    assert world.given[-1].is_in_pool


def test_it_is_kept_beyond_one_lease_and_goes_back_before_sqs_takes_it():
    world = limited()
    world.engine.advance(60 * 30)
    assert given_back(world) == []
    assert not any(each.is_lost for each in world.given)
    first = list(world.given)
    world.engine.advance(12 * 3600 - 60 * 30 - 30)
    assert {each.receipt for each in first} <= set(given_back(world))
    assert not any(each.is_lost for each in first)


def test_it_goes_back_when_the_worker_drains():
    world = limited()
    world.engine.advance(1)
    world.intake.begin_drain()
    world.engine.advance(1)
    assert len(given_back(world)) == len(world.given)
    assert not world.intake._rate_limited


def test_no_more_is_fetched_than_fits_the_pool_once_it_is_seen_how_long_it_waits():
    world = limited(slots=2, most=40, grows_to=2)
    world.engine.advance(1)
    for _ in range(30):
        world.engine.advance(5)
        delivery = next(each for each in world.given if not each.is_claimed)
        assert delivery.enter_pool(limit=None)
        delivery.started(limit=None)
        delivery.settle(DONE)
    assert world.intake._window.size == 2


def test_what_is_handed_back_before_it_waits_is_counted_nowhere():
    world = limited()
    world.engine.advance(1)
    one = world.given[0]
    one.settle(RETURNED)
    one.limit_rate()
    assert one not in world.intake._rate_limited


def test_what_a_rate_limit_holds_back_keeps_slots_from_its_own_queue_only():
    world = limited()
    world.engine.advance(1)
    assert len(world.given) == world.intake._window.size
    limit = world.intake._give
    world.intake._give = lambda delivery: (limit if delivery.queue == "orders" else world._give)(delivery)
    world.seconds = 0.1
    world.send("bills", 50)
    world.consume("bills")
    world.engine.advance(30)
    assert sum(delivery.queue == "bills" for delivery in world.given) == 50
    assert sum(delivery.queue == "orders" for delivery in world.given) <= 20


def test_what_is_kept_until_it_is_due_takes_half_of_the_slots_at_most():
    world = postponed(4.0, slots=4, grows_to=4)
    world.send("orders", 9)
    world.engine.advance(1)
    assert (len(sends(world)), world.intake._window.held) == (8, 2)
    world.engine.advance(4)
    assert len(world.given) == 2
    assert not world.intake._kept


@pytest.mark.parametrize(("slots", "kept"), [(1, 0), (2, 1), (3, 1)])
def test_what_is_kept_until_it_is_due_leaves_half_of_few_slots_too(slots, kept):
    world = postponed(4.0, slots=slots, grows_to=slots)
    world.send("orders", slots + 1)
    world.engine.advance(1)
    assert len(world.intake._kept) == kept
