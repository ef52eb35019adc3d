"""Copies: a message that is sent once more, to a dead-letter queue or with another delay, as it is but for a note.

SQS moves no message that is in flight, and keeps it invisible for twelve hours at most, after which that counts as one
more receive. So a copy is sent, and the message is deleted only after SQS gave that copy a MessageId.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.transport.aws import MAX_MESSAGE

if TYPE_CHECKING:
    from app.transport.custody.delivery import Delivery

#: How many attributes a message may have.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_MOST_ATTRIBUTES = 10
#: Bytes that an attribute takes beside its name and its value: its type.
_ATTRIBUTE_EXTRA = 16


@dataclass(frozen=True, slots=True)
class Copy:
    """What is sent: to which queue, as which entry of a batch, and its size in bytes, attributes included."""

    url: str
    entry: dict[str, Any]
    size: int


def copy_of(delivery: Delivery, url: str, *, note: tuple[str, str], without: str = "", delay: int = 0) -> Copy:
    """The message once more, with its body and its attributes.

    Args:
        delivery: the message.
        url: of the queue that gets it.
        note: name and value of one attribute more. A message that has ten already, or no room, goes without it.
        without: the name of an attribute to leave out.
        delay: seconds that SQS is to hold it back.
    """
    name, value = note
    attributes = {key: each for key, each in delivery.message_attributes.items() if key not in (name, without)}
    size = delivery.size + sum(len(key) + len(str(each)) for key, each in attributes.items())
    noted = size + len(name) + len(value) + _ATTRIBUTE_EXTRA
    if len(attributes) < _MOST_ATTRIBUTES and noted <= MAX_MESSAGE:
        attributes[name] = {"DataType": "String", "StringValue": value}
        size = noted
    entry: dict[str, Any] = {"MessageBody": delivery.body}
    if attributes:
        entry["MessageAttributes"] = attributes
    if delay:
        entry["DelaySeconds"] = delay
    if group := delivery.attributes.get("MessageGroupId"):
        entry["MessageGroupId"] = group
    if url.endswith(".fifo"):
        entry["MessageDeduplicationId"] = delivery.message_id
    return Copy(url, entry, size)
