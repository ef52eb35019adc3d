"""What is told to SQS: ten to a call, each entry's own result looked at, tried again while it can help."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_engine import PASSING, PERMANENT, RECEIPT, THROTTLED, FakeEngine, badly, delivery, well
from hypothesis import given, settings
from hypothesis import strategies as st

from app.transport.announcer import Announcer
from app.transport.custody.outbox import Outbox
from app.transport.engine import Failure, Kind, failure_of, not_understood

LINGER = 0.02


class Told:
    """What each entry's `done` was called with."""

    def __init__(self):
        self.results = {}

    def __call__(self, name):
        self.results[name] = []
        return self.results[name].append


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def outbox(engine):
    return Outbox(engine, linger=LINGER, announce=Announcer())


def message(engine, **options):
    return delivery(SimpleNamespace(engine=engine), **options)


def delete(outbox, engine, done=lambda _: None, *, until=60.0, **options):
    outbox.delete(message(engine, **options), done, until=engine.clock.monotonic() + until)


def sizes(engine):
    return [len(call.entries) for call in engine.calls.take()]


def test_ten_go_at_once_and_fewer_when_the_linger_is_over(engine, outbox):
    for _ in range(23):
        delete(outbox, engine)
    assert sizes(engine) == [10, 10]
    engine.advance(LINGER * 0.9)
    assert sizes(engine) == []
    engine.advance(LINGER * 0.1)
    assert sizes(engine) == [3]


def test_queues_and_actions_are_not_mixed(engine, outbox):
    delete(outbox, engine, receipt="a")
    delete(outbox, engine, queue="mails", receipt="b")
    outbox.make_visible(message(engine, receipt="c"), 30.4, lambda _: None, until=60)
    engine.advance(LINGER)
    assert [(call.action, call.parameters) for call in engine.calls.made] == [
        (
            "DeleteMessageBatch",
            {"QueueUrl": "https://sqs.example/orders", "Entries": [{"Id": "0", "ReceiptHandle": "a"}]},
        ),
        (
            "DeleteMessageBatch",
            {"QueueUrl": "https://sqs.example/mails", "Entries": [{"Id": "0", "ReceiptHandle": "b"}]},
        ),
        (
            "ChangeMessageVisibilityBatch",
            {
                "QueueUrl": "https://sqs.example/orders",
                "Entries": [{"Id": "0", "ReceiptHandle": "c", "VisibilityTimeout": 30}],
            },
        ),
    ]


def test_each_entry_gets_its_own_result(engine, outbox, told):
    for name in "abc":
        delete(outbox, engine, told(name))
    engine.advance(LINGER)
    [call] = engine.calls.take()
    call.answer(
        {
            "Successful": [{"Id": "0"}],
            "Failed": [
                {"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": True, "Message": "no"},
                {"Id": "2", "Code": "InternalError", "SenderFault": False},
            ],
        }
    )
    assert told.results["a"] == [None]
    assert [failure.kind for failure in told.results["b"]] == [Kind.RECEIPT]
    assert told.results["c"] == []
    assert len(outbox) == 1
    engine.advance(1)
    [again] = engine.calls.take()
    again.answer(well(again))
    assert told.results["c"] == [None]
    assert len(outbox) == 0


@pytest.mark.parametrize("answer", [{}, {"Successful": "?"}, {"Successful": [None]}, {"Successful": [{"Id": "7"}]}])
def test_an_entry_of_which_the_answer_says_nothing_is_tried_again(engine, outbox, told, caplog, answer):
    delete(outbox, engine, told("a"))
    engine.advance(LINGER)
    engine.calls.take()[0].answer(answer)
    engine.advance(1)
    [again] = engine.calls.take()
    again.answer(well(again))
    assert told.results["a"] == [None]
    assert [message.partition("(")[0] for message in caplog.messages] == [
        "Queue orders: deleting fails ",
        "Queue orders: deleting works again, after 1.0 s and 1 failed calls",
    ]


def test_that_all_entries_fail_for_now_is_told_and_that_some_do_is_not(engine, outbox, caplog):
    """One entry's trouble is nothing that someone on call could mend; it is told when it is given up."""
    busy = {"Code": "InternalError", "SenderFault": False}
    for _ in range(2):
        delete(outbox, engine)
    engine.advance(LINGER)
    engine.calls.take()[0].answer({"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", **busy}]})
    assert caplog.messages == []
    engine.advance(1)
    engine.calls.take()[0].answer({"Failed": [{"Id": "0", **busy}]})
    assert caplog.messages == ["Queue orders: deleting fails (InternalError); trying on"]


