"""Whether all has arrived."""

from __future__ import annotations

from app.local.progress import Reading
from app.local.verdict import judge

EMPTY = Reading(at=0.0, sent=3, waiting=0, in_work=0, done=3, dead=0)
IDS = ["a", "b", "c"]


def test_all_is_well_when_the_same_ids_arrived_and_all_queues_are_empty():
    assert judge(IDS, ["c", "a", "b", "a"], EMPTY).is_good


def test_nothing_sent_and_nothing_arrived_is_well_too():
    assert judge([], [], EMPTY).is_good


def test_what_is_missing_is_counted_and_the_first_ten_are_named_in_the_order_of_sending():
    ids = [f"id-{number}" for number in range(30, 0, -1)]
    verdict = judge(ids, ids[5:10], EMPTY)
    assert not verdict.is_good
    named = ", ".join(ids[:5] + ids[10:15])
    assert verdict.problems == (f"25 of 30 events are missing downstream: {named} and 15 more",)


def test_an_event_that_nobody_sent_is_a_problem():
    assert judge(IDS, [*IDS, "x"], EMPTY).problems == ("1 events arrived downstream that were not sent: x",)


def test_events_that_could_not_be_sent_are_a_problem_though_nothing_is_lost():
    assert judge(IDS, IDS, EMPTY, not_sent=2).problems == ("2 events were not sent",)


def test_what_is_left_in_the_queues_is_a_problem():
    left = Reading(at=0.0, sent=3, waiting=2, in_work=1, done=3, dead=4)
    assert judge(IDS, IDS, left).problems == (
        "the queue is not empty: 2 waiting, 1 in work",
        "the dead-letter queue is not empty: 4 messages",
    )


def test_queues_that_nobody_could_look_at_are_a_problem():
    assert judge(IDS, IDS, None).problems == ("the queues could not be looked at",)
