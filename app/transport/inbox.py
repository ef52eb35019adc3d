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
        self._loop: Any = None
        self._reader: socket.socket | None = None
        self._writer: socket.socket | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, call: Callable[..., None], *args: Any) -> None:
        """Have `call(*args)` run by the consumer; from any thread, never blocks."""
        with self._arrived:
            self._items.append((call, args))
            self._arrived.notify()
            if self._writer is not None and len(self._items) == 1:
                self._writer.send(b"\0")

    def run(self, timeout: float | None = 0.0) -> bool:
        """Run what is there, waiting up to `timeout` seconds (None: for ever) for the first; False when none came."""
        with self._arrived:
            if not self._items and timeout != 0.0:
                self._arrived.wait(timeout)
            ready = list(self._items)
            self._items.clear()
        for position, (call, args) in enumerate(ready):
            try:
                call(*args)
            except BaseException:
                self._put_back(ready[position + 1 :])
                raise
        return bool(ready)

    def _put_back(self, rest: list[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
        """What came behind a call that raised is still owed: a shutdown is an exception too."""
        with self._arrived:
            self._items.extendleft(reversed(rest))

    def attach(self, loop: Any) -> None:
        """Let kombu's event loop run this inbox whenever something is in it."""
        self.detach()
        with self._arrived:
            self._loop = loop
            self._reader, self._writer = socket.socketpair()
            self._reader.setblocking(False)
            self._writer.setblocking(False)
            loop.add_reader(self._reader, self._on_readable, self._reader)
            if self._items:
                self._writer.send(b"\0")

    def detach(self) -> None:
        """Stop being run by the event loop."""
        with self._arrived:
            if self._reader is not None and self._writer is not None:
                self._loop.remove(self._reader)
                self._reader.close()
                self._writer.close()
            self._loop = self._reader = self._writer = None

    def _on_readable(self, reader: socket.socket) -> None:
        reader.recv(4096)
        self.run()
