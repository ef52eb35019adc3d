"""The inbox: how other threads hand work to the one that consumes.

Celery's consumer, its requests and its pool belong to one thread: the event loop's (prefork, threads, solo), or the
consumer greenlet's (gevent). The engine and the control link put callables here; they run there, in the order put.

No lock: one that gevent knows would not do for the engine's thread, and one that it does not would stop the hub. Both
ends of the deque are one step for the interpreter, and a byte in a pair of sockets says that there is something.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_BYTES = 4096


class Inbox:
    """A first-in, first-out queue of callables, with a file descriptor to wait for."""

    def __init__(self) -> None:
        self._items: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        #: There once somebody waits: most connections only send.
        self._reader: socket.socket | None = None
        self._writer: socket.socket | None = None
        self._is_marked = False
        self._is_closed = False
        self._loop: Any = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_closed(self) -> bool:
        """Whether nobody will run anything more."""
        return self._is_closed

    def put(self, call: Callable[..., None], *args: Any) -> bool:
        """Have `call(*args)` run by the consumer; from any thread, never blocks. False: nobody will run it any more."""
        if self._is_closed:
            return False
        item = call, args
        self._items.append(item)
        if self._is_closed and self._takes_back(item):  # closed in between, and who did that has not seen it
            return False
        self._mark()
        return True

    def _takes_back(self, item: tuple[Callable[..., None], tuple[Any, ...]]) -> bool:
        while True:
            try:
                self._items.remove(item)
            except ValueError:
                return False
            except IndexError:  # who closes has just taken another one
                continue
            return True

    def run(self, timeout: float | None = 0.0) -> bool:
        """Run the first item, waiting up to `timeout` seconds (None: for ever) for it; False when none came.

        One at a time, so that Celery looks between two of them whether the worker is to stop.
        """
        # Without a mark there may be a byte all the same, and the event loop would come again and again because of it.
        if self._is_marked or (not self._items and (timeout != 0.0 or self._reader is not None)):
            reader = self._open()
            self._unmark(reader, timeout if not self._items else 0.0)
        try:
            call, args = self._items.popleft()
        except IndexError:
            return False
        if self._items:
            self._mark()
        call(*args)
        return True

    def close(self) -> None:
        """Take nothing more, and run what is there."""
        self.detach()
        self._is_closed = True
        while self.run():
            pass
        for end in (self._reader, self._writer):
            if end is not None:
                end.close()

    def attach(self, loop: Any) -> None:
        """Let kombu's event loop run this inbox whenever something is in it."""
        self.detach()
        self._loop = loop
        loop.add_reader(self._open(), self.run)
        if self._items:
            self._mark()

    def detach(self) -> None:
        """Stop being run by the event loop."""
        if self._loop is not None:
            self._loop.remove(self._reader)
            self._loop = None

    def _open(self) -> socket.socket:
        if self._reader is None:
            self._reader, writer = socket.socketpair()
            writer.setblocking(False)
            self._reader.setblocking(False)
            self._writer = writer  # only now: who puts something looks whether it is there
        return self._reader

    def _mark(self) -> None:
        if self._writer is not None and not self._is_marked:
            self._is_marked = True
            with contextlib.suppress(OSError):  # full, so readable; or closed just now
                self._writer.send(b"\0")

    def _unmark(self, reader: socket.socket, timeout: float | None) -> None:
        """Wait for the mark and take it away; in this order, so that what is put meanwhile is found by who reads on."""
        reader.settimeout(timeout)
        with contextlib.suppress(BlockingIOError, TimeoutError):
            reader.recv(_BYTES)
        self._is_marked = False
