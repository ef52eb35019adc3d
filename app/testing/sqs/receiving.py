"""A ReceiveMessage: what it asks for, and the answer that gives just that.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.testing.sqs.message import Message, attributes_md5

if TYPE_CHECKING:
    from app.testing.sqs.queue import Delivery, Queue

SENDER_ID = "AIDALOCALSQSSERVER000"
SYSTEM_ATTRIBUTES = frozenset(
    {
        "AWSTraceHeader",
        "All",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
    }
)


@dataclass(frozen=True, slots=True)
class Receive:
    """A checked ReceiveMessage."""

    queue: Queue
    count: int
    wait: float
    visibility: int | None
    system_names: frozenset[str]
    attribute_names: tuple[str, ...]


def received(asked: Receive, deliveries: list[Delivery]) -> dict[str, Any]:
    """The answer to a ReceiveMessage: no `Messages` at all when there are none."""
    if not deliveries:
        return {}
    messages = []
    for delivery in deliveries:
        message = delivery.message
        entry: dict[str, Any] = {
            "MessageId": message.id,
            "ReceiptHandle": delivery.receipt_handle,
            "MD5OfBody": message.draft.body_md5,
            "Body": message.draft.body,
        }
        if asked.system_names and (system := _system_attributes(message, delivery.receives, asked.system_names)):
            entry["Attributes"] = system
        own = message.draft.attributes
        if own and asked.attribute_names:
            chosen = {name: own[name] for name in own if _is_asked_for(name, asked.attribute_names)}
            if chosen:
                entry["MessageAttributes"] = chosen
                # The MD5 is that of what is given, not of all that was sent.
                entry["MD5OfMessageAttributes"] = (
                    message.draft.attributes_md5 if len(chosen) == len(own) else attributes_md5(chosen)
                )
        messages.append(entry)
    return {"Messages": messages}


def _system_attributes(message: Message, receives: int, names: frozenset[str]) -> dict[str, str]:
    values = {
        "SenderId": SENDER_ID,
        "SentTimestamp": str(int(message.sent_at * 1000)),
        "ApproximateReceiveCount": str(receives),
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
    }
    if message.source_arn is not None:
        values["DeadLetterQueueSourceArn"] = message.source_arn
    if message.draft.group_id is not None:
        values["MessageGroupId"] = message.draft.group_id
    if message.draft.trace_header is not None:
        values["AWSTraceHeader"] = message.draft.trace_header
    return values if "All" in names else {name: value for name, value in values.items() if name in names}


def _is_asked_for(name: str, wanted: tuple[str, ...]) -> bool:
    return any(
        item == name or item in {"All", ".*"} or (item.endswith(".*") and name.startswith(item[:-2])) for item in wanted
    )
