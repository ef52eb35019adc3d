"""The channel: kombu's verbs on SQS. Publishing is kombu's own; receiving and settling are ours."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from kombu.transport import SQS, virtual
from kombu.transport.virtual.base import queue_declare_ok_t
from kombu.utils.encoding import bytes_to_str

from app.errors import CannotDelay, NotOnSQS, QueueMissing, UndecodableMessage
from app.outcome import DONE, RETURNED, reject, retry
from app.transport import aws, delays, envelope
from app.transport.addresses import Addresses
from app.transport.options import Options
from app.transport.qos import QoS

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.outcome import Outcome
    from app.transport.custody.delivery import Delivery
    from app.transport.intake import Intake

logger = logging.getLogger(__name__)

#: Where a payload has its delivery, for the message that is made of it: under a key that no JSON can have. By its tag
#: it might not be found any more, as the engine's thread may hand it back meanwhile: its task ran without a lease then.
_DELIVERY = object()


class Message(virtual.Message):
    """A message whose inner body holds what Celery takes for granted, or says that it does not."""

    def __init__(self, payload: dict[Any, Any], channel: Channel, **kwargs: Any) -> None:
        super().__init__(payload, channel, **kwargs)
        #: What SQS handed out; None for what came over the control link.
        self.delivery: Delivery | None = payload.get(_DELIVERY)

    def _decode(self) -> Any:
        body = super()._decode()
        # What comes over the control link is none of the tasks'.
        return body if self.delivery is None else envelope.checked_body(body)


class Channel(SQS.Channel):
    """SQS as kombu's consumers and producers see it."""

    QoS = QoS
    Message = Message

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Kept, since kombu takes the connection away from a closed channel, and a task may end after that.
        self._transport = self.connection
        #: What this transport was told.
        self.options: Options = self.transport_options.get("sqs") or Options()
        self._addresses = Addresses(self.options, client=self.sqs)
        #: Queues whose consumer asked for messages that count as settled once it has them.
        self._unacknowledged: set[str] = set()

    # -- queues: found, never made ------------------------------------------------------------------------------

    def sqs(self, queue: str | None = None) -> Any:  # noqa: ARG002 - kombu asks per queue
        """The process's SQS client."""
        return aws.sqs_client(endpoint_url=self.options.endpoint_url, region=self.options.region)

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        """List nothing: least-privilege roles may not, and queues are found one by one."""

    def _resolve_queue_url(self, queue: str) -> str:
        """The queue's address.

        Raises:
            QueueMissing: there is no such queue.
        """
        return self._addresses.url(queue)

    def _new_queue(self, queue: str, **_: Any) -> str:
        """Declaring a queue finds it; only `celery -A app queues ensure` makes one."""
        return self._resolve_queue_url(queue)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **_: Any) -> Any:  # noqa: ARG002 - kombu's signature
        """Nothing: a queue is looked for when it is used, and its depth is not asked for (that would be a call)."""
        return queue_declare_ok_t(queue, 0, 0)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        """Refuse: nothing of ours deletes a queue."""
        raise NotImplementedError(f"Sluice does not delete queues; delete {queue!r} in AWS if it must go.")

    # -- receive ------------------------------------------------------------------------------------------------

    @property
    def intake(self) -> Intake:
        """What this connection receives."""
        intake: Intake = self._transport.intake
        return intake

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[..., None], consumer_tag: str, *args: Any, **kwargs: Any
    ) -> None:
        """Start receiving from the queue for this consumer.

        Where it is not there, or SQS cannot be asked, its receiver says so and goes on looking for it.
        """
        self._make_where_we_may(queue)
        virtual.Channel.basic_consume(self, queue, no_ack, callback, consumer_tag, *args, **kwargs)
        if no_ack:
            self._unacknowledged.add(queue)
        self.intake.consume(queue, self.options.of(queue).url)

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Hold at most so many messages; 0 is no limit of the consumer's."""
        super().basic_qos(prefetch_size, prefetch_count, apply_global)
        self.intake.resize(prefetch_count)  # Celery sets it when its pool has grown

    def on_queue_missing(self, queue: str) -> None:
        """A queue that was there is gone; make it anew where we may (a local server that was started again)."""
        self._addresses.forget(queue)
        self._make_where_we_may(queue)

    def _make_where_we_may(self, queue: str) -> None:
        """Make the queue if it is missing and is to be on a server of this machine; nothing waits for any other."""
        if self.options.make:
            with contextlib.suppress(QueueMissing, *aws.AWSError):
                self._resolve_queue_url(queue)

    def give(self, delivery: Delivery) -> None:
        """Give a message to its consumer; to nobody's harm if that has gone, or if the message cannot be read."""
        queue = delivery.queue
        if self.connection is None or queue not in self.connection._callbacks:  # noqa: SLF001 - kombu's table of consumers has no public face
            delivery.settle(RETURNED)
            return
        try:
            payload = self._payload(delivery)
            if self._transport.places is not None and (seconds := self._seconds_until_due(payload)) > 0:
                self.intake.postpone(delivery, seconds)
                return
            self.connection._deliver(payload, queue)  # noqa: SLF001 - the way that kombu's own SQS channel takes
        except UndecodableMessage as error:
            delivery.settle(reject(str(error)))
        except Exception:
            logger.exception("Queue %s: message %s could not be taken", queue, delivery.message_id)
            delivery.settle(retry(reason="it could not be taken"))
        else:
            if queue in self._unacknowledged:
                delivery.settle(DONE)

    def _seconds_until_due(self, payload: dict[str, Any]) -> float:
        """Seconds until the task may begin. What is revoked may at once: Celery then throws it away."""
        headers = payload["headers"]
        if "task" not in headers:
            headers = self._older_headers(payload)
        if headers.get("eta") is None:
            return 0.0
        seconds = delays.seconds_until_due(headers, now=time.time())
        return 0.0 if self._transport.is_revoked(str(headers.get("id"))) else seconds

    def _older_headers(self, payload: dict[str, Any]) -> dict[str, Any]:
        """In Celery's first message protocol they are in the inner body; {} if they are not even there."""
        try:
            body = self.decode_body(payload["body"], payload["properties"].get("body_encoding"))
            body = envelope.read(bytes_to_str(body))
        except UndecodableMessage:
            return {}  # Celery's consumer says what is wrong
        return body if isinstance(body, dict) else {}

    def _payload(self, delivery: Delivery) -> dict[Any, Any]:
        payload: dict[Any, Any] = envelope.decode(delivery.body)
        payload[_DELIVERY] = delivery
        count = delivery.receive_count
        payload["properties"]["delivery_tag"] = delivery.tag
        payload["properties"]["delivery_info"].update(
            routing_key=delivery.queue,
            redelivered=count > 1,
            sqs_queue=delivery.url,
            sqs_message_id=delivery.message_id,
            sqs_receive_count=count,
        )
        return payload

    def decode_body(self, body: str, encoding: str | None = None) -> Any:
        """The inner body without its transfer encoding.

        Raises:
            UndecodableMessage: it is not in that encoding.
        """
        try:
            return super().decode_body(body, encoding)
        except ValueError:
            raise UndecodableMessage(f"the inner body is not {encoding}") from None

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop receiving for this consumer, and hand back what it has not begun."""
        queue = self._tag_to_queue.get(consumer_tag)
        virtual.Channel.basic_cancel(self, consumer_tag)
        if queue is not None:
            self._unacknowledged.discard(queue)
            self.intake.cancel(queue)

    def drain_events(self, timeout: float | None = None, callback: Any = None, **_: Any) -> None:
        """Never: the transport drains its inbox."""
        raise NotImplementedError

    # -- settle -------------------------------------------------------------------------------------------------
    # Kombu's verbs, for consumers that know no outcomes. Celery's requests settle their delivery themselves, since
    # Celery maps a failed task, a lost worker and a rejected message alike to `basic_reject`.

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002 - kombu's signature
        """Delete the message."""
        self._settle(delivery_tag, DONE)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Have the message come back after a growing delay, or, if it is not to be requeued, dead-letter it."""
        self._settle(delivery_tag, retry() if requeue else reject("its consumer rejected it"))

    def _settle(self, delivery_tag: str, outcome: Outcome) -> None:
        if (delivery := self.delivery(delivery_tag)) is not None:
            delivery.settle(outcome)

    def delivery(self, tag: str) -> Delivery | None:
        """What was given to the consumer under that tag and is not settled."""
        delivery: Delivery | None = self._transport.delivery(tag)
        return delivery

    def _purge(self, queue: str) -> int:
        """Delete all messages of the queue, those in work included; how many could be received, as SQS estimates it.

        Raises:
            AWSError: SQS refused, as it does within a minute of the last time.
        """
        count: int = self._size(queue)
        self.sqs().purge_queue(QueueUrl=self._resolve_queue_url(queue))
        return count

    # -- publish ------------------------------------------------------------------------------------------------

    def exchange_declare(self, exchange: str | None = None, type: str = "direct", **kwargs: Any) -> None:  # noqa: A002 - kombu's signature
        """Note an exchange.

        Raises:
            NotOnSQS: it would give a message to more than the queue that its sender names.
        """
        if type not in (None, "", "direct"):
            raise NotOnSQS(
                f"The exchange {exchange!r} is of type {type!r}, and SQS has queues only: use direct exchanges, and "
                "send once for each queue."
            )
        super().exchange_declare(exchange, type, **kwargs)

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        """The queues that get what is sent there.

        Raises:
            NotOnSQS: none does. Kombu's own drops the message.
        """
        if queues := list(super()._lookup(exchange, routing_key, default)):
            return queues
        raise NotOnSQS(
            f"No queue hangs on the exchange {exchange!r} with the routing key {routing_key!r}; SQS has queues only: "
            "leave both out and name the queue, as in apply_async(queue=…)."
        )

    def encode_body(self, body: Any, encoding: str | None = None) -> Any:
        """The inner body with its transfer encoding: plain, or base64 where it is compressed."""
        return super().encode_body(body, "base64" if isinstance(body, bytes) else encoding)

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        """Send one message.

        Raises:
            NotOnSQS: no worker would read it.
            QueueMissing: there is no such queue.
            CannotDelay: the message is due later, and the queue cannot hold it back.
            AWSError: SQS refused, or its answer had no message id: then it cannot be told whether it was sent.
        """
        properties, headers = message["properties"], message.get("headers") or {}
        if (content_type := message.get("content-type")) not in (None, "application/json"):
            raise NotOnSQS(
                f"The message is {content_type}, and Sluice's workers read JSON only: leave the serializer at 'json'."
            )
        if isinstance(eta := headers.get("eta"), str) and not envelope.is_near(eta):
            raise NotOnSQS(f"The eta {eta} is out of all bounds: no worker can tell it in every time zone.")
        call: dict[str, Any] = {"QueueUrl": self._resolve_queue_url(queue)}
        if attributes := properties.pop("message_attributes", None):
            call["MessageAttributes"] = attributes
        if group := properties.get("MessageGroupId"):
            call["MessageGroupId"] = group
        delay = self._resolve_delay_seconds(properties)
        if delay is None:
            delay = delays.delay(headers, now=time.time(), longest=self.options.longest_delay)
        if delay is not None:
            if str(call["QueueUrl"]).endswith(".fifo"):
                raise CannotDelay(queue)
            call["DelaySeconds"] = delay
        answer = self.sqs().send_message(**call, MessageBody=envelope.encode(message))
        if not answer.get("MessageId"):
            raise aws.not_understood("SendMessage")
