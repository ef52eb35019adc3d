"""The HTTP server over real loopback sockets, plain and over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from app.testing import http
from app.testing.http import HTTPServer, Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

DEADLINE = 10.0
TLS: dict[str, ssl.SSLContext | None] = {"server": None, "client": None}


@pytest.fixture(autouse=True, params=["plain", "tls"])
def is_tls(request, monkeypatch, tls_contexts):
    if request.param == "tls":
        monkeypatch.setitem(TLS, "server", tls_contexts[0])
        monkeypatch.setitem(TLS, "client", tls_contexts[1])
    return request.param == "tls"


@contextlib.asynccontextmanager
async def serving(handler, **options) -> AsyncIterator[HTTPServer]:
    server = HTTPServer(handler, **options)
    await server.start(tls=TLS["server"])
    try:
        yield server
    finally:
        await server.close(timeout=0.2)


@contextlib.asynccontextmanager
async def client(server: HTTPServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=TLS["client"])
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body


def run(test: Callable[[], object]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE):
            await test()  # type: ignore[misc]

    asyncio.run(bounded())


def echo(request: Request) -> Response:
    return Response(200, f"{request.method} {request.target} ".encode() + request.body, content_type="text/plain")


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /x HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_a_connection_is_kept_and_used_again():
    async def test():
        async with serving(echo) as server, client(server) as (reader, writer):
            for body in (b"one", b"two"):
                writer.write(post(body))
                assert (await answer(reader))[2] == b"POST /x " + body
            assert server.connections == 1

    run(test)


def test_a_body_in_chunks_arrives_whole():
    async def test():
        async with serving(echo) as server, client(server) as (reader, writer):
            writer.write(b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            assert (await answer(reader))[2] == b"POST /c abcde"

    run(test)


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it():
    async def test():
        async with serving(echo) as server, client(server) as (reader, writer):
            writer.write(b"POST /e HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"ok")
            assert (await answer(reader))[2] == b"POST /e ok"

    run(test)


@pytest.mark.parametrize("count", [2, 100])
def test_pipelined_requests_are_answered_in_order_also_when_the_first_is_slow(count):
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.01 if request.body == b"0" else 0)
        return echo(request)

    async def test():
        async with serving(handler) as server, client(server) as (reader, writer):
            writer.write(b"".join(post(b"%d" % n) for n in range(count)))
            assert [(await answer(reader))[2] for _ in range(count)] == [b"POST /x %d" % n for n in range(count)]

    run(test)


def test_a_client_that_does_not_read_holds_back_only_itself():
    big = Response(200, b"x" * 1_000_000, content_type="text/plain")
    handled = 0

    def handler(request: Request) -> Response:
        nonlocal handled
        handled += 1
        return big if request.body == b"big" else echo(request)

    async def test():
        async with serving(handler) as server, client(server) as (_, greedy), client(server) as (reader, writer):
            greedy.write(post(b"big") * 200)
            for _ in range(20):
                writer.write(post(b"small"))
                assert (await answer(reader))[2] == b"POST /x small"
            # The kernel's buffers take some megabytes of answers, the server keeps no more than one beside them.
            assert handled < 20 + 100

    run(test)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * http.MAX_HEAD + b"\r\n\r\n", 431),
        (b"this is no request\r\n\r\n", 400),
    ],
    ids=["length too long", "chunks too long", "head too long", "garbage"],
)
def test_what_is_too_long_or_broken_is_refused_and_the_connection_closed(sent, status):
    async def test():
        async with serving(echo, max_body=10) as server, client(server) as (reader, writer):
            writer.write(sent)
            assert (await answer(reader))[0] == status
            assert await reader.read() == b""

    run(test)


def test_one_client_too_many_is_answered_503():
    async def test():
        async with serving(echo, max_connections=1) as server, client(server) as (reader, writer):
            writer.write(post(b""))
            await answer(reader)
            async with client(server) as (second, _):
                assert (await answer(second))[0] == 503

    run(test)


def test_http_1_0_is_answered_once():
    async def test():
        async with serving(echo) as server, client(server) as (reader, writer):
            writer.write(b"GET /old HTTP/1.0\r\n\r\n")
            assert (await answer(reader))[1]["connection"] == "close"
            assert await reader.read() == b""

    run(test)


def test_no_answer_closes_the_connection():
    async def test():
        async with serving(lambda _: None) as server, client(server) as (reader, writer):
            writer.write(post(b""))
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await answer(reader)

    run(test)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_that_fails_is_logged_and_answered_500(caplog, is_async):
    def fail(_: Request) -> Response:
        raise RuntimeError("boom")

    async def fail_later(request: Request) -> Response:
        return fail(request)

    async def test():
        async with serving(fail_later if is_async else fail) as server, client(server) as (reader, writer):
            writer.write(post(b""))
            assert (await answer(reader))[0] == 500
            writer.write(post(b""))
            assert (await answer(reader))[0] == 500

    with caplog.at_level(logging.ERROR):
        run(test)
    assert "boom" in caplog.text


def test_the_handler_learns_that_its_client_has_gone():
    async def test():
        told = asyncio.Event()

        async def black_hole(request: Request) -> None:
            await request.gone()
            assert request.is_gone
            request.when_gone(told.set)  # too late to wait: called at once

        async with serving(black_hole) as server:
            async with client(server) as (_, writer):
                writer.write(post(b""))
                await writer.drain()
                await asyncio.sleep(0.05)
                assert not told.is_set()
            await told.wait()

    run(test)


@pytest.mark.parametrize("politely", [True, False])
def test_the_socket_knows_of_a_goodbye_before_the_event_loop_does(politely, is_tls):
    """Over TLS a polite one is a message, a rude one is the connection's end as without."""

    async def test():
        held: asyncio.Future[Request] = asyncio.get_running_loop().create_future()

        async def hold(request: Request) -> None:
            held.set_result(request)
            await request.gone()

        async with serving(hold) as server, client(server) as (_, writer):
            writer.write(post(b""))
            request = await held
            assert not request.has_gone_by_now()
            if politely and is_tls:
                writer.close()  # a message: without TLS nothing would be sent before the next turn
            else:
                writer.transport.get_extra_info("socket")._sock.shutdown(1)
            assert not request.is_gone
            assert request.has_gone_by_now()

    run(test)


