"""The channel: kombu's verbs on SQS. Publishing is kombu's own; receiving and settling are ours."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from kombu.transport import SQS, virtual
from kombu.transport.virtual.base import queue_declare_ok_t

from app.errors import UndecodableMessage
from app.resilience import backoff
from app.transport import aws, envelope
from app.transport.addresses import Addresses
from app.transport.lateness import Lateness
from app.transport.options import Options
from app.transport.poller import Poller
from app.transport.qos import QoS
from app.transport.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_SYSTEM_ATTRIBUTES = ["ApproximateReceiveCount", "SentTimestamp"]
#: Where we note in a received message from which queue it is.
_URL = "QueueUrl"


class Message(virtual.Message):
    """A message whose inner body holds what Celery takes for granted, or says that it does not."""

    def _decode(self) -> Any:
        body = super()._decode()
        # What comes over the control link is none of the tasks'.
        return envelope.checked_body(body) if "sqs_message_id" in self.delivery_info else body


class Channel(SQS.Channel):
    """SQS as kombu's consumers and producers see it."""

    QoS = QoS
    Message = Message

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Kept, since kombu takes the connection away from a closed channel, and a task may end after that.
        self._inbox = self.connection.inbox
        #: What this transport was told.
        self.options: Options = self.transport_options.get("sqs") or Options()
        self._addresses = Addresses(self.options, client=self.sqs)
        self._pollers: dict[str, list[Poller]] = {}

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

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[..., None], consumer_tag: str, *args: Any, **kwargs: Any
    ) -> None:
        """Start polling the queue for this consumer.

        Raises:
            QueueMissing: there is no such queue. If SQS cannot be asked, that is the pollers' to say and to repeat.
        """
        try:
            self._resolve_queue_url(queue)
        except aws.AWSError as error:
            logger.debug("Queue %s: not found yet: %s", queue, error)
        virtual.Channel.basic_consume(self, queue, no_ack, callback, consumer_tag, *args, **kwargs)
        if queue not in self._pollers:
            self._pollers[queue] = self._new_pollers(queue)
            for poller in self._pollers[queue]:
                poller.start()

    @property
    def is_polling(self) -> bool:
        """Whether this channel consumes from any queue."""
        return bool(self._pollers)

    def _new_pollers(self, queue: str) -> list[Poller]:
        options = self.options.of(queue)
        lateness = None if options.max_age is None else Lateness(queue, max_age=options.max_age)
        slots = Slots(partial(self._free_slots, queue), polls=options.polls)
        return [
            Poller(
                queue=queue,
                receive=partial(self._receive, queue, lateness),
                slots=slots,
                deliver=partial(self._hand_over, queue),
                release=self._release_all,
            )
            for _ in range(options.polls)
        ]

    def _receive(self, queue: str, lateness: Lateness | None, most: int) -> list[dict[str, Any]]:
        """One long poll; in a poller's thread."""
        options = self.options
        client = aws.polling_client(wait=options.wait, endpoint_url=options.endpoint_url, region=options.region)
        url = self._resolve_queue_url(queue)
        try:
            answer = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=options.wait,
                VisibilityTimeout=options.of(queue).visibility,
                MessageSystemAttributeNames=_SYSTEM_ATTRIBUTES,
            )
        except aws.AWSError as error:
            if aws.is_missing_queue(error):
                self._addresses.forget(queue)
            raise
        messages = aws.received(answer)
        for message in messages:
            message[_URL] = url
        if lateness is not None and (report := lateness.received(map(_sent, messages))):
            logger.warning(report)
        return messages

    def _free_slots(self, queue: str) -> int:
        """Places for messages of this queue: the window's, or fewer if the queue has a bound of its own."""
        free: int | None = self.qos.can_consume_max_estimate()
        cap = self.options.of(queue).prefetch
        own = None if cap is None else cap - self.qos.held[queue]
        return min((bound for bound in (free, own) if bound is not None), default=aws.MAX_BATCH)

    def _hand_over(self, queue: str, messages: list[dict[str, Any]], taken: Callable[[], None]) -> None:
        """From a poller's thread to the consumer's."""
        for position, message in enumerate(messages):
            if not self._inbox.put(self._deliver, queue, message):
                self._release_all(messages[position:])
                break
        self._inbox.put(taken)

    def _deliver(self, queue: str, message: dict[str, Any]) -> None:
        """Give a message to the consumer; to nobody's harm if that has gone, or if the message cannot be read."""
        if self.connection is None or queue not in self.connection._callbacks:  # noqa: SLF001 - kombu's table of consumers has no public face
            self._release_all([message])
            return
        receipt = message["ReceiptHandle"]
        try:
            payload = self._payload(queue, message)
            self.connection._deliver(payload, queue)  # noqa: SLF001 - the way that kombu's own SQS channel takes
        except Exception as error:
            if not isinstance(error, UndecodableMessage):
                logger.exception("Queue %s: message %s could not be taken", queue, message["MessageId"])
            else:
                logger.error("Queue %s: message %s left to its redrive policy: %s", queue, message["MessageId"], error)  # noqa: TRY400 - the reason says it all
            self._come_back(message[_URL], receipt, _receive_count(message), message["MessageId"])
            self._free_slot(receipt)

    def _payload(self, queue: str, message: dict[str, Any]) -> dict[str, Any]:
        payload = envelope.decode(message["Body"])
        count = _receive_count(message)
        payload["properties"]["delivery_tag"] = message["ReceiptHandle"]
        payload["properties"]["delivery_info"].update(
            routing_key=queue,
            redelivered=count > 1,
            sqs_queue=message[_URL],
            sqs_message_id=message["MessageId"],
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
        """Stop polling for this consumer."""
        for poller in self._pollers.pop(self._tag_to_queue.get(consumer_tag), ()):
            poller.stop()
        virtual.Channel.basic_cancel(self, consumer_tag)

    def drain_events(self, timeout: float | None = None, callback: Any = None, **_: Any) -> None:
        """Never: the transport drains its inbox."""
        raise NotImplementedError

    # -- settle -------------------------------------------------------------------------------------------------

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002 - kombu's signature
        """Delete the message. If SQS does not let us, it comes back after its visibility timeout and runs again."""
        message = self.qos.unsettled(delivery_tag)
        if message is None:
            return
        info = message.delivery_info
        try:
            self.sqs().delete_message(QueueUrl=info["sqs_queue"], ReceiptHandle=delivery_tag)
        except Exception as error:  # noqa: BLE001 - whatever was answered, it must not end the worker
            logger.error(  # noqa: TRY400 - one line, the traceback is botocore's
                "Message %s is done but could not be deleted (%s: %s): it will run again",
                info["sqs_message_id"],
                aws.error_code(error),
                error,
            )
        self._free_slot(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: ARG002 - kombu's signature
        """Have the message come back after a growing delay, until the queue's redrive policy takes it.

        Celery maps a failed task, a lost worker and a rejected message alike to this one call, so all of them are
        tried again; nothing is deleted that did not succeed.
        """
        message = self.qos.unsettled(delivery_tag)
        if message is not None:
            info = message.delivery_info
            self._come_back(info["sqs_queue"], delivery_tag, info["sqs_receive_count"], info["sqs_message_id"])
            self._free_slot(delivery_tag)

    def _free_slot(self, delivery_tag: str) -> None:
        """The delivery is settled; not before SQS knows, or there would be more in flight than slots."""
        self.qos.settle(delivery_tag)
        for pollers in self._pollers.values():
            for poller in pollers:
                poller.slot_freed()

    def _come_back(self, queue_url: str, receipt: str, receive_count: int, message_id: str) -> None:
        wait = backoff.delay(receive_count, first=self.options.retry_first, most=self.options.retry_most)
        try:
            self.sqs().change_message_visibility(
                QueueUrl=queue_url, ReceiptHandle=receipt, VisibilityTimeout=min(round(wait), aws.MAX_VISIBILITY)
            )
        except Exception as error:  # noqa: BLE001 - as in basic_ack
            logger.warning(
                "Message %s keeps its visibility timeout, its delay could not be set (%s: %s)",
                message_id,
                aws.error_code(error),
                error,
            )

    def release(self, queue_url: str, receipts: list[str]) -> None:
        """Hand deliveries back: visible to others at once, no attempt spent."""
        try:
            failed = len(aws.change_visibility(self.sqs(), queue_url, receipts, 0))
        except Exception as error:  # noqa: BLE001 - as in basic_ack
            logger.warning("Could not hand back %d messages (%s: %s)", len(receipts), aws.error_code(error), error)
        else:
            if failed:
                logger.warning("%d of %d messages could not be handed back", failed, len(receipts))

    def _release_all(self, messages: list[dict[str, Any]]) -> None:
        """Hand back what one receive brought, or the rest of it."""
        self.release(messages[0][_URL], [message["ReceiptHandle"] for message in messages])

    # -- publish ------------------------------------------------------------------------------------------------

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        """Send one message.

        Raises:
            QueueMissing: there is no such queue.
            AWSError: SQS refused, or its answer had no message id: then it cannot be told whether it was sent.
        """
        properties = message["properties"]
        call: dict[str, Any] = {"QueueUrl": self._resolve_queue_url(queue)}
        if attributes := properties.pop("message_attributes", None):
            call["MessageAttributes"] = attributes
        if group := properties.get("MessageGroupId"):
            call["MessageGroupId"] = group
        if (delay := self._resolve_delay_seconds(properties)) is not None:
            call["DelaySeconds"] = delay
        answer = self.sqs().send_message(**call, MessageBody=json.dumps(message))
        if not answer.get("MessageId"):
            raise aws.not_understood("SendMessage")


def _system_number(message: dict[str, Any], name: str, default: float) -> float:
    """A system attribute; the default where it is missing or no number, since a message is worth more than that."""
    try:
        return float(message["Attributes"][name])
    except (KeyError, TypeError, ValueError):
        return default


def _receive_count(message: dict[str, Any]) -> int:
    return int(_system_number(message, "ApproximateReceiveCount", 1))


def _sent(message: dict[str, Any]) -> float:
    """When it was sent, in seconds since the epoch; SQS gives milliseconds."""
    return _system_number(message, "SentTimestamp", float("inf")) / 1000
