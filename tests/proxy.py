"""A forward proxy for tests: CONNECT and plain requests, and what went through it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self
from urllib.parse import urlsplit

IDLE = 60.0
"""Seconds after which a tunnel in which nothing moves is closed, and a request that nobody answers given up."""


class ForwardProxy:
    """Listens on loopback, in a thread with an event loop of its own: `with ForwardProxy() as proxy: … proxy.url`.

    `tunnels` has the `host:port` of each CONNECT, `requests` the `POST http://…` of each plain request, in the order
    they came.
    """

    def __init__(self) -> None:
        self.tunnels: list[str] = []
        self.requests: list[str] = []
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="forward-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the proxy does not listen"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def environment(self, *, no_proxy: str = "") -> dict[str, str]:
        """The variables by which a client finds the proxy, for everything but `no_proxy`; in both spellings."""
        values = {"HTTP_PROXY": self.url, "HTTPS_PROXY": self.url, "NO_PROXY": no_proxy}
        return values | {name.lower(): value for name, value in values.items()}

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._clients: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if method == "CONNECT":
            self.tunnels.append(target)
            host, _, port = target.rpartition(":")
            rest = b""
        else:
            self.requests.append(f"{method} {target}")
            parts = urlsplit(target)
            host, port = parts.hostname or "", parts.port or 80
            rest = _for_the_server(head, parts._replace(scheme="", netloc="").geturl() or "/")
        try:
            other_reader, other_writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        other_writer.write(rest)
        try:
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
        finally:
            other_writer.close()


def _for_the_server(head: bytes, target: str) -> bytes:
    """A request's head without what was for the proxy, and for one request only: each is to be counted."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, _, version = first.split(b" ")
    kept = [line for line in lines if not line.lower().startswith((b"proxy-", b"connection:"))]
    return b"\r\n".join([b" ".join((method, target.encode(), version)), *kept, b"Connection: close", b"", b""])


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what comes until nothing does."""
    try:
        while data := await asyncio.wait_for(source.read(65_536), IDLE):
            target.write(data)
            await target.drain()
    finally:
        target.close()
