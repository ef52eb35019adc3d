"""Trouble is told twice: when it begins and when it is over; and in between when it has become another."""

from __future__ import annotations

from app.transport.announcer import Announcer
from app.transport.episode import Episode


def test_it_is_told_when_it_begins_and_when_it_is_over(manual_clock, caplog):
    episode = Episode("orders", "receiving", clock=manual_clock, announce=Announcer())
    episode.worked()
    assert [episode.failed("no answer") for _ in range(3)] == [1, 2, 3]
    manual_clock.advance(12.34)
    episode.worked()
    episode.worked()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "Queue orders: receiving fails (no answer); trying on"),
        ("WARNING", "Queue orders: receiving works again, after 12.3 s and 3 failed calls"),
    ]


def test_the_next_one_is_another(manual_clock, caplog):
    episode = Episode("orders", "receiving", clock=manual_clock, announce=Announcer())
    episode.failed("first")
    episode.worked()
    manual_clock.advance(60)
    assert episode.failed("second") == 1
    episode.worked()
    assert caplog.messages[2:] == [
        "Queue orders: receiving fails (second); trying on",
        "Queue orders: receiving works again, after 0.0 s and 1 failed calls",
    ]


def test_another_trouble_is_told_too(manual_clock, caplog):
    episode = Episode("orders", "receiving", clock=manual_clock, announce=Announcer())
    assert [episode.failed("no answer"), episode.failed("no queue", is_other=True), episode.failed("no queue")] == [
        1,
        2,
        3,
    ]
    episode.worked()
    assert caplog.messages == [
        "Queue orders: receiving fails (no answer); trying on",
        "Queue orders: receiving fails (no queue); trying on",
        "Queue orders: receiving works again, after 0.0 s and 3 failed calls",
    ]
