"""One broker for Celery: tasks on SQS, control and events on the control link."""

from __future__ import annotations

import json
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from kombu.transport import virtual
from kombu.transport.virtual.base import queue_declare_ok_t

from app import transport
from app.control.link import ControlLink, LinkOptions, control_link
from app.errors import ControlLinkDown
from app.transport.channel import Channel as TaskChannel

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Messages waiting in a process that does not read them (a Flower that is busy); beyond that they are dropped.
_UNREAD = 50_000


def is_control(name: str) -> bool:
    """Whether an exchange or a queue of this name is Celery's own for remote control, its replies or events."""
    return name.endswith(".pidbox") or name.startswith("celeryev")


class Channel(TaskChannel):
    """SQS for tasks; for control exchanges and queues, the link."""

    supports_fanout = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: What the link calls, by queue and topic.
        self._subscriptions: dict[str, dict[str, Callable[[str], None]]] = {}
        #: What came and waits to be read: queue, topic, payload.
        self._unread: deque[tuple[str, str, str]] = deque()

    @property
    def link(self) -> ControlLink | None:
        """The control link, if there is one."""
        link: ControlLink | None = self._transport.link
        return link

    # -- publish ------------------------------------------------------------------------------------------------

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> None:
        """Publish to SQS, or over the link.

        Events and replies are sent in the background and may be lost; a control command is sent at once.

        Raises:
            OperationalError: a control command could not be sent.
        """
        if not exchange or not is_control(exchange):
            super().basic_publish(message, exchange, routing_key, **kwargs)
            return
        is_command = exchange.endswith(".pidbox") and not exchange.startswith("reply.")
        self._inplace_augment_message(message, exchange, routing_key)
        topic, payload = _topic(exchange, routing_key), json.dumps(message)
        if not is_command:
            if self.link is not None:
                self.link.publish(topic, payload)
            return
        if self.link is None:
            raise OperationalError("Remote control needs a control link: set SLUICE_CONTROL_URL to a Valkey or Redis.")
        try:
            self.link.publish_now(topic, payload)
        except ControlLinkDown as error:
            raise OperationalError(str(error)) from None

    # -- consume ------------------------------------------------------------------------------------------------

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        """A control queue is nothing but its subscriptions."""
        if queue and is_control(queue):
            return queue_declare_ok_t(queue, 0, 0)
        return super().queue_declare(queue, passive, **kwargs)

    def exchange_declare(self, exchange: str | None = None, type: str = "direct", **kwargs: Any) -> None:  # noqa: A002 - kombu's signature
        """Over the link there are topics and broadcasts, on SQS there are not."""
        declare = virtual.Channel.exchange_declare if is_control(exchange or "") else TaskChannel.exchange_declare
        declare(self, exchange, type, **kwargs)

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", arguments: Any = None, **kwargs: Any
    ) -> None:
        """Subscribe now, not at the first consume: an answer may come before the asker listens."""
        if not is_control(queue):
            super().queue_bind(queue, exchange, routing_key, arguments, **kwargs)
            return
        topic = _topic(exchange or "", routing_key.replace("#", "*"))
        subscriptions = self._subscriptions.setdefault(queue, {})
        if self.link is not None and topic not in subscriptions:
            subscriptions[topic] = partial(self._on_payload, queue, topic)
            self.link.subscribe(topic, subscriptions[topic])

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[..., None], consumer_tag: str, *args: Any, **kwargs: Any
    ) -> None:
        """Consume from SQS, or from what the link brings."""
        consume = virtual.Channel.basic_consume if is_control(queue) else TaskChannel.basic_consume
        consume(self, queue, no_ack, callback, consumer_tag, *args, **kwargs)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Unsubscribe a control queue; refuse any other."""
        if not is_control(queue):
            super().queue_delete(queue, if_unused, if_empty, **kwargs)
            return
        for topic, sink in self._subscriptions.pop(queue, {}).items():
            if self.link is not None:
                self.link.unsubscribe(topic, sink)

    def queue_purge(self, queue: str, **kwargs: Any) -> int:
        """Nothing waits in a control queue."""
        return 0 if is_control(queue) else int(super().queue_purge(queue, **kwargs))

    def close(self) -> None:
        """Unsubscribe, leave what was not read to who has taken over, then close the SQS side."""
        for queue in list(self._subscriptions):
            self.queue_delete(queue)
        while self._unread and self.link is not None:
            _, topic, payload = self._unread.popleft()
            self.link.hand_on(topic, payload)
        super().close()

    def _on_payload(self, queue: str, topic: str, payload: str) -> None:
        """From the link's thread: over to the consumer's."""
        if len(self._transport.inbox) < _UNREAD:
            self._unread.append((queue, topic, payload))
            self._transport.inbox.put(self._read)

    def _read(self) -> None:
        """Give the next to whoever consumes; anybody who reaches the link may have sent it, so it may be anything."""
        if not self._unread:
            return
        queue, _, payload = self._unread.popleft()
        callback = self.connection._callbacks.get(queue) if self.connection is not None else None  # noqa: SLF001 - see TaskChannel
        if callback is None:
            return
        try:
            callback(json.loads(payload))
        except Exception as error:  # noqa: BLE001 - nothing that comes this way may end the worker
            logger.warning("A message of the control link could not be used (%s: %s)", type(error).__name__, error)


class Transport(transport.Transport):
    """What `broker_transport` names: Celery's one door to SQS and the control link."""

    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        if self.link is not None:
            # Celery starts its remote control only where it sees a broadcast exchange.
            self.implements: Any = transport.Transport.implements.extend(
                exchange_type=frozenset(["direct", "topic", "fanout"])
            )

    @property
    def link(self) -> ControlLink | None:
        """The control link of this process (it may be a fork of the one that made this transport), if there is one."""
        options: LinkOptions | None = self.client.transport_options.get("control")
        return control_link(options.url) if options else None


def _topic(exchange: str, routing_key: str) -> str:
    """As kombu's Redis transport names them."""
    return f"{exchange}/{routing_key}" if routing_key else exchange
