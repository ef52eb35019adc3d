"""What goes out over the control link: a bounded buffer, and what empties it in the background."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import TYPE_CHECKING, Any

from app.control.background import Background
from app.resilience import backoff

if TYPE_CHECKING:
    from app.control.state import LinkState

#: Events sent in one go.
_AT_ONCE = 500
#: Seconds between attempts while sending fails: the first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class Publisher:
    """Publishes in the background and in order; who publishes never waits and never fails.

    Args:
        client: the redis-py client.
        state: is told how it goes.
        buffer: how many events are kept while the link is down; beyond that the oldest are dropped and counted.
    """

    def __init__(self, client: Any, state: LinkState, *, buffer: int) -> None:
        self._client = client
        self._state = state
        self._buffer = buffer
        self._waiting: deque[tuple[str, str]] = deque()
        self._sending = 0
        self._changed = Condition()
        self._failures = 0
        self._background = Background(self._turn, name="control-writer")

    def __len__(self) -> int:
        return len(self._waiting)

    def publish(self, topic: str, payload: str) -> None:
        """Send when possible."""
        with self._changed:
            if len(self._waiting) >= self._buffer:
                self._waiting.popleft()
                self._state.dropped += 1
            self._waiting.append((topic, payload))
        try:
            self._background.tell()
        except RuntimeError as error:  # no thread for it; the next event tries again
            self._state.fails("publish", error)

    def flush(self, timeout: float) -> bool:
        """Wait until everything published is sent; False if it is not within `timeout` seconds, or sending fails."""
        with self._changed:
            self._changed.wait_for(lambda: self._failures or not (self._waiting or self._sending), timeout)
            return not (self._waiting or self._sending)

    def send_some(self) -> float:
        """Send what waits, as much as goes in one go; the seconds to wait before the next, if it failed."""
        batch: list[tuple[str, str]] = []
        try:
            if self._failures:
                self._client.ping()  # before anything is taken from the buffer
            batch = self._take()
            pipe = self._client.pipeline(transaction=False)
            for topic, payload in batch:
                pipe.publish(topic, payload)
            pipe.execute()
        except Exception as error:  # noqa: BLE001 - whatever it was, it must go on
            # Sent or not, nobody knows. An event twice would make a monitor count a task twice: it is lost instead.
            self._state.dropped += len(batch)
            self._failures += 1
            self._state.fails("publish", error)
            return backoff.delay(self._failures, first=_FIRST_PAUSE, most=_LONGEST_PAUSE)
        else:
            self._failures = 0
            self._state.works("publish")
            return 0.0
        finally:
            with self._changed:
                self._sending = 0
                self._changed.notify_all()

    def _take(self) -> list[tuple[str, str]]:
        with self._changed:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
            self._sending = len(batch)
            return batch

    def _turn(self) -> float | None:
        return self.send_some() if self._waiting else None
