"""Signals of the engine's thread are sent by a consumer, in its own."""

from __future__ import annotations

import pytest
from celery.utils.dispatch import Signal
from fake_engine import FakeEngine, delivery
from fake_sqs import FakeInbox

from app.signals import episode_began, episode_ended, lease_lost
from app.transport.announcer import Announcer
from app.transport.custody import Custody
from app.transport.episode import Episode
from app.transport.options import Options


@pytest.fixture
def heard(request):
    """What was sent, from the connection on: the signal's name, its sender, its facts."""
    heard = []
    kept = []  # Celery holds receivers weakly

    def listen(signal, **options):
        def receiver(sender, signal, **facts):
            heard.append((signal.name, sender, facts))

        kept.append(receiver)
        signal.connect(receiver, **options)
        request.addfinalizer(lambda: signal.disconnect(receiver))
        return heard

    return listen


def test_a_signal_is_sent_when_the_consumer_comes_to_it_and_by_one_only(engine, heard):
    signal = Signal(name="it_happened")
    told, announce = heard(signal), Announcer()
    for inbox in (FakeInbox(engine), FakeInbox(engine)):
        announce.listen(inbox)
    announce(signal, sender="orders", what=5)
    assert told == []
    engine.turn()
    assert told == [("it_happened", "orders", {"what": 5})]


def test_a_consumer_that_has_gone_is_forgotten_and_without_any_it_comes_to_nobody(engine, heard):
    signal = Signal(name="it_happened")
    told, announce = heard(signal), Announcer()
    gone, there = FakeInbox(engine), FakeInbox(engine)
    announce.listen(gone)
    announce.listen(there)
    gone.is_closed = True
    announce(signal, sender="orders")
    engine.turn()
    assert len(told) == 1
    there.is_closed = True
    announce(signal, sender="orders")
    announce(signal, sender="orders")
    engine.turn()
    assert len(told) == 1


def test_who_listens_to_one_queue_hears_of_no_other(engine, heard):
    signal = Signal(name="it_happened")
    told, announce = heard(signal, sender="orders"), Announcer()
    announce.listen(FakeInbox(engine))
    announce(signal, sender="bills")
    announce(signal, sender="orders")
    engine.turn()
    assert [sender for _, sender, _ in told] == ["orders"]


def test_an_episode_is_announced_once_when_it_begins_and_once_when_it_ends(engine, heard):
    told = heard(episode_began)
    heard(episode_ended)
    announce = Announcer()
    announce.listen(FakeInbox(engine))
    episode = Episode("orders", "receiving", clock=engine.clock, announce=announce)
    for _ in range(3):
        episode.failed("no answer")
    episode.failed("no queue", is_other=True)
    engine.advance(5)
    episode.worked()
    episode.worked()
    engine.turn()
    facts = {"queue": "orders", "action": "receiving"}
    assert told == [
        ("episode_began", "orders", {**facts, "reason": "no answer"}),
        ("episode_ended", "orders", {**facts, "seconds": pytest.approx(5), "failures": 4}),
    ]


def test_a_lost_lease_is_announced(heard):
    engine = FakeEngine()
    told, custody = heard(lease_lost), Custody(engine, Options())
    custody.announce.listen(FakeInbox(engine))
    mine = delivery(custody)
    custody.take(mine)
    mine.claim()
    engine.jump(61)
    engine.advance(1)
    [(_, sender, facts)] = told
    assert (sender, facts["queue"], facts["message_id"]) == (mine.queue, mine.queue, mine.message_id)
    assert "stood still" in facts["reason"]


def test_a_consumer_that_is_forgotten_meanwhile_is_no_error(engine, heard):
    """As another takes its place, in another thread, between being asked and being forgotten here."""
    signal = Signal(name="it_happened")
    heard(signal)
    announce, gone = Announcer(), FakeInbox(engine)

    class Gone:
        is_closed = False

        def put(self, *_):
            self.is_closed = True
            announce.listen(gone)
            return False

    announce.listen(Gone())
    announce(signal, sender="orders")
