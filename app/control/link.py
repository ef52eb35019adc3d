"""The control link: publish and subscribe on Valkey or Redis, for a process that must not care whether it is up.

Only publish/subscribe is used, so no key is ever left behind. The topics are those of kombu's Redis transport, with
the same payloads: a tool that listens to Celery's events on that Redis directly understands them.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections import deque
from dataclasses import dataclass, field
from threading import Condition, RLock, Thread
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.errors import ControlLinkDown
from app.resilience import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Seconds to connect, and to wait for the answer to one command: the caller of a control command waits that long.
_CONNECT_TIMEOUT, _ANSWER_TIMEOUT = 1.0, 2.0
#: Events kept while the link is down; beyond that the oldest are dropped and counted.
_OUTBOX = 10_000
#: Events sent in one go.
_AT_ONCE = 500
#: Seconds of silence after which the subscriber asks whether the server is still there, and gives it up.
_PING_AFTER, _DEAD_AFTER = 10.0, 20.0
#: Seconds between attempts to reconnect: the first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0

_FAILURES = (redis.RedisError, OSError)


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Where the control link goes; a password in the URL is never shown."""

    url: str = field(repr=False)

    def __json__(self) -> str:
        """For kombu's JSON: `inspect stats` sends the transport options along."""
        return "set"