@pytest.mark.parametrize("failure", [RECEIPT, PERMANENT])
def test_what_will_not_work_is_not_tried_again(engine, outbox, told, failure):
    delete(outbox, engine, told("a"))
    engine.advance(LINGER)
    engine.calls.take()[0].answer(failure)
    engine.advance(60)
    assert engine.calls.made == []
    assert told.results["a"] == [failure]
    assert outbox.given_up == {"deleting": 1}


@pytest.mark.parametrize("failure", [PASSING, THROTTLED])
def test_what_failed_together_is_tried_again_together(engine, outbox, failure):
    """Else trouble, or the wish for fewer calls, made ten calls of one."""
    for _ in range(10):
        delete(outbox, engine)
    for _ in range(4):
        [call] = engine.calls.take()
        assert len(call.entries) == 10
        call.answer(failure)
        engine.advance(5 + LINGER)


def test_it_is_tried_with_growing_pauses_until_it_is_too_late_and_once_more_near_the_end(engine, outbox, told):
    engine.calls.reply = lambda _: (0.01, PASSING)
    delete(outbox, engine, told("a"), until=30.0)
    engine.advance(60)
    times = [call.at for call in engine.calls.made]
    assert 8 <= len(times) <= 25
    assert 29 < times[-1] <= 30
    assert told.results["a"] == [PASSING]
    assert len(outbox) == 0
    assert engine.timers == []


UNSURE = Failure(Kind.PASSING, "NoAnswer", is_unsure=True)


@pytest.mark.parametrize("failure", [UNSURE, failure_of(502, ""), not_understood("x")])
def test_a_release_that_may_have_been_heard_is_not_sent_again(engine, outbox, told, failure):
    """Somebody else may have the message since, and would lose it."""
    outbox.make_visible(message(engine), 0, told("a"), until=engine.clock.monotonic() + 60)
    engine.advance(LINGER)
    engine.calls.take()[0].answer(failure)
    engine.advance(60)
    assert engine.calls.made == []
    assert told.results["a"] == [failure]
    assert len(outbox) == 0


@pytest.mark.parametrize("failure", [PASSING, THROTTLED, Failure(Kind.PASSING, "NoAnswer")])
def test_one_that_was_refused_or_not_sent_is(engine, outbox, failure):
    outbox.make_visible(message(engine), 0, lambda _: None, until=engine.clock.monotonic() + 60)
    engine.advance(LINGER)
    engine.calls.take()[0].answer(failure)
    engine.advance(5)
    assert sizes(engine) == [1]


@pytest.mark.parametrize("afterwards", [UNSURE, THROTTLED])
def test_a_delay_is_while_nobody_can_have_the_message_by_an_earlier_try(engine, outbox, told, afterwards):
    engine.calls.reply = lambda _: (0.01, UNSURE if len(engine.calls.made) == 1 else afterwards)
    outbox.make_visible(message(engine), 40, told("a"), until=engine.clock.monotonic() + 300)
    engine.advance(300)
    times = [call.at for call in engine.calls.made]
    assert len(times) > 2
    assert times[-1] - times[0] <= 30
    assert told.results["a"] == [afterwards]


def test_and_so_is_a_renewal(engine, outbox):
    outbox.renew(message(engine), 60, lambda _: None, until=engine.clock.monotonic() + 20)
    engine.advance(LINGER)
    engine.calls.take()[0].answer(UNSURE)
    engine.advance(5)
    assert sizes(engine) == [1]


def test_what_is_too_late_already_is_tried_once(engine, outbox, told):
    delete(outbox, engine, told("a"), until=-5.0)
    engine.advance(LINGER)
    [call] = engine.calls.take()
    call.answer(PASSING)
    engine.advance(60)
    assert engine.calls.made == []
    assert told.results["a"] == [PASSING]


def test_the_receipt_is_the_newest_when_it_is_sent(engine, outbox):
    late = message(engine, receipt="old")
    outbox.delete(late, lambda _: None, until=60)
    late.receipt = "new"
    engine.advance(LINGER)
    assert engine.calls.made[0].receipts == ["new"]


def test_a_renewal_of_what_is_settled_meanwhile_is_not_sent_any_more(engine, outbox, told):
    """It would hide the message that was just given back, or delay what is to come back soon."""
    mine = message(engine, receipt="mine")
    outbox.renew(mine, 60, told("renewal"), until=60)
    mine.close()
    outbox.make_visible(mine, 0, told("return"), until=60)
    engine.advance(LINGER)
    [call] = engine.calls.take()
    assert [entry["VisibilityTimeout"] for entry in call.entries] == [0]
    assert told.results == {"renewal": [None], "return": []}


