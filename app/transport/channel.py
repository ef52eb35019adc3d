"""The channel: kombu's verbs on SQS. Publishing is kombu's own; receiving and settling are ours."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from kombu.transport import SQS, virtual
from kombu.transport.virtual.base import queue_declare_ok_t

from app.errors import QueueMissing, UndecodableMessage
from app.resilience import backoff
from app.transport import aws, envelope, provision
from app.transport.options import Options
from app.transport.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_SYSTEM_ATTRIBUTES = ["ApproximateReceiveCount", "SentTimestamp"]


class QoS(virtual.QoS):
    """The window: what was received and is not settled, by receipt handle; only the consumer's thread changes it."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        #: How many messages of each queue are in the window.
        self.held: Counter[str] = Counter()

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message takes a slot."""
        super().append(message, delivery_tag)
        self.held[message.delivery_info["routing_key"]] += 1

    def settle(self, delivery_tag: str) -> Any:
        """The message gives its slot back; None if it had none any more."""
        message = None if delivery_tag in self._dirty else self._delivered.get(delivery_tag)
        if message is not None:
            self.held[message.delivery_info["routing_key"]] -= 1
            self.ack(delivery_tag)
        return message

    def restore_unacked(self) -> list[tuple[BaseException, Any]]:
        """Hand everything unsettled back to SQS at once (visibility 0), ten a call."""
        self._flush()
        by_queue: dict[str, list[str]] = {}
        for receipt, message in self._delivered.items():
            by_queue.setdefault(message.delivery_info["sqs_queue"], []).append(receipt)
        self._delivered.clear()
        self.held.clear()
        for queue_url, receipts in by_queue.items():
            self.channel.release(queue_url, receipts)
        return []


class Channel(SQS.Channel):
    """SQS as kombu's consumers and producers see it."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pollers: dict[str, list[Poller]] = {}

    @property
    def options(self) -> Options:
        """What this transport was told."""
        options: Options = self.transport_options.get("sqs") or Options()
        return options

    # -- queues: found, never made ------------------------------------------------------------------------------

    def sqs(self, queue: str | None = None) -> Any:  # noqa: ARG002 - kombu asks per queue
        """The process's SQS client."""
        return aws.sqs_client(endpoint_url=self.options.endpoint_url, region=self.options.region)

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        """List nothing: least-privilege roles may not, and queues are found one by one."""

    def _resolve_queue_url(self, queue: str) -> str:
        """The queue's address: as configured, else asked for once.

        Raises:
            QueueMissing: there is no such queue.
        """
        if queue not in self._queue_cache:
            self._queue_cache[queue] = self.options.of(queue).url or self._ask_queue_url(queue)
        url: str = self._queue_cache[queue]
        return url

    def _ask_queue_url(self, queue: str) -> str:
        options = self.options.of(queue)
        name = options.name or queue
        owner = {"QueueOwnerAWSAccountId": options.account} if options.account else {}
        try:
            return str(self.sqs().get_queue_url(QueueName=name, **owner)["QueueUrl"])
        except aws.AWSError as error:
            if not aws.is_missing_queue(error):
                raise
        if name not in {wanted.name for wanted in self.options.make}:
            raise QueueMissing(name)
        for missing in provision.missing(self.sqs(), self.options.make):
            provision.make(self.sqs(), missing)
        return str(self.sqs().get_queue_url(QueueName=name)["QueueUrl"])

    def _new_queue(self, queue: str, **_: Any) -> str:
        """Declaring a queue finds it; only `celery -A app queues ensure` makes one."""
        return self._resolve_queue_url(queue)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **_: Any) -> Any:  # noqa: ARG002 - kombu's signature
        """Find the queue; its depth is not asked for (each declaration would cost a call)."""
        self._resolve_queue_url(str(queue))
        return queue_declare_ok_t(queue, 0, 0)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        """Refuse: nothing of ours deletes a queue."""
        raise NotImplementedError(f"Sluice does not delete queues; delete {queue!r} in AWS if it must go.")

    # -- receive ------------------------------------------------------------------------------------------------

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[..., None], consumer_tag: str, *args: Any, **kwargs: Any
    ) -> None:
        """Start polling the queue for this consumer."""
        url = self._resolve_queue_url(queue)
        virtual.Channel.basic_consume(self, queue, no_ack, callback, consumer_tag, *args, **kwargs)
        if queue not in self._pollers:
            self._pollers[queue] = [self._new_poller(queue, url) for _ in range(self.options.of(queue).polls)]
            for poller in self._pollers[queue]:
                poller.start()

    @property
    def is_polling(self) -> bool:
        """Whether this channel consumes from any queue."""
        return bool(self._pollers)

    def _new_poller(self, queue: str, url: str) -> Poller:
        options, client, inbox = self.options.of(queue), self.sqs(), self.connection.inbox

        def receive(most: int) -> list[dict[str, Any]]:
            answer = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=self.options.wait,
                VisibilityTimeout=options.visibility,
                MessageSystemAttributeNames=_SYSTEM_ATTRIBUTES,
            )
            messages: list[dict[str, Any]] = answer.get("Messages", [])
            return messages

        return Poller(
            queue=queue,
            receive=receive,
            free=lambda: self._free_slots(queue),
            deliver=lambda messages, taken: inbox.put(self._deliver, queue, url, messages, taken),
        )

    def _free_slots(self, queue: str) -> int:
        """Slots that a receive may fill now; several polls may each fill the same, so the window is a soft bound."""
        free: int | None = self.qos.can_consume_max_estimate()
        slots = aws.MAX_BATCH if free is None else free
        cap = self.options.of(queue).prefetch
        return slots if cap is None else min(slots, cap - self.qos.held[queue])

    def _deliver(self, queue: str, url: str, messages: list[dict[str, Any]], taken: Callable[[], None]) -> None:
        """Give received messages to the consumer; to nobody's harm if it has gone or one cannot be read."""
        try:
            if queue not in self.connection._callbacks:  # noqa: SLF001 - kombu's table of consumers has no public face
                self.release(url, [message["ReceiptHandle"] for message in messages])
                return
            for message in messages:
                self._deliver_one(queue, url, message)
        finally:
            taken()

    def _deliver_one(self, queue: str, url: str, message: dict[str, Any]) -> None:
        receipt = message["ReceiptHandle"]
        try:
            payload = self._payload(queue, url, message)
            self.connection._deliver(payload, queue)  # noqa: SLF001 - the way that kombu's own SQS channel takes
        except Exception as error:
            if not isinstance(error, UndecodableMessage):
                logger.exception("Queue %s: message %s could not be taken", queue, message["MessageId"])
            else:
                logger.error("Queue %s: message %s left to its redrive policy: %s", queue, message["MessageId"], error)  # noqa: TRY400 - the reason says it all
            self._come_back(url, receipt, _receive_count(message), message["MessageId"])
            self.qos.settle(receipt)

    def _payload(self, queue: str, url: str, message: dict[str, Any]) -> dict[str, Any]:
        payload = envelope.decode(message["Body"])
        count = _receive_count(message)
        payload["properties"]["delivery_tag"] = message["ReceiptHandle"]
        payload["properties"]["delivery_info"].update(
            routing_key=queue,
            redelivered=count > 1,
            sqs_queue=url,
            sqs_message_id=message["MessageId"],
            sqs_receive_count=count,
        )
        return payload

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
        message = self._settled(delivery_tag)
        if message is None:
            return
        info = message.delivery_info
        try:
            self.sqs().delete_message(QueueUrl=info["sqs_queue"], ReceiptHandle=delivery_tag)
        except aws.AWSError as error:
            logger.error(  # noqa: TRY400 - one line, the traceback is botocore's
                "Message %s is done but could not be deleted (%s: %s): it will run again",
                info["sqs_message_id"],
                aws.error_code(error),
                error,
            )

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: ARG002 - kombu's signature
        """Have the message come back after a growing delay, until the queue's redrive policy takes it.

        Celery maps a failed task, a lost worker and a rejected message alike to this one call, so all of them are
        tried again; nothing is deleted that did not succeed.
        """
        message = self._settled(delivery_tag)
        if message is not None:
            info = message.delivery_info
            self._come_back(info["sqs_queue"], delivery_tag, info["sqs_receive_count"], info["sqs_message_id"])

    def _settled(self, delivery_tag: str) -> Any:
        """The delivery's message, its slot now free; None if it was settled before."""
        message = self.qos.settle(delivery_tag)
        for pollers in self._pollers.values():
            for poller in pollers:
                poller.slot_freed()
        return message

    def _come_back(self, queue_url: str, receipt: str, receive_count: int, message_id: str) -> None:
        wait = backoff.delay(receive_count, first=self.options.retry_first, most=self.options.retry_most)
        try:
            self.sqs().change_message_visibility(
                QueueUrl=queue_url, ReceiptHandle=receipt, VisibilityTimeout=min(round(wait), aws.MAX_VISIBILITY)
            )
        except aws.AWSError as error:
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
        except aws.AWSError as error:
            logger.warning("Could not hand back %d messages (%s: %s)", len(receipts), aws.error_code(error), error)
        else:
            if failed:
                logger.warning("%d of %d messages could not be handed back", failed, len(receipts))

    # -- publish ------------------------------------------------------------------------------------------------

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        """Send one message.

        Raises:
            QueueMissing: there is no such queue.
            OSError: the answer had no message id, so it cannot be told whether the message was sent.
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
            raise OSError(f"SQS answered a send to {queue!r} without a message id: it may or may not have been sent.")


def _receive_count(message: dict[str, Any]) -> int:
    return int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
