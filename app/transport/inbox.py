"""The inbox: how other threads hand work to the one that consumes.

Celery's consumer, its requests and its pool belong to one thread: the event loop's (prefork, threads, solo), or the
consumer greenlet's (gevent). Pollers and the control link put callables here; they run there, in the order put.
"""

from __future__ import annotations

import socket
from collections import deque
from threading import Condition
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Inbox:
    """A first-in, first-out queue of callables, with a file descriptor for event loops to watch."""

    def __init__(self) -> None:
        self._items: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._arrived = Condition()
        self._is_closed = False
        self._loop: Any = None
        #: A pair of sockets, with a byte in it for as long as there are items, so that a loop finds it readable.
        self._reader: socket.socket | None = None
        self._writer: socket.socket | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, call: Callable[..., None], *args: Any) -> bool:
        """Have `call(*args)` run by the consumer; from any thread, never blocks. False: nobody will run it any more."""
        with self._arrived:
            if self._is_closed:
                return False
            self._items.append((call, args))
            self._arrived.notify()
            if len(self._items) == 1:
                self._mark()
            return True

    def run(self, timeout: float | None = 0.0) -> bool:
        """Run the first item, waiting up to `timeout` seconds (None: for ever) for it; False when none came.

        One at a time, so that Celery looks between two of them whether the worker is to stop.
        """
        with self._arrived:
            if not self._items and timeout != 0.0:
                self._arrived.wait(timeout)
            if not self._items:
                return False
            call, args = self._items.popleft()
            if not self._items:
                self._unmark()
        call(*args)
        return True

    def close(self) -> None:
        """Take nothing more, and run what is there."""
        self.detach()
        with self._arrived:
            self._is_closed = True
        while self.run():
            pass

    def attach(self, loop: Any) -> None:
        """Let kombu's event loop run this inbox whenever something is in it."""
        self.detach()
        with self._arrived:
            self._loop = loop
            self._reader, self._writer = socket.socketpair()
            self._reader.setblocking(False)
            loop.add_reader(self._reader, self.run)
            if self._items:
                self._mark()

    def detach(self) -> None:
        """Stop being run by the event loop."""
        with self._arrived:
            if self._reader is not None and self._writer is not None:
                self._loop.remove(self._reader)
                self._reader.close()
                self._writer.close()
            self._loop = self._reader = self._writer = None

    def _mark(self) -> None:
        if self._writer is not None:
            self._writer.send(b"\0")

    def _unmark(self) -> None:
        if self._reader is not None:
            self._reader.recv(1)
