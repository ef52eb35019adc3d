"""Descriptions of faults, and which call one hits."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from app.testing.sqs.faults import Fault, Faults


def some_faults(*texts: str, seed: int = 1) -> Faults:
    faults = Faults(
        actions={"ReceiveMessage", "DeleteMessage", "SendMessage"},
        random_source=random.Random(seed),
    )
    for text in texts:
        faults.add(Fault.parse(text))
    return faults


def test_a_description_is_read_and_written():
    fault = Fault.parse("ReceiveMessage:error:code=503:probability=0.05:count=3:queue=orders")
    assert fault == Fault(action="ReceiveMessage", kind="error", status=503, probability=0.05, count=3, queue="orders")
    assert Fault.from_dict(fault.as_dict()) == fault


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("A:error", ("InternalFailure", 500)),
        ("A:error:code=503", ("ServiceUnavailable", 503)),
        ("A:error:status=403", ("AccessDeniedException", 403)),
        ("A:error:code=OverLimit", ("OverLimit", None)),
        ("A:error:code=ExpiredToken:status=403", ("ExpiredToken", 403)),
        ("A:throttle", ("RequestThrottled", None)),
        ("A:throttle:code=ThrottlingException", ("ThrottlingException", None)),
    ],
)
def test_an_error_has_a_code_and_a_status(text, error):
    assert Fault.parse(text).error == error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ReceiveMessage", "write ACTION:KIND"),
        ("ReceiveMessage:explode", "choose one of answer-lost, black-hole"),
        ("ReceiveMessage:drop:probability=2", "above 0 and up to 1"),
        ("ReceiveMessage:drop:probability=0", "above 0 and up to 1"),
        ("ReceiveMessage:drop:probability=often", "is a number"),
        ("ReceiveMessage:drop:count=0", "1 or more"),
        ("ReceiveMessage:drop:when=now", "a fault has no 'when'"),
        ("ReceiveMessage:drop:now", "write NAME=VALUE"),
        ("ReceiveMessage:drop:status=500", "goes with the fault 'error'"),
        ("ReceiveMessage:error:status=200", "between 400 and 599"),
        ("ReceiveMessage:drop:code=OverLimit", "goes with the faults 'error' and 'throttle'"),
        ("ReceiveMessage:slow", "needs seconds"),
        ("ReceiveMessage:slow:seconds=-1", "cannot be"),
        ("ReceiveMessage:drop:seconds=1", "no other fault takes them"),
        ("SendMessage:duplicate", "is for ReceiveMessage"),
        ("SendMessage:deliver-to-gone", "is for ReceiveMessage"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_a_sentence(text, says):
    with pytest.raises(ValueError, match=says):
        Fault.parse(text)


def test_an_action_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no action 'RecieveMessage': choose '\\*' or one of DeleteMessage"):
        some_faults("RecieveMessage:drop")


def test_a_fault_hits_the_calls_it_names_as_often_as_it_says():
    faults = some_faults("DeleteMessage:drop:count=2:queue=a")
    assert faults.pick("ReceiveMessage", "a") is None
    assert faults.pick("DeleteMessage", "b") is None
    assert [faults.pick("DeleteMessage", "a") is not None for _ in range(3)] == [True, True, False]
    assert len(faults) == 0


def test_a_star_hits_all_calls_but_what_is_for_receives_only_those():
    faults = some_faults("*:duplicate")
    assert faults.pick("DeleteMessage", "a") is None
    assert faults.pick("ReceiveMessage", "a").kind == "duplicate"


def test_the_first_that_applies_hits():
    faults = some_faults("ReceiveMessage:drop:count=1", "ReceiveMessage:error")
    assert [faults.pick("ReceiveMessage", None).kind for _ in range(2)] == ["drop", "error"]


def test_the_same_seed_hits_the_same_calls_about_as_often_as_it_should():
    def hits(seed: int) -> list[bool]:
        faults = some_faults("SendMessage:drop:probability=0.2", seed=seed)
        return [faults.pick("SendMessage", None) is not None for _ in range(2000)]

    assert hits(7) == hits(7)
    assert hits(7) != hits(8)
    assert 320 < Counter(hits(7))[True] < 480


def test_faults_are_counted_and_turned_off():
    faults = some_faults("SendMessage:drop", "DeleteMessage:drop")
    faults.pick("SendMessage", None)
    first, second = faults.active()
    assert (first.hits, second.hits) == (1, 0)
    faults.remove(first.number)
    faults.remove(first.number)
    assert faults.pick("SendMessage", None) is None
    faults.clear()
    assert len(faults) == 0
