from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.lines import MAX_LINE, BadLine, Line, split, value_of


def test_lines_are_numbered_and_empty_ones_count_but_are_skipped():
    assert list(split([b'{"a":1}\n\n  \r\n[2]\r\n3'])) == [Line(1, b'{"a":1}'), Line(4, b"[2]"), Line(5, b"3")]


def test_nothing_is_no_line():
    assert list(split([])) == list(split([b"\n\n"])) == []


def test_a_byte_order_mark_is_not_part_of_the_first_line():
    assert list(split([b"\xef\xbb\xbf1\n"])) == [Line(1, b"1")]


def test_a_line_that_is_too_long_is_named_and_the_next_one_is_read():
    chunks = [b"1\n", b"x" * 900, b"x" * 900, b"x" * 900, b"x\n2\n"]
    first, bad, last = split(chunks, max_line=1000)
    assert (first, last) == (Line(1, b"1"), Line(3, b"2"))
    assert isinstance(bad, BadLine)
    assert bad.number == 2
    assert "longer than 1,000 bytes" in bad.reason


def test_a_last_line_that_is_too_long_and_has_no_end_is_named_too():
    (bad,) = split([b"x" * 2000] * 3, max_line=1000)
    assert bad.number == 1


def test_a_line_of_exactly_the_most_is_read():
    assert list(split([b"x" * 1000 + b"\r\n"], max_line=1000)) == [Line(1, b"x" * 1000)]
    assert isinstance(next(split([b"x" * 1001 + b"\n"], max_line=1000)), BadLine)


def test_a_pause_is_passed_on_between_lines_and_within_one():
    assert list(split([b"1\n2", None, b"2\n"])) == [Line(1, b"1"), None, Line(2, b"22")]


def test_reading_holds_one_line_and_no_more():
    """Given an endless source, when one line is taken, then no further chunk has been read."""
    read = []

    def source():
        while True:
            read.append(1)
            yield b"1\n"

    lines = split(source())
    next(lines)
    assert len(read) == 1


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(1, 7)))
def test_how_the_bytes_are_cut_into_chunks_makes_no_difference(pieces, sizes):
    data = b"\n".join(pieces)
    whole = list(split([data]))
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    assert list(split([*chunks, data[at:]])) == whole


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": }', "not JSON: Expecting value (column 7)"),
        (b'{"a": 1} {"b": 2}', "not JSON: Extra data"),
        (b"\xff", "not UTF-8 (byte 1)"),
        (b'"\xc3\x28"', "not UTF-8 (byte 2)"),
        (b"NaN", "not JSON: NaN is no JSON value"),
        (b"[-Infinity]", "-Infinity is no JSON value"),
        (b"[" * 200_000, "nested too deep"),
        (b'"\x01"', "Invalid control character"),
        (b"9" * 5000, "digits"),
        (b"1e400", "beyond the range"),
        (b'{"n": [-1.5E+999]}', "beyond the range"),
    ],
    ids=range(11),
)
def test_a_bad_line_has_a_reason_that_does_not_show_it(content, reason):
    with pytest.raises(ValueError) as caught:
        value_of(Line(1, content))
    assert reason in str(caught.value)


def test_the_reason_keeps_what_is_in_the_line_to_itself():
    with pytest.raises(ValueError) as caught:
        value_of(Line(1, b'{"password": "hunter2" oops'))
    assert "hunter2" not in str(caught.value)
    assert "oops" not in str(caught.value)


@pytest.mark.parametrize("value", [None, True, 0, 10**400, 1.5e308, "text", "é", [], {"id": "a", "n": [1.5]}])
def test_any_json_value_is_a_value(value):
    assert value_of(Line(1, json.dumps(value, ensure_ascii=False).encode())) == value


def test_the_longest_line_is_no_longer_than_a_message():
    assert MAX_LINE == 1_048_576
