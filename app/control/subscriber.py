"""What comes in over the control link: the topics listened to, and what hands out in the background what arrives."""

from __future__ import annotations

import logging
from threading import Condition
from typing import TYPE_CHECKING, Any

import redis

from app.clock import Clock, SystemClock
from app.control.background import Background
from app.control.line import Line
from app.resilience import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.control.state import LinkState

logger = logging.getLogger(__name__)

#: Seconds of silence after which the server is asked whether it is still there, and after which it is given up.
_PING_AFTER, _DEAD_AFTER = 10.0, 20.0
#: Seconds between attempts while listening fails: the first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class Subscriber:
    """Listens to topics; a `*` at the end of a topic is a wildcard.

    Args:
        client: the redis-py client.
        state: is told how it goes.
        line: makes a `Line` of what `client.pubsub()` gives.
    """

    def __init__(
        self, client: Any, state: LinkState, *, clock: Clock | None = None, line: Callable[[Any], Line] = Line
    ) -> None:
        self._client = client
        self._state = state
        self._clock = clock or SystemClock()
        self._make_line = line
        self._sinks: dict[str, list[Callable[[str], None]]] = {}
        self._confirmed: set[str] = set()
        #: Also for who uses the line: one at a time.
        self._changed = Condition()
        #: Outlasts `listen`, so that nothing is missed while the process forks.
        self._line: Line | None = None
        self._heard = self._asked = 0.0
        self._failures = 0
        self._background = Background(self._turn, wake=self._wake, name="control-reader", clock=clock)

    def subscribe(self, topic: str, sink: Callable[[str], None], *, wait: float) -> bool:
        """Have `sink` called, in this subscriber's thread, with each payload of the topic.

        Waits up to `wait` seconds for the server to confirm, and says whether it did. If it did not, the subscription
        stands all the same, and is made as soon as the link is up.
        """
        with self._changed:
            sinks = self._sinks.setdefault(topic, [])
            sinks.append(sink)
            if len(sinks) == 1 and self._line is not None:
                self._ask(self._line, "subscribe", topic)
            try:
                self._background.tell()
            except RuntimeError as error:  # no thread for it; the next subscription tries again
                self._state.fails("listen", error)
                return False
            self._changed.wait_for(lambda: topic in self._confirmed or self._failures, wait)
            return topic in self._confirmed

    def unsubscribe(self, topic: str, sink: Callable[[str], None]) -> None:
        """End what `subscribe` began."""
        with self._changed:
            sinks = self._sinks.get(topic, [])
            if sink in sinks:
                sinks.remove(sink)
            if not sinks and self._sinks.pop(topic, None) is not None:
                self._confirmed.discard(topic)
                if self._line is not None:
                    self._ask(self._line, "unsubscribe", topic)

    def take_over(self, topic: str, sink: Callable[[str], None]) -> bool:
        """Have `sink` get, in the place of all others, what comes from now on; False: nobody listens to the topic.

        One step, so that each payload goes either to them or to `sink`; without a lock, for signal handlers.
        """
        if topic not in self._sinks:
            return False
        self._sinks[topic] = [sink]
        return True

    def listen(self) -> float:
        """Hand out what arrives until nobody listens or a fork is near; the seconds to wait after it failed, else 0."""
        try:
            if self._line is None:
                self._client.ping()  # a quick answer where there is no server, or another password
                self._call()
            self._hand_out()
        except Exception as error:  # noqa: BLE001 - whatever it was, it must go on
            with self._changed:
                self._failures += 1
                self._changed.notify_all()
            self._hang_up()
            self._state.fails("listen", error)
            return backoff.delay(self._failures, first=_FIRST_PAUSE, most=_LONGEST_PAUSE)
        if not self._sinks:
            self._hang_up()
        return 0.0

    def _turn(self) -> float | None:
        return self.listen() if self._sinks or self._line is not None else None

    def _wake(self) -> None:
        if (line := self._line) is not None:
            line.wake()

    def _ask(self, line: Line, verb: str, topic: str) -> None:
        """Send a (un)subscribe request; if that fails the reader will notice, and ask for all topics anew."""
        try:
            getattr(line.pubsub, ("p" if topic.endswith("*") else "") + verb)(topic)
        except (redis.RedisError, OSError) as error:
            logger.debug("%s %s: %s", verb, topic, error)

    def _call(self) -> None:
        line = self._make_line(self._client.pubsub())
        with self._changed:
            self._line = line
            for topic in self._sinks:
                self._ask(line, "subscribe", topic)
        self._heard = self._asked = self._clock.monotonic()

    def _hang_up(self) -> None:
        with self._changed:
            line, self._line = self._line, None
            self._confirmed.clear()
        if line is not None:
            line.close()

    def _hand_out(self) -> None:
        line = self._line
        while line is not None and self._sinks and not self._background.should_return:
            with self._changed:
                message = line.get_message()
            now = self._clock.monotonic()
            if message is not None:
                self._heard = now
                self._on_message(message)
            elif now - self._heard > _DEAD_AFTER:
                raise redis.ConnectionError("the server no longer answers")
            elif now - max(self._heard, self._asked) > _PING_AFTER:
                self._asked = now
                with self._changed:
                    line.pubsub.ping()
            else:
                line.wait(_PING_AFTER / 2)

    def _on_message(self, message: dict[str, Any]) -> None:
        kind, topic = message["type"], _text(message.get("pattern") or message["channel"])
        if kind in ("subscribe", "psubscribe"):
            with self._changed:
                self._failures = 0
                self._confirmed.add(topic)
                self._changed.notify_all()
            self._state.works("listen")
        elif kind in ("message", "pmessage"):
            with self._changed:
                sinks = list(self._sinks.get(topic, ()))
            for sink in sinks:
                sink(_text(message["data"]))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
