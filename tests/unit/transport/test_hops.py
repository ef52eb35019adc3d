"""What is due later than SQS can hold it back: sent again until it is due, never lost, dropped if it is there twice."""

from __future__ import annotations

import json
import logging

import pytest
from fake_engine import PASSING, PERMANENT, FakeIntake, badly, delivery, sent, well

from app.outcome import DONE, RETURNED, early, reject, retry
from app.transport.announcer import Announcer
from app.transport.custody import Custody
from app.transport.custody.done import Done
from app.transport.custody.hops import ATTRIBUTE, Hops
from app.transport.options import Options

HOUR = 3600.0
CHANGE = "ChangeMessageVisibilityBatch"
NEVER = object()


def note(message_id, hop):
    return {ATTRIBUTE: {"DataType": "String", "StringValue": json.dumps({"message_id": message_id, "hop": hop})}}


class World:
    def __init__(self, engine):
        self.engine = engine
        self.send = sent
        engine.calls.reply = self.reply
        self.custody = Custody(engine, Options())

    def reply(self, call):
        if call.action == "SendMessageBatch":
            answer = self.send(call) if callable(self.send) else self.send
            return None if answer is NEVER else (0.01, answer)
        if call.action == "GetQueueAttributes":
            return 0.01, PERMANENT
        return 0.01, well(call)

    def receive(self, message_id=None, attributes=None, queue="orders"):
        """A message that comes; None: it is not to run."""
        mine = delivery(self.custody, FakeIntake(), message_id=message_id, queue=queue)
        mine.message_attributes = attributes or {}
        return mine if self.custody.take(mine) else None

    def hop(self, seconds=HOUR, **options):
        mine = self.receive(**options)
        mine.settle(early(seconds))
        self.engine.advance(1)
        return mine

    def copies(self):
        return [entry for call in self.engine.calls.of("SendMessageBatch") for entry in call.entries]

    def deleted(self):
        return [receipt for call in self.engine.calls.of("DeleteMessageBatch") for receipt in call.receipts]


@pytest.fixture
def world(engine):
    return World(engine)


@pytest.mark.parametrize(("seconds", "delay"), [(HOUR, 900), (900, 900), (60.2, 61)])
def test_its_copy_comes_when_it_is_due_or_as_late_as_sqs_allows(world, seconds, delay):
    mine = world.hop(seconds)
    [copy] = world.copies()
    assert (copy["MessageBody"], copy["DelaySeconds"]) == (mine.body, delay)
    assert world.deleted() == [mine.receipt]
    assert not world.engine.calls.of(CHANGE)
    assert mine.intake.slots_freed == [mine]


def test_each_copy_says_of_which_message_it_is_and_how_many_there_were(world):
    first = world.hop()
    world.hop(attributes=note(first.message_id, 1))
    said = [json.loads(copy["MessageAttributes"][ATTRIBUTE]["StringValue"]) for copy in world.copies()]
    assert said == [{"message_id": first.message_id, "hop": hop} for hop in (1, 2)]


def test_ten_are_sent_with_one_call(world):
    for mine in [world.receive() for _ in range(20)]:
        mine.settle(early(HOUR))
    world.engine.advance(1)
    assert [len(call.entries) for call in world.engine.calls.of("SendMessageBatch")] == [10, 10]
    assert len(world.deleted()) == 20


def test_it_is_deleted_only_once_its_copy_is_there(world):
    world.send = PASSING
    mine = world.hop()
    assert world.deleted() == []
    world.send = sent
    world.engine.advance(10)
    assert world.deleted() == [mine.receipt]


@pytest.mark.parametrize("answer", [PASSING, PERMANENT, well, badly, {}])
def test_where_no_copy_is_taken_it_stays_invisible_instead_as_long_as_sqs_allows(world, answer, caplog):
    world.send = answer
    mine = world.hop(2 * 24 * HOUR)
    world.engine.advance(40)
    assert world.deleted() == []
    [call] = world.engine.calls.of(CHANGE)
    [entry] = call.entries
    assert entry["ReceiptHandle"] == mine.receipt
    assert 43_200 - 60 <= entry["VisibilityTimeout"] < 43_200
    assert "sending again what is due later fails" in caplog.text


