"""What comes in over the control link: the topics listened to, and a thread that hands out what arrives."""

from __future__ import annotations

import logging
import time
from threading import Condition, RLock, Thread
from typing import TYPE_CHECKING, Any

import redis

from app.clock import Clock, SystemClock
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
    """

    def __init__(self, client: Any, state: LinkState, *, clock: Clock | None = None) -> None:
        self._client = client
        self._state = state
        self._clock = clock or SystemClock()
        self._sinks: dict[str, list[Callable[[str], None]]] = {}
        self._confirmed: set[str] = set()
        self._changed = Condition(RLock())
        self._pubsub: Any = None
        self._thread: Thread | None = None
        self._failures = 0

    def subscribe(self, topic: str, sink: Callable[[str], None], *, wait: float) -> bool:
        """Have `sink` called, in this subscriber's thread, with each payload of the topic.

        Waits up to `wait` seconds for the server to confirm, and says whether it did. If it did not, the subscription
        stands all the same, and is made as soon as the link is up.
        """
        with self._changed:
            sinks = self._sinks.setdefault(topic, [])
            sinks.append(sink)
            if len(sinks) == 1 and self._pubsub is not None:
                self._ask(self._pubsub, "subscribe", topic)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="control-reader", daemon=True)
                self._thread.start()
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
                if self._pubsub is not None:
                    self._ask(self._pubsub, "unsubscribe", topic)

    def _ask(self, pubsub: Any, verb: str, topic: str) -> None:
        """Send a (un)subscribe request; if that fails the reader will notice, and ask for all topics anew."""
        try:
            getattr(pubsub, ("p" if topic.endswith("*") else "") + verb)(topic)
        except (redis.RedisError, OSError) as error:
            logger.debug("%s %s: %s", verb, topic, error)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._sinks)
            if (pause := self.listen()) > 0:
                time.sleep(pause)

    def listen(self) -> float:
        """Hand out what arrives for as long as anybody listens; the seconds to wait after it failed, else 0."""
        pubsub: Any = None
        try:
            self._client.ping()  # a quick answer where there is no server, or another password
            pubsub = self._client.pubsub()
            self._listen(pubsub)
        except Exception as error:  # noqa: BLE001 - whatever it was, the thread must go on
            with self._changed:
                self._failures += 1
                self._changed.notify_all()
            self._state.fails("listen", error)
            return backoff.delay(self._failures, first=_FIRST_PAUSE, most=_LONGEST_PAUSE)
        else:
            return 0.0
        finally:
            with self._changed:
                self._pubsub = None
                self._confirmed.clear()
            if pubsub is not None:
                pubsub.close()

    def _listen(self, pubsub: Any) -> None:
        with self._changed:
            for topic in self._sinks:
                self._ask(pubsub, "subscribe", topic)
            self._pubsub = pubsub
        heard = asked = self._clock.monotonic()
        while self._sinks:
            message = pubsub.get_message(timeout=_PING_AFTER / 2)
            now = self._clock.monotonic()
            if message is not None:
                heard = now
                self._on_message(message)
            elif now - heard > _DEAD_AFTER:
                raise redis.ConnectionError("the server no longer answers")
            elif now - max(heard, asked) > _PING_AFTER:
                asked = now
                with self._changed:
                    pubsub.ping()

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
