"""What an answer looks like on the wire."""

from __future__ import annotations

import pytest

from app.testing.http import Request, Response, encode


def head_and_body(data: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def test_an_answer_carries_its_length_and_type():
    head, body = head_and_body(encode(Response(200, b"{}", headers=(("X-A", "b"),))))
    assert head[0] == b"HTTP/1.1 200 OK"
    assert b"Content-Length: 2" in head
    assert b"Content-Type: application/json" in head
    assert b"X-A: b" in head
    assert body == b"{}"


def test_an_empty_answer_has_a_length_of_zero_and_no_type():
    head, body = head_and_body(encode(Response(200)))
    assert b"Content-Length: 0" in head
    assert not [line for line in head if line.startswith(b"Content-Type")]
    assert body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_no_length_where_http_forbids_it(status):
    head, _ = head_and_body(encode(Response(status)))
    assert not [line for line in head if line.startswith(b"Content-Length")]


def test_an_answer_to_head_has_the_length_and_not_the_body():
    head, body = head_and_body(encode(Response(200, b"12345"), head_only=True))
    assert b"Content-Length: 5" in head
    assert body == b""


def test_the_last_answer_on_a_connection_says_so():
    head, _ = head_and_body(encode(Response(200), close=True))
    assert b"Connection: close" in head


def test_a_status_without_a_name_is_sent_all_the_same():
    head, _ = head_and_body(encode(Response(599)))
    assert head[0] == b"HTTP/1.1 599 Status 599"


def test_a_request_without_a_connection_is_never_gone():
    request = Request(headers={b"host": b"h"})
    assert not request.is_gone
    assert not request.has_gone_by_now()
    assert request.header(b"host") == "h"
    assert request.header(b"accept", "any") == "any"
