"""The control link: publish and subscribe on Valkey or Redis, for a process that must not care whether it is up.

Only publish/subscribe is used, so no key is ever left behind. The topics are those of kombu's Redis transport, with
the same payloads: a tool that listens to Celery's events on that Redis directly understands them.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.control.publisher import Publisher
from app.control.state import LinkState
from app.control.subscriber import Subscriber
from app.errors import ControlLinkDown

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds to connect, and to wait for the answer to one command: the caller of a control command waits that long.
_CONNECT_TIMEOUT, _ANSWER_TIMEOUT = 1.0, 2.0
#: Events kept while the link is down.
_BUFFER = 10_000


@dataclass(frozen=True, slots=True, repr=False)
class LinkOptions:
    """Where the control link goes; a password in the URL is never shown."""

    url: str

    def __repr__(self) -> str:
        # Kombu tells connections apart by this text; the hash differs in each process, so it gives nothing away.
        return f"<LinkOptions {hash(self.url):x}>"

    def __json__(self) -> str:
        """For kombu's JSON: `inspect stats` sends the transport options along."""
        return "set"


class ControlLink:
    """One process's link; its two threads (under gevent greenlets) start when first needed, and step aside at forks.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with password and database as redis-py takes them.
        buffer: how many events are kept while the link is down.
    """

    def __init__(self, url: str, *, buffer: int = _BUFFER) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_TIMEOUT,
            socket_timeout=_ANSWER_TIMEOUT,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
        self._prefix = f"/{self._redis.connection_pool.connection_kwargs.get('db') or 0}."
        self._state = LinkState()
        self._publisher = Publisher(self._redis, self._state, buffer=buffer)
        self._subscriber = Subscriber(self._redis, self._state)
        self._heirs: dict[str, Callable[[str], None]] = {}

    def __repr__(self) -> str:
        state = "up" if self.is_up else "down"
        return f"<ControlLink {state}, {len(self._publisher)} waiting, {self.dropped} dropped>"

    @property
    def is_up(self) -> bool:
        """Whether the last thing tried worked."""
        return self._state.is_up

    @property
    def dropped(self) -> int:
        """Events that could not be kept, or whose sending failed halfway."""
        return self._state.dropped

    def publish(self, topic: str, payload: str) -> None:
        """Send when possible, in order; never blocks, never raises. What cannot be kept is dropped and counted."""
        self._publisher.publish(self._prefix + topic, payload)

    def publish_now(self, topic: str, payload: str) -> None:
        """Send at once, for a caller who wants to know.

        Raises:
            ControlLinkDown: it could not be sent, after at most three seconds.
        """
        try:
            self._redis.publish(self._prefix + topic, payload)
        except (redis.RedisError, OSError) as error:
            raise ControlLinkDown(str(error) or type(error).__name__) from None

    def flush(self, timeout: float) -> bool:
        """Wait until everything published is sent; False if it is not within `timeout` seconds, or the link is down."""
        return self._publisher.flush(timeout)

    def subscribe(self, topic: str, sink: Callable[[str], None], *, wait: float = _CONNECT_TIMEOUT) -> bool:
        """Have `sink` called, in another thread, with each payload of the topic; see `Subscriber.subscribe`."""
        return self._subscriber.subscribe(self._prefix + topic, sink, wait=wait)

    def take_over(self, topic: str, sink: Callable[[str], None]) -> bool:
        """Have `sink` called, in the place of all others, with each further payload of a topic.

        False: nobody listens to it.
        """
        self._heirs[topic] = sink
        return self._subscriber.take_over(self._prefix + topic, sink)

    def hand_on(self, topic: str, payload: str) -> None:
        """Give what came for somebody who left it unread to who took over from them, if anybody did."""
        if (heir := self._heirs.get(topic)) is not None:
            heir(payload)

    def unsubscribe(self, topic: str, sink: Callable[[str], None]) -> None:
        """End what `subscribe` or `take_over` began."""
        if self._heirs.get(topic) == sink:
            del self._heirs[topic]
        self._subscriber.unsubscribe(self._prefix + topic, sink)


_links: dict[str, ControlLink] = {}
#: What a forked child finds of its parent: connections not to be used nor, as happens to garbage, said goodbye on.
_inherited: list[ControlLink] = []


def _leave_to_the_parent() -> None:
    _inherited.extend(_links.values())
    _links.clear()


os.register_at_fork(after_in_child=_leave_to_the_parent)


def control_link(url: str) -> ControlLink:
    """This process's link to that address."""
    return _links.get(url) or _links.setdefault(url, ControlLink(url))


@atexit.register
def _flush_all() -> None:
    """The last events of a process (worker-offline) get a moment to leave."""
    for link in list(_links.values()):
        link.flush(_CONNECT_TIMEOUT)
