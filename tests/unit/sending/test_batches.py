from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.batches import gather
from app.sending.entries import MAX_MESSAGE, Entry, entries
from app.sending.ids import task_id
from app.sending.lines import BadLine, Line
from app.sending.ranges import ranges_of


def entry(number, size=10):
    return Entry(number, uuid.UUID(int=number), {"MessageBody": "x" * size})


def numbers(batches):
    return [[entry.number for entry in batch] for batch in batches]


def test_ten_go_into_a_call():
    assert numbers(gather(entry(n) for n in range(1, 24))) == [
        list(range(1, 11)),
        list(range(11, 21)),
        [21, 22, 23],
    ]


def test_fewer_go_into_a_call_when_they_are_large():
    assert numbers(gather([entry(1, 60), entry(2, 40), entry(3, 1), entry(4, 100)], max_bytes=100)) == [
        [1, 2],
        [3],
        [4],
    ]


def test_a_pause_sends_what_is_there():
    assert numbers(gather([entry(1), entry(2), None, entry(3), None, None])) == [[1, 2], [3], []]


def test_a_full_batch_does_not_wait_for_what_comes_after_it():
    def source():
        yield from (entry(n) for n in range(1, 11))
        raise AssertionError("asked for more")

    assert len(next(gather(source()))) == 10


@given(st.lists(st.integers(1, 100)))
def test_all_are_sent_in_order_within_the_bounds(sizes):
    batches = list(gather((entry(n, size) for n, size in enumerate(sizes, 1)), max_bytes=100))
    assert [number for batch in numbers(batches) for number in batch] == list(range(1, len(sizes) + 1))
    assert all(1 <= len(batch) <= 10 and sum(e.size for e in batch) <= 100 for batch in batches)


@pytest.mark.parametrize("body", ["\x00", "a\x0b", "\ufffe", "\uffff", "\ud800", "\x1f"])
def test_a_character_that_sqs_does_not_take_is_refused(body):
    with pytest.raises(ValueError, match="character"):
        Entry(1, uuid.UUID(int=1), {"MessageBody": body})


@pytest.mark.parametrize("body", ["\t\n\r ", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff"])
def test_the_characters_around_those_are_taken(body):
    assert Entry(1, uuid.UUID(int=1), {"MessageBody": body}).size == len(body.encode())


def test_a_message_of_the_most_bytes_is_taken_and_one_more_is_not():
    assert entry(1, MAX_MESSAGE).size == MAX_MESSAGE
    with pytest.raises(ValueError, match=r"1,048,577 bytes; SQS takes 1,048,576"):
        entry(1, MAX_MESSAGE + 1)


def test_attributes_count_as_sqs_counts_them():
    """Name, type and value each: see SendMessage in the API reference of SQS."""
    attributes = {
        "kind": {"DataType": "String", "StringValue": "é"},
        "raw": {"DataType": "Binary", "BinaryValue": b"12"},
    }
    assert Entry(1, uuid.UUID(int=1), {"MessageBody": "x", "MessageAttributes": attributes}).size == 1 + 12 + 11


def test_lines_become_entries_under_their_own_ids_and_bad_ones_are_told():
    told = []
    lines = [Line(1, b"1"), BadLine(2, "too long"), Line(3, b"{"), None, Line(4, b'"d"'), Line(5, b"5")]
    made = list(
        entries(
            lines,
            message=lambda value, id_: {"MessageBody": f"{value} {id_}"},
            run_id="r",
            done=ranges_of([1]),
            bad=lambda number, reason: told.append((number, reason)),
        )
    )
    assert made[0] is None
    assert [(e.number, e.task_id) for e in made[1:]] == [(4, task_id("r", 4, b'"d"')), (5, task_id("r", 5, b"5"))]
    assert made[1].message == {"MessageBody": f"d {made[1].task_id}"}
    assert [number for number, _ in told] == [2, 3]
    assert told[1][1].startswith("it is not JSON")


def test_a_message_that_is_too_large_is_a_bad_line():
    told = []
    made = entries(
        [Line(1, b"1"), Line(2, b"2")],
        message=lambda value, _: {"MessageBody": "x" * (MAX_MESSAGE + 1 if value == 1 else 1)},
        run_id="r",
        done=ranges_of([]),
        bad=lambda number, reason: told.append((number, reason)),
    )
    assert [e.number for e in made] == [2]
    assert told == [(1, "its message has 1,048,577 bytes; SQS takes 1,048,576")]


def test_a_value_too_deep_to_write_is_a_bad_line():
    told = []

    def message(*_):
        raise RecursionError

    made = entries(
        [Line(1, b"1")], message=message, run_id="r", done=ranges_of([]), bad=lambda *what: told.append(what)
    )
    assert list(made) == []
    assert told == [(1, "its JSON is nested too deep")]