def test_closing_lets_the_answer_in_work_end_and_cuts_off_what_is_late():
    begun, go = asyncio.Semaphore(0), asyncio.Event()

    async def handler(request: Request) -> Response:
        begun.release()
        if request.body == b"never":
            await request.gone()
        await go.wait()
        return echo(request)

    async def test():
        async with serving(handler) as server, client(server) as (reader, writer), client(server) as (never, late):
            async with client(server) as (idle, _):
                writer.write(post(b"soon"))
                late.write(post(b"never"))
                for _ in range(2):
                    await begun.acquire()
                closing = asyncio.create_task(server.close(timeout=1.0))
                assert await idle.read() == b""
                go.set()
                _, headers, body = await answer(reader)
                assert (headers["connection"], body) == ("close", b"POST /x soon")
                with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                    await answer(never)
                await closing
            assert server.connections == 0
            with pytest.raises(OSError):
                await asyncio.open_connection(server.host, server.port)

    run(test)


def test_after_the_last_answer_nothing_more_is_answered():
    """What was pipelined behind it goes elsewhere: the client was told so."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        await go.wait()
        return echo(request)

    async def test():
        async with serving(handler) as server, client(server) as (reader, writer):
            writer.write(post(b"one") + post(b"two"))
            await begun.wait()
            closing = asyncio.create_task(server.close(timeout=2))
            await asyncio.sleep(0)  # so that it has begun
            go.set()
            _, headers, body = await answer(reader)
            assert (headers["connection"], body) == ("close", b"POST /x one")
            assert await reader.read() == b""
            await closing

    run(test)


def test_a_request_that_never_comes_whole_is_cut_off(monkeypatch):
    monkeypatch.setattr(http, "SWEEP_EVERY", 0.1)

    async def test():
        async with (
            serving(echo, read_timeout=0.5) as server,
            client(server) as (reader, writer),
            client(server) as (idle, patient),
        ):
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await answer(reader)
            patient.write(post(b"still here"))
            assert (await answer(idle))[0] == 200

    run(test)


def test_where_it_listens_says_what_it_speaks(is_tls):
    async def test():
        async with serving(echo) as server:
            assert server.url == f"{'https' if is_tls else 'http'}://127.0.0.1:{server.port}"

    run(test)


def test_its_clock_can_be_ahead_in_its_answers():
    async def test():
        async with serving(echo) as server, client(server) as (reader, writer):
            server.date.ahead = 3600
            writer.write(post(b""))
            _, headers, _ = await answer(reader)
            ahead = parsedate_to_datetime(headers["date"]).timestamp() - time.time()
            assert 3590 < ahead < 3610

    run(test)