def test_neither_when_its_first_try_failed(engine, outbox, told):
    mine = message(engine)
    outbox.renew(mine, 60, told("renewal"), until=60)
    engine.advance(LINGER)
    engine.calls.take()[0].answer(PASSING)
    mine.close()
    engine.advance(10)
    assert engine.calls.made == []
    assert told.results["renewal"] == [None]
    assert len(outbox) == 0


@pytest.mark.parametrize(("left", "within"), [(60.0, 10.0), (4.0, 2.0), (0.1, 0.5), (-5.0, 0.5)])
def test_a_call_that_hangs_leaves_time_for_another(engine, outbox, left, within):
    """A renewal is due when four tenths of the lease are left: with a lease of 10 s that is 4."""
    delete(outbox, engine, until=left + LINGER)
    engine.advance(LINGER)
    [call] = engine.calls.take()
    assert call.within == pytest.approx(within)


def test_in_a_hurry_nothing_waits_until_all_is_told(engine, outbox):
    delete(outbox, engine)
    outbox.hurry()
    delete(outbox, engine)
    calls = engine.calls.take()
    assert [len(call.entries) for call in calls] == [1, 1]
    for call in calls:
        call.answer(well(call))
    delete(outbox, engine)
    delete(outbox, engine)
    assert engine.calls.made == []  # one consumer's end is no reason for the others to pay ten calls for one
    outbox.hurry()
    assert sizes(engine) == [2]


def test_an_error_in_one_answer_is_none_in_the_others(engine, outbox, told, caplog):
    def broken(_):
        raise KeyError

    delete(outbox, engine, broken)
    delete(outbox, engine, told("b"))
    engine.advance(LINGER)
    [call] = engine.calls.take()
    call.answer(well(call))
    assert told.results["b"] == [None]
    assert len(outbox) == 0
    assert "Queue orders: the outbox goes on" in caplog.text


def test_it_is_full_when_too_much_is_not_answered(engine, outbox):
    for _ in range(4_999):
        delete(outbox, engine)
    assert not outbox.is_full
    delete(outbox, engine)
    assert outbox.is_full


def test_trouble_is_told_when_it_begins_and_when_it_is_over(engine, outbox, caplog):
    engine.calls.reply = lambda _: (0.01, PASSING)
    delete(outbox, engine)
    delete(outbox, engine, queue="mails")
    engine.advance(10)
    engine.calls.reply = lambda call: (0.01, well(call))
    engine.advance(10)
    told = [record.getMessage() for record in caplog.records]
    assert sum("fails" in each for each in told) == sum("works again" in each for each in told) == 2
    assert "Queue mails: deleting fails (InternalError); trying on" in told


kinds = st.sampled_from(["well", "passing", "throttled", "receipt", "permanent", "each", "nothing", "late"])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.1), st.sampled_from(["delete", "change", "renew", "settle"])), max_size=60),
    st.lists(kinds, min_size=1, max_size=20),
)
def test_whatever_is_answered_every_entry_ends_once_and_none_waits_longer_than_the_linger(steps, course):
    engine, told = FakeEngine(), Told()
    outbox = Outbox(engine, linger=LINGER, announce=Announcer())
    replies = iter(course)

    def reply(call):
        kind = next(replies, "well")
        failures = {"passing": PASSING, "throttled": THROTTLED, "receipt": RECEIPT, "permanent": PERMANENT}
        answer = {"well": well(call), "late": well(call), "each": badly(call), "nothing": {}} | failures
        return (9.0 if kind == "late" else 0.01), answer[kind]

    engine.calls.reply = reply
    entered, renewed = {}, []
    for number, (pause, step) in enumerate(steps):
        engine.advance(pause)
        if step == "settle":
            for each in renewed:
                each.close()
            continue
        mine = message(engine, receipt=str(number))
        entered[str(number)] = engine.clock.monotonic()
        if step == "delete":
            outbox.delete(mine, told(number), until=engine.clock.monotonic() + 20)
        elif step == "change":
            outbox.make_visible(mine, 5, told(number), until=engine.clock.monotonic() + 20)
        else:
            renewed.append(mine)
            outbox.renew(mine, 60, told(number), until=engine.clock.monotonic() + 20)
    engine.advance(120)

    assert [len(results) for results in told.results.values()] == [1] * len(entered)
    assert len(outbox) == 0
    assert engine.timers == []
    first = {}
    for call in engine.calls.made:
        assert 1 <= len(call.entries) <= 10
        assert len({entry["Id"] for entry in call.entries}) == len(call.entries)
        for receipt in call.receipts:
            first.setdefault(receipt, call.at)
    for receipt, at in first.items():
        assert at - entered[receipt] <= LINGER + 1e-6
