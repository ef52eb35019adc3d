from __future__ import annotations

import uuid

import pytest

from app.sending.answers import Answer, CallFailed, Fate
from app.sending.delivery import Delivery
from app.sending.entries import Entry


def delivery(*numbers, retry_for=60.0):
    batch = [Entry(n, uuid.UUID(int=n), {"MessageBody": "x"}) for n in numbers]
    return Delivery(batch, started=0.0, retry_for=retry_for, spread=lambda: 1.0)


def numbers(entries):
    return [entry.number for entry in entries]


def test_a_batch_that_is_taken_is_done():
    step = delivery(1, 2).answered(Answer(accepted=frozenset({1, 2})), now=0.0)
    assert numbers(step.accepted) == [1, 2]
    assert (step.pause, step.given_up, step.is_uncertain) == (None, "", False)


def test_what_failed_is_sent_again_and_nothing_else():
    batch = delivery(1, 2, 3)
    step = batch.answered(Answer(accepted=frozenset({1, 3}), failed={2: "InternalError"}), now=0.0)
    assert numbers(step.accepted) == [1, 3]
    assert numbers(batch.pending) == [2]
    assert step.pause == pytest.approx(0.2)
    assert not step.is_uncertain


def test_what_is_refused_is_told_and_not_sent_again():
    batch = delivery(1, 2)
    step = batch.answered(Answer(accepted=frozenset({1}), refused={2: "InvalidMessageContents"}), now=0.0)
    assert dict(step.refused) == {2: "InvalidMessageContents"}
    assert (batch.pending, step.pause) == ((), None)


def test_what_an_answer_does_not_name_is_uncertain_and_sent_again():
    batch = delivery(1, 2)
    step = batch.answered(Answer(accepted=frozenset({1})), now=0.0)
    assert step.is_uncertain
    assert numbers(batch.pending) == [2]


def test_a_repeat_by_the_sdk_makes_a_success_uncertain():
    step = delivery(1).answered(Answer(accepted=frozenset({1}), was_repeated=True), now=0.0)
    assert (numbers(step.accepted), step.is_uncertain, step.pause) == ([1], True, None)


def test_an_answer_for_lines_that_were_not_asked_about_changes_nothing():
    batch = delivery(1)
    step = batch.answered(Answer(accepted=frozenset({7}), refused={8: "x"}), now=0.0)
    assert (numbers(step.accepted), dict(step.refused), numbers(batch.pending)) == ([], {}, [1])


@pytest.mark.parametrize(("fate", "is_uncertain"), [(Fate.NOT_DONE, False), (Fate.UNCERTAIN, True)])
def test_a_call_that_may_pass_is_repeated_with_the_same_entries(fate, is_uncertain):
    batch = delivery(1, 2)
    step = batch.failed(CallFailed(fate, "Code"), now=0.0)
    assert numbers(batch.pending) == [1, 2]
    assert step.pause is not None
    assert step.is_uncertain is is_uncertain


def test_pauses_grow_and_have_an_upper_bound():
    batch = delivery(1, retry_for=1e6)
    pauses = [batch.failed(CallFailed(Fate.NOT_DONE, "Throttled"), now=0.0).pause for _ in range(40)]
    assert pauses[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert pauses[-1] == 10.0


def test_a_hopeless_call_gives_up_at_once():
    batch = delivery(1)
    step = batch.failed(CallFailed(Fate.REFUSED, "AccessDenied", "no"), now=0.0)
    assert (step.given_up, step.pause) == ("AccessDenied: no", None)
    assert numbers(batch.pending) == [1]


def test_it_gives_up_at_the_deadline_and_keeps_what_was_taken():
    batch = delivery(1, 2, retry_for=5.0)
    step = batch.answered(Answer(accepted=frozenset({1}), failed={2: "InternalError"}), now=4.9)
    assert step.given_up == "SQS did not take it within 5 s (InternalError)"
    assert numbers(step.accepted) == [1]
    assert step.pause is None
