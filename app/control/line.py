"""One connection that listens, and can be called away from it."""

from __future__ import annotations

import contextlib
import select
import socket
from threading import Lock
from typing import Any

import redis

#: Seconds for the rest of a message of which the beginning is there.
_REST = 2.0


class Line:
    """A subscribed connection of redis-py's, with a bell.

    Reading and asking for topics are not for two threads at once; `wait` and `wake` are.

    Args:
        pubsub: redis-py's, which this line closes.
    """

    def __init__(self, pubsub: Any) -> None:
        self.pubsub = pubsub
        self._lock = Lock()
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)

    def get_message(self) -> dict[str, Any] | None:
        """The next message, if there is one.

        Raises:
            redis.RedisError, OSError: the connection is lost.
        """
        # Looked at first, since what `get_message` does not find whole within its time ends the connection.
        if not self._connection().can_read(0):
            return None
        message: dict[str, Any] | None = self.pubsub.get_message(timeout=_REST)
        return message

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for something to read, or for `wake`.

        To be called when `get_message` has found nothing, since that has emptied the buffers of redis-py and TLS.
        """
        connected = self._connection()._sock  # noqa: SLF001 - redis-py has no other door to it
        if connected is None:
            return
        poll = select.poll()
        poll.register(connected, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        poll.poll(timeout * 1000)
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(1024)

    def wake(self) -> None:
        """End the wait of now, or the next; from any thread."""
        with self._lock, contextlib.suppress(OSError):  # the bell rings already, or is closed
            self._button.send(b"\0")

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._bell.close()
            self._button.close()
        self.pubsub.close()

    def _connection(self) -> Any:
        if self.pubsub.connection is None:
            raise redis.ConnectionError("not connected")
        return self.pubsub.connection
