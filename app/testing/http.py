"""A small HTTP/1.1 server: enough for the servers that tests and demonstrations talk to, and cheap.

The handler is one callable, `Request` in and `Response` out, plain or async. A plain answer is written before the
next byte is read, so a request costs some 40 microseconds of CPU, system calls included, beside the handler's own.

Over TLS it is the same server: `start` takes an `ssl.SSLContext`.

Everything is bounded: connections, a request's head and body, the time a client may take to send one, the requests
that wait on one connection, and the answers that a slow reader leaves unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger(__name__)

MAX_HEAD = 64 * 1024
"""Bytes of request line and headers; more is answered 431."""
MAX_PIPELINED = 16
"""Requests that may wait on one connection before it is no longer read."""
SWEEP_EVERY = 5.0
"""Seconds between two looks for requests that never came whole."""
TLS_GOODBYE = 0.5
"""Seconds that a client has to answer the goodbye of a TLS connection that is closed."""


class Request:
    """One request. Header names are lower case; the body is whole."""

    __slots__ = ("_connection", "body", "headers", "keep_alive", "method", "started", "target")

    def __init__(
        self,
        *,
        method: str = "GET",
        target: str = "/",
        headers: dict[bytes, bytes] | None = None,
        body: bytes = b"",
        keep_alive: bool = True,
        connection: Connection | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers if headers is not None else {}
        self.body = body
        self.keep_alive = keep_alive
        self._connection = connection

    def header(self, name: bytes, default: str = "") -> str:
        """The value of a header, by its lower-case name."""
        value = self.headers.get(name)
        return default if value is None else value.decode("latin-1")

    @property
    def is_gone(self) -> bool:
        """Whether the client is known to have left, so that nobody will read the answer."""
        return self._connection is not None and self._connection.is_gone

    def has_gone_by_now(self) -> bool:
        """Ask the socket itself: true also if the client's goodbye has arrived and was not read yet."""
        return self._connection is not None and self._connection.has_gone_by_now()

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call back when the client leaves before it was answered; at once if it has."""
        if self._connection is not None:
            self._connection.when_gone(callback)

    async def gone(self) -> None:
        """Wait until the client leaves: what a black hole does."""
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell() -> None:
            if not left.done():
                left.set_result(None)

        self.when_gone(tell)
        await left


class Response:
    """One answer. `content_type` is left out when the body is empty; what `breaks_off` ends half-way in its body."""

    __slots__ = ("body", "breaks_off", "content_type", "headers", "status")

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        *,
        content_type: str = "application/json",
        headers: tuple[tuple[str, str], ...] = (),
        breaks_off: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.breaks_off = breaks_off


Answer = Response | None
"""What a handler gives: `None` closes the connection without an answer."""
Handler = Callable[[Request], Answer | Awaitable[Answer]]

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Date:
    """The Date header, formatted once a second.

    Args:
        ahead: seconds by which it is ahead of the machine's clock; negative when it is behind.
    """

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self._second = 0
        self._line = ""

    def line(self) -> str:
        """The header, with its end of line."""
        second = int(time.time() + self.ahead)
        if second != self._second:
            self._second, self._line = second, f"Date: {formatdate(second, usegmt=True)}\r\n"
        return self._line


_TODAY = Date()


def encode(response: Response, *, close: bool = False, head_only: bool = False, date: Date = _TODAY) -> bytes:
    """The bytes of an answer."""
    status, body = response.status, response.body
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status {status}\r\n", date.line()]
    if body:
        lines.append(f"Content-Type: {response.content_type}\r\n")
    if status >= 200 and status not in {204, 304}:
        lines.append(f"Content-Length: {len(body)}\r\n")
    lines.extend(f"{name}: {value}\r\n" for name, value in response.headers)
    lines.append("Connection: close\r\n\r\n" if close else "\r\n")
    head = "".join(lines).encode("latin-1")
    return head if head_only or not body else head + body


class Connection(asyncio.Protocol):
    """One client. Requests are handled one after the other, in the order they came."""

    def __init__(self, server: HTTPServer) -> None:
        self._server = server
        self._loop = server.loop
        self._parser = httptools.HttpRequestParser(cast("Any", self))
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Future[Answer] | None = None
        self._current: Request | None = None
        self._on_gone: list[Callable[[], None]] = []
        self._write_paused = False
        self._read_paused = False
        self._closing = False
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.is_gone = False
        self.started: float | None = None
        self._new_message()

    def _new_message(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_size = 0
        self._body_size = 0

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, or refuse it when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.admit(self):
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went makes no difference
        """Tell whoever works for this client that it has left."""
        self.is_gone = True
        self._server.forget(self)
        self._waiting.clear()
        callbacks, self._on_gone = self._on_gone, []
        for callback in callbacks:
            callback()

    def data_received(self, data: bytes) -> None:
        """Parse; the parser calls back below."""
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here speaks another protocol: the request is answered, what follows it is not HTTP.
            self._finish_with_close()
        except httptools.HttpParserError:
            if not self._closing:
                self._refuse(400, "this is not HTTP/1.1")

    def eof_received(self) -> bool:
        """Close: a client that only half-closed cannot be told from one that left, so both count as gone."""
        return False

    def pause_writing(self) -> None:
        """Answer no further: the client does not read."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Go on answering."""
        self._write_paused = False
        self._next()

    # --- the parser's side

    def on_message_begin(self) -> None:
        """A request begins: its time starts to count."""
        self._new_message()
        self.started = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        self._url += url
        self._head_grew(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; repeated ones are joined by commas (RFC 9110, 5.3)."""
        name = name.lower()
        self._headers[name] = value if name not in self._headers else self._headers[name] + b", " + value
        self._head_grew(len(name) + len(value) + 4)

    def _head_grew(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD and not self._closing:
            self._refuse(431, f"the headers are longer than {MAX_HEAD} bytes")

    def on_headers_complete(self) -> None:
        """Refuse a body that says it is too long before it is sent."""
        if self._closing:
            return
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self._server.max_body:
            self._refuse(413, f"the body is longer than {self._server.max_body} bytes")
        elif self._headers.get(b"expect", b"").lower() == b"100-continue" and self._task is None and not self._waiting:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_size += len(body)
        if self._body_size <= self._server.max_body:
            self._body.append(body)
        elif not self._closing:
            self._refuse(413, f"the body is longer than {self._server.max_body} bytes")

    def on_message_complete(self) -> None:
        """Handle the request, or keep it until those before it are answered."""
        self.started = None
        if self._closing:
            return
        body = self._body
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            target=self._url.decode("latin-1"),
            headers=self._headers,
            body=body[0] if len(body) == 1 else b"".join(body),
            keep_alive=self._parser.should_keep_alive(),
            connection=self,
        )
        if self._task is None and not self._waiting and not self._write_paused:
            self._handle(request)
            return
        self._waiting.append(request)
        if not self._read_paused and len(self._waiting) >= MAX_PIPELINED:
            self._read_paused = True
            self._transport.pause_reading()

    # --- one request after the other

    def _handle(self, request: Request) -> None:
        self._current = request
        try:
            answer = self._server.handler(request)
        except Exception:
            logger.exception("the handler failed on %s %s", request.method, request.target)
            self._answer(Response(500, b'{"message": "the handler failed: see the log"}'))
            return
        if answer is None or isinstance(answer, Response):
            self._answer(answer)
            return
        self._task = asyncio.ensure_future(answer)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[Answer]) -> None:
        self._task = None
        if task.cancelled():
            self._answer(None)
        elif (error := task.exception()) is not None:
            logger.error("the handler failed", exc_info=error)
            self._answer(Response(500, b'{"message": "the handler failed: see the log"}'))
        else:
            self._answer(task.result())
        self._next()

    def _answer(self, response: Answer) -> None:
        request, self._current = self._current, None
        self._on_gone.clear()
        if self.is_gone or request is None:
            return
        if response is None:
            self._closing = True
            self._transport.abort()
            return
        close = not request.keep_alive or self._server.is_closing
        head_only = request.method == "HEAD"
        answer = encode(response, close=close, head_only=head_only, date=self._server.date)
        if response.breaks_off:
            answer, close = answer[: len(answer) - (len(response.body) + 1) // 2], True
        self._transport.write(answer)
        if close:
            self._waiting.clear()  # whoever was told that this is the last answer sends the rest elsewhere
            self._finish_with_close()

    def _next(self) -> None:
        while self._waiting and self._task is None and not self._write_paused and not self._closing:
            self._handle(self._waiting.popleft())
        if self._read_paused and not self._waiting and not self._closing:
            self._read_paused = False
            self._transport.resume_reading()

    def _finish_with_close(self) -> None:
        if self._task is None and not self._waiting:
            self._closing = True
            self._transport.close()

    def _refuse(self, status: int, why: str) -> None:
        self._closing = True
        if self._task is None:  # else the bytes would land inside or before another answer
            self._transport.write(encode(Response(status, f'{{"message": "{why}"}}'.encode()), close=True))
        self._transport.close()

    # --- the server's side

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call back when the client leaves before the request in work is answered; at once if it has."""
        if self.is_gone:
            callback()
        else:
            self._on_gone.append(callback)

    def has_gone_by_now(self) -> bool:
        """Look into the socket: a goodbye may have arrived that the event loop has not seen yet.

        Over TLS a goodbye is a message like any other, so whatever has arrived is taken for one: a client that waits
        for an answer has nothing else to say.
        """
        if self.is_gone or self._transport.is_closing():
            return True
        shared = self._transport.get_extra_info("socket")
        peek = socket.socket(fileno=shared.fileno())
        try:
            return peek.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"" or self._server.is_tls
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            peek.detach()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in work and nothing half read."""
        return self._task is None and not self._waiting and self.started is None

    def stop(self) -> None:
        """Close: at once when idle, else after the answer in work."""
        if self.is_idle:
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is in work."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()


class HTTPServer:
    """Listens, and hands each request to the handler.

    Args:
        handler: `Request` in; `Response` out, or an awaitable of one; `None` closes the connection unanswered.
        max_body: bytes of one request's body; more is answered 413.
        max_connections: clients at a time; one more is answered 503.
        read_timeout: seconds that a client may take to send one request once it has begun.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        max_body: int = 4 * 1024 * 1024,
        max_connections: int = 4096,
        read_timeout: float = 60.0,
    ) -> None:
        self.handler = handler
        self.max_body = max_body
        self.max_connections = max_connections
        self.read_timeout = read_timeout
        self.date = Date()
        self.is_closing = False
        self.is_tls = False
        self.host = ""
        self.port = 0
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """Where it listens, as `http://HOST:PORT`, or `https://` over TLS."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def scheme(self) -> str:
        """`http`, or `https` over TLS."""
        return "https" if self.is_tls else "http"

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        """Listen, over TLS if a context is given. Port 0 takes a free one; `OSError` if the port is taken."""
        self.loop = asyncio.get_running_loop()
        self._empty = asyncio.Event()
        self.is_tls = tls is not None
        self._listener = await self.loop.create_server(
            lambda: Connection(self),
            host,
            port,
            backlog=1024,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self.read_timeout,
            ssl_shutdown_timeout=None if tls is None else TLS_GOODBYE,
        )
        self.host, self.port = self._listener.sockets[0].getsockname()[:2]
        self._sweep()

    def admit(self, connection: Connection) -> bool:
        """Count a new client in; false if there are too many or the server is closing."""
        if self.is_closing or len(self._connections) >= self.max_connections:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """Count a client out."""
        self._connections.discard(connection)
        if not self._connections and self._empty is not None:
            self._empty.set()

    def _sweep(self) -> None:
        oldest = self.loop.time() - self.read_timeout
        for connection in [c for c in self._connections if c.started is not None and c.started < oldest]:
            connection.abort()
        self._sweeper = self.loop.call_later(SWEEP_EVERY, self._sweep)

    async def close(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the deadline is what this is about
        """Stop listening, let the requests in work end, cut off what is left after `timeout` seconds."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.stop()
        if self._connections and self._empty is not None:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout)
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)  # the aborted transports report their end in the next turn
        if self._listener is not None:
            await self._listener.wait_closed()
