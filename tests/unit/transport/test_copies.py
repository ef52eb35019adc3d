"""What a copy of a message has of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_engine import FakeEngine, delivery

from app.transport.aws import MAX_MESSAGE
from app.transport.custody.copies import copy_of

QUEUE = "https://sqs.example/orders"
NOTE = ("why", "because")


def text(value):
    return {"DataType": "String", "StringValue": value}


def message(body="{}", attributes=None, group=None):
    mine = delivery(SimpleNamespace(engine=FakeEngine()), body=body)
    mine.message_attributes = attributes or {}
    if group:
        mine.attributes["MessageGroupId"] = group
    return mine


def test_it_has_the_body_the_attributes_and_the_note():
    copy = copy_of(message("the body", {"tenant": text("7")}), QUEUE, note=NOTE)
    assert copy.url == QUEUE
    assert copy.entry == {"MessageBody": "the body", "MessageAttributes": {"tenant": text("7"), "why": text("because")}}


def test_an_older_note_is_replaced_and_what_is_over_is_left_out():
    mine = message(attributes={"why": text("older"), "hop": text("5"), "tenant": text("7")})
    copy = copy_of(mine, QUEUE, note=NOTE, without="hop")
    assert copy.entry["MessageAttributes"] == {"tenant": text("7"), "why": text("because")}
    assert set(mine.message_attributes) == {"why", "hop", "tenant"}


@pytest.mark.parametrize(("others", "has_note"), [(9, True), (10, False)])
def test_a_message_has_ten_attributes_at_most(others, has_note):
    mine = message(attributes={f"a{n}": text("x") for n in range(others)})
    assert ("why" in copy_of(mine, QUEUE, note=NOTE).entry["MessageAttributes"]) is has_note


@pytest.mark.parametrize(("left", "has_note"), [(40, True), (20, False)])
def test_a_note_that_would_make_it_too_large_is_left_out(left, has_note):
    copy = copy_of(message("x" * (MAX_MESSAGE - left)), QUEUE, note=NOTE)
    assert ("MessageAttributes" in copy.entry) is has_note
    assert copy.size <= MAX_MESSAGE


def test_it_can_be_held_back():
    assert copy_of(message(), QUEUE, note=NOTE, delay=900).entry["DelaySeconds"] == 900
    assert "DelaySeconds" not in copy_of(message(), QUEUE, note=NOTE).entry


def test_it_stays_in_its_group_and_a_fifo_queue_takes_it_once():
    copy = copy_of(mine := message(group="a"), f"{QUEUE}.fifo", note=NOTE)
    assert copy.entry["MessageGroupId"] == "a"
    assert copy.entry["MessageDeduplicationId"] == mine.message_id
    assert "MessageDeduplicationId" not in copy_of(mine, QUEUE, note=NOTE).entry