def test_that_is_told_when_it_begins_and_when_it_is_over(world, caplog):
    caplog.set_level(logging.WARNING)
    world.send = PERMANENT
    for _ in range(3):
        world.hop()
    assert caplog.text.count("sending again what is due later fails") == 1
    world.send = sent
    world.hop()
    assert "sending again what is due later works again" in caplog.text


def test_a_fifo_queue_is_not_asked_for_what_it_cannot_do(world):
    mine = world.hop(60, queue="orders.fifo")
    assert world.copies() == []
    [call] = world.engine.calls.of(CHANGE)
    assert (call.receipts, call.entries[0]["VisibilityTimeout"]) == ([mine.receipt], 60)


def test_what_comes_again_while_its_copy_is_on_its_way_is_deleted_with_it(world):
    world.send = NEVER
    mine = world.receive()
    mine.settle(early(HOUR))
    world.engine.advance(0.1)
    assert world.receive(message_id=mine.message_id) is None
    assert len(world.copies()) == 1


# -- two that are the same --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [DONE, early(HOUR), None])
@pytest.mark.parametrize("hop", [1, 2, 3])
def test_another_of_the_same_hop_or_an_earlier_one_is_dropped_if_the_first_is_done_sent_on_or_in_work(
    world, outcome, hop
):
    first = world.receive("copy-a", note("root", 3))
    if outcome is not None:
        first.settle(outcome)
        world.engine.advance(1)
    assert world.receive("copy-b", note("root", hop)) is None
    assert world.receive("copy-c", note("root", hop)) is None
    assert world.receive("root") is None
    world.engine.advance(1)
    assert len(world.deleted()) == (4 if outcome else 3)


def test_a_later_one_is_dropped_if_an_earlier_one_ran(world):
    """The process that sent it died before it could delete the earlier one, which came here."""
    world.receive("root").settle(DONE)
    world.engine.advance(1)
    assert world.receive("copy", note("root", 1)) is None


def test_a_later_one_takes_the_place_of_an_earlier_one_that_has_not_begun(world):
    """It may be the earlier one that counts as sent on in another process, which deletes it as soon as it sees it."""
    earlier = world.receive("root")
    later = world.receive("copy", note("root", 1))
    world.engine.advance(1)
    assert world.deleted() == [earlier.receipt]
    assert (earlier.claim(), earlier.intake.slots_freed) == (False, [earlier])
    later.settle(RETURNED)
    world.engine.advance(1)
    assert world.receive("copy", note("root", 1)) is not None


def test_but_not_of_one_that_runs(world):
    world.receive("root").claim()
    assert world.receive("copy", note("root", 1)) is not None
    world.engine.advance(1)
    assert world.deleted() == []


def test_what_is_ours_no_more_is_no_reason_to_drop_another(world):
    world.receive("copy-a", note("root", 1)).claim()
    world.engine.jump(61)
    assert world.receive("copy-b", note("root", 1)) is not None


def test_what_was_dropped_is_looked_at_anew_when_it_comes_again(world):
    """It does not count as done: what it was dropped for may be dropped for it elsewhere."""
    first = world.receive("copy-a", note("root", 1))
    world.send, reply = sent, world.reply
    world.engine.calls.reply = lambda call: (0.01, PERMANENT) if call.action == "DeleteMessageBatch" else reply(call)
    assert world.receive("copy-b", note("root", 1)) is None
    first.settle(RETURNED)
    world.engine.advance(1)
    assert world.receive("copy-b", note("root", 1)) is not None