class ControlLink:
    """One process's link: a writer and a reader thread (under gevent greenlets), started when first needed.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with password and database as redis-py takes them.
        buffer: how many events are kept while the link is down.
    """

    def __init__(self, url: str, *, buffer: int = _OUTBOX) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_TIMEOUT,
            socket_timeout=_ANSWER_TIMEOUT,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
        self._prefix = f"/{self._redis.connection_pool.connection_kwargs.get('db') or 0}."
        self._buffer = buffer
        self._outbox: deque[tuple[str, str]] = deque()
        self._writing = 0
        self._sinks: dict[str, list[Callable[[str], None]]] = {}
        self._confirmed: set[str] = set()
        self._changed = Condition(RLock())
        self._pubsub: Any = None
        self._threads: set[str] = set()
        self._down_since: float | None = None
        #: Events that could not be kept or whose sending failed halfway.
        self.dropped = 0

    def __repr__(self) -> str:
        state = "up" if self._down_since is None else "down"
        return f"<ControlLink {state}, {len(self._outbox)} waiting, {self.dropped} dropped>"

    @property
    def is_up(self) -> bool:
        """Whether the last thing tried worked."""
        return self._down_since is None

    # -- publish ------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: str) -> None:
        """Send when possible, in order; never blocks, never raises. What cannot be kept is dropped and counted."""
        with self._changed:
            if len(self._outbox) >= self._buffer:
                self._outbox.popleft()
                self.dropped += 1
            self._outbox.append((self._prefix + topic, payload))
            self._changed.notify_all()
            self._start("writer", self._write)

    def publish_now(self, topic: str, payload: str) -> None:
        """Send at once, for a caller who wants to know.

        Raises:
            ControlLinkDown: it could not be sent, after at most three seconds.
        """
        try:
            self._redis.publish(self._prefix + topic, payload)
        except _FAILURES as error:
            raise ControlLinkDown(_reason(error)) from None

    def flush(self, timeout: float) -> bool:
        """Wait until everything published is sent; False if it is not within `timeout` seconds, or the link is down."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._outbox or self._writing:
                left = deadline - time.monotonic()
                if left <= 0 or not self.is_up:
                    return False
                self._changed.wait(left)
        return True

    def _write(self) -> None:
        failures = 0
        while True:
            with self._changed:
                while not self._outbox:
                    self._changed.wait()
            try:
                if not self.is_up or failures:
                    self._redis.ping()  # before anything is taken from the outbox
                    failures = 0
                    self._went_up()
                self._send_some()
            except _FAILURES as error:
                failures += 1
                self._went_down(error)
                time.sleep(backoff.delay(failures, first=_FIRST_PAUSE, most=_LONGEST_PAUSE))

    def _send_some(self) -> None:
        with self._changed:
            batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), _AT_ONCE))]
            self._writing = len(batch)
        try:
            pipe = self._redis.pipeline(transaction=False)
            for topic, payload in batch:
                pipe.publish(topic, payload)
            pipe.execute()
        except _FAILURES:
            # Sent or not, nobody knows. An event twice would make a monitor count a task twice: it is lost instead.
            self.dropped += len(batch)
            raise
        finally:
            with self._changed:
                self._writing = 0
                self._changed.notify_all()

    # -- subscribe ----------------------------------------------------------------------------------------------

    def subscribe(self, topic: str, sink: Callable[[str], None], *, wait: float = _CONNECT_TIMEOUT) -> bool:
        """Have `sink` called, in the reader's thread, with each payload of the topic; a `*` at its end is a wildcard.

        Waits up to `wait` seconds for the server to confirm, and says whether it did. If it did not, the subscription
        stands all the same and is made as soon as the link is up.
        """
        topic = self._prefix + topic
        with self._changed:
            sinks = self._sinks.setdefault(topic, [])
            sinks.append(sink)
            if len(sinks) == 1 and self._pubsub is not None:
                self._ask(self._pubsub, "subscribe", topic)
            self._changed.notify_all()
            self._start("reader", self._read)
            return self._changed.wait_for(lambda: topic in self._confirmed, wait)

    def unsubscribe(self, topic: str, sink: Callable[[str], None]) -> None:
        """End what `subscribe` began."""
        topic = self._prefix + topic
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
        except _FAILURES as error:
            logger.debug("%s %s: %s", verb, topic, error)

    def _read(self) -> None:
        failures = 0
        while True:
            with self._changed:
                while not self._sinks:
                    self._changed.wait()
            try:
                self._redis.ping()
                failures = 0
                self._went_up()
                self._listen()
            except _FAILURES as error:
                failures += 1
                self._went_down(error)
                time.sleep(backoff.delay(failures, first=_FIRST_PAUSE, most=_LONGEST_PAUSE))

    def _listen(self) -> None:
        pubsub: Any = self._redis.pubsub()  # type: ignore[no-untyped-call]
        try:
            with self._changed:
                for topic in self._sinks:
                    self._ask(pubsub, "subscribe", topic)
                self._pubsub = pubsub
            heard = asked = time.monotonic()
            while self._sinks:
                message = pubsub.get_message(timeout=_PING_AFTER / 2)
                now = time.monotonic()
                if message is not None:
                    heard = now
                    self._on_message(message)
                elif now - heard > _DEAD_AFTER:
                    raise redis.ConnectionError("the server no longer answers")
                elif now - max(heard, asked) > _PING_AFTER:
                    asked = now
                    with self._changed:
                        pubsub.ping()
        finally:
            with self._changed:
                self._pubsub = None
                self._confirmed.clear()
            pubsub.close()

    def _on_message(self, message: dict[str, Any]) -> None:
        kind, topic = message["type"], _text(message["pattern"] or message["channel"])
        if kind in ("subscribe", "psubscribe"):
            with self._changed:
                self._confirmed.add(_text(message["channel"]))
                self._changed.notify_all()
        elif kind in ("message", "pmessage"):
            with self._changed:
                sinks = list(self._sinks.get(topic, ()))
            for sink in sinks:
                sink(_text(message["data"]))

    # -- state --------------------------------------------------------------------------------------------------

    def _start(self, name: str, run: Callable[[], None]) -> None:
        if name not in self._threads:
            self._threads.add(name)
            Thread(target=run, name=f"control-{name}", daemon=True).start()

    def _went_down(self, error: BaseException) -> None:
        with self._changed:
            if self._down_since is None:
                self._down_since = time.monotonic()
                logger.warning(
                    "The control link is down (%s): tasks go on; Flower and remote control are blind until it is back",
                    _reason(error),
                )
            self._changed.notify_all()

    def _went_up(self) -> None:
        with self._changed:
            if self._down_since is not None:
                logger.warning(
                    "The control link is up again after %.0f s; %d events were dropped",
                    time.monotonic() - self._down_since,
                    self.dropped,
                )
                self._down_since = None
                self._changed.notify_all()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _reason(error: BaseException) -> str:
    """What went wrong, in a few words; redis-py's messages name host and port, never the password."""
    return str(error) or type(error).__name__


_links: dict[str, ControlLink] = {}
os.register_at_fork(after_in_child=_links.clear)  # a forked child has the parent's sockets, but not its threads


def control_link(url: str) -> ControlLink:
    """This process's link to that address."""
    link = _links.get(url)
    if link is None:
        link = _links[url] = ControlLink(url)
    return link


@atexit.register
def _flush_all() -> None:
    """The last events of a process (worker-offline) get a moment to leave."""
    for link in _links.values():
        link.flush(_CONNECT_TIMEOUT)
