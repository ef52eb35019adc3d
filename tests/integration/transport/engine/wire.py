"""Servers that answer by the byte, an `Http` turned by hand, an engine and what it was answered."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from harness import until

from app.transport.engine.http import Request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def read_request(connection):
    """The next request on it, head and body; b"" once the client has closed it."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65_536)):
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        if not (piece := connection.recv(65_536)):
            return b""
        body += piece
    return head + b"\r\n\r\n" + body


def answer_all(connection, answer=OK):
    """Answer every request on it alike."""
    while read_request(connection):
        connection.sendall(answer)


class Server:
    """Listens on loopback and hands each connection to `serve` in a thread of its own."""

    def __init__(self, serve, *, tls=None, host="127.0.0.1", port=0):
        self._serve, self._tls = serve, tls
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self._listener.getsockname()[1]
        bracketed = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if tls is None else 'https'}://{bracketed}:{self.port}/"
        self.connections = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self.connections.append(connection)
            with connection:
                self._serve(connection)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Loop:
    """Turns an `Http` in this thread, and counts the turns."""

    def __init__(self, http):
        self.http, self.turns, self.answers = http, 0, []
        self._reader, self._writer = os.pipe()

    def close(self):
        os.close(self._reader)
        os.close(self._writer)

    def wake(self):
        os.write(self._writer, b"\0")

    def send(self, url, *, body=b"{}", timeout=5.0, headers=()):
        self.http.send(Request(url, list(headers), body, timeout), self.answers.append)

    def turn(self, seconds=0.5):
        self.turns += 1
        if self.http.turn(seconds, woken_by=self._reader):
            os.read(self._reader, 100)
        self.http.give_up_overdue()

    def turn_for(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def wait_for(self, count, within=10.0):
        end = time.monotonic() + within
        while len(self.answers) < count:
            assert time.monotonic() < end, f"{len(self.answers)} of {count} answers: {self.answers}"
            self.turn()
        return self.answers

    def post(self, url, **options):
        self.answers.clear()
        self.send(url, **options)
        return self.wait_for(1)[0]


class Caller:
    """An engine, and what it was answered."""

    def __init__(self, engine):
        self.engine, self.answers = engine, []
        engine.start()

    def send(self, action, parameters=None, *, wait=0.0):
        self.engine.call_soon(lambda: self.engine.calls.call(action, parameters or {}, self.answers.append, wait=wait))

    def wait_for(self, count, within=20.0):
        until(lambda: len(self.answers) >= count, lambda: f"{count} answers, {len(self.answers)}", within)
        return self.answers

    def call(self, action="ListQueues", parameters=None, *, wait=0.0, within=20.0):
        """Call, and wait for the answer."""
        answers, before = self.answers, len(self.answers)
        self.send(action, parameters, wait=wait)
        return self.wait_for(before + 1, within) and answers[before]