@pytest.mark.parametrize("outcome", [RETURNED, retry(5.0), reject("no")])
@pytest.mark.parametrize("hop", [2, 3, 4])
def test_it_is_kept_if_the_first_went_back(world, outcome, hop):
    first = world.receive("copy-a", note("root", 3))
    first.settle(outcome)
    world.engine.advance(1)
    assert world.receive("copy-b", note("root", hop)) is not None


def test_the_next_hop_of_a_message_is_no_duplicate_also_while_it_is_not_known_whether_it_was_sent(world):
    world.hop(message_id="root")
    world.send = NEVER
    one = world.receive("copy-a", note("root", 1))
    one.settle(early(HOUR))
    world.engine.advance(0.1)
    assert world.receive("copy-b", note("root", 2)) is not None
    assert world.receive("copy-c", note("another", 1)) is not None


def test_nor_is_one_that_comes_once_more_by_itself(world):
    first = world.receive("copy-a", note("root", 1))
    first.settle(RETURNED)
    world.engine.advance(1)
    again = world.receive("copy-a", note("root", 1))
    assert again is not None
    again.settle(DONE)
    world.engine.advance(1)
    assert world.receive("copy-b", note("root", 1)) is None


def test_a_root_that_could_not_be_sent_on_comes_again(world):
    world.send = PERMANENT
    world.hop(60, message_id="root")
    world.engine.advance(60)
    assert world.receive("root") is not None


def test_messages_without_room_for_the_note_are_all_their_own(world):
    ten = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(10)}
    world.hop(message_id="root", attributes=ten)
    assert ATTRIBUTE not in world.copies()[0]["MessageAttributes"]
    assert world.receive("copy-a", ten) is not None
    assert world.receive("copy-b", ten) is not None


@pytest.mark.parametrize(
    "said",
    [
        "",
        "5",
        "{}",
        '{"message_id": "root"}',
        '{"hop": "x", "message_id": "root"}',
        '{"hop": Infinity, "message_id": "root"}',
        '{"hop": NaN, "message_id": "root"}',
        '{"hop": true, "message_id": "root"}',
        '{"hop": -5, "message_id": "root"}',
        '{"hop": 1.5, "message_id": "root"}',
        '{"hop": 1, "message_id": ["root"]}',
        '{"hop": %s, "message_id": "root"}' % ("9" * 4_000),
        "[" * 100_000,
    ],
)
def test_a_note_that_says_nothing_does_no_harm(world, said):
    broken = {ATTRIBUTE: {"DataType": "String", "StringValue": said}}
    mine = world.hop(message_id="a", attributes=broken)
    [copy] = world.copies()
    assert json.loads(copy["MessageAttributes"][ATTRIBUTE]["StringValue"]) == {"message_id": mine.message_id, "hop": 1}
    assert world.receive("b", broken) is not None


def test_a_message_that_names_itself_a_copy_of_another_does_that_one_no_harm(world):
    """Who may send to the queue may write what he wants, and must not have others' messages dropped."""
    victim = world.receive("victim")
    mallory = delivery(world.custody, FakeIntake(), message_id="mallory", body='{"another": "call"}')
    mallory.message_attributes = note("victim", 5)
    assert world.custody.take(mallory)
    world.engine.advance(1)
    assert (world.deleted(), victim.is_claimed) == ([], False)
    victim.settle(RETURNED)
    world.engine.advance(1)
    assert world.receive("victim") is not None


def test_only_so_many_are_remembered_and_none_that_takes_no_hop(engine):
    nobody = {"is_ours": lambda _: False, "replace": lambda *_: None, "announce": Announcer()}
    hops = Hops(engine, None, Done(), longest=900, most=100, **nobody)
    for n in range(1000):
        mine = delivery(Custody(engine, Options()), message_id=f"copy-{n}")
        assert hops.is_wanted(mine)
        mine.message_attributes = note(f"root-{n}", 1)
        assert hops.is_wanted(mine)
        assert len(hops) == min(n + 1, 100)
