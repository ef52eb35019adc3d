"""A message, and the rules for what one may contain: its size, its characters, its attributes and their MD5."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import md5
from typing import Any

from app.testing.sqs.errors import SQSError, invalid_parameter

MAX_ATTRIBUTES = 10
MAX_ATTRIBUTE_NAME = 256

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FORBIDDEN_ASCII = bytes(set(range(0x20)) - set(b"\t\n\r"))
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
_ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws\.|amazon\.))(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_ATTRIBUTE_TYPE = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_GROUP_ID = re.compile(r"""[A-Za-z0-9!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}""")


class State(IntEnum):
    """Where a message is in its life."""

    DELAYED = 0
    VISIBLE = 1
    IN_FLIGHT = 2
    GONE = 3


@dataclass(frozen=True, slots=True)
class Draft:
    """What a producer sends: checked, measured, with its MD5s, and not yet in a queue."""

    body: str
    body_md5: str
    size: int
    attributes: dict[str, dict[str, str]] | None = None
    attributes_md5: str | None = None
    trace_header: str | None = None
    system_attributes_md5: str | None = None
    group_id: str | None = None


class Message:
    """A message in a queue. Times are seconds since the epoch."""

    __slots__ = (
        "draft",
        "first_received_at",
        "id",
        "number",
        "received_at",
        "receives",
        "receives_here",
        "sent_at",
        "source_arn",
        "state",
        "ticket",
    )

    def __init__(self, number: int, message_id: str, draft: Draft, sent_at: float) -> None:
        self.number = number
        self.id = message_id
        self.draft = draft
        self.sent_at = sent_at
        self.state = State.VISIBLE
        self.ticket = 0
        self.receives = 0
        self.receives_here = 0
        self.received_at = 0.0
        self.first_received_at = 0.0
        self.source_arn: str | None = None

    def __repr__(self) -> str:
        return f"<Message {self.number} {self.state.name.lower()}, received {self.receives} times>"


def draft(parameters: dict[str, Any]) -> Draft:
    """Check what SendMessage, or one entry of SendMessageBatch, carries. `SQSError` says what is wrong with it."""
    body = parameters["MessageBody"]
    if _has_forbidden(body):
        raise SQSError("InvalidMessageContents", "Invalid characters found in the message body.")
    encoded = body.encode()
    size = len(encoded)
    attributes = parameters.get("MessageAttributes") or None
    attributes_md5 = None
    if attributes is not None:
        attributes_md5, attributes_size = _check_attributes(attributes)
        size += attributes_size
    trace_header = system_md5 = None
    if system := parameters.get("MessageSystemAttributes"):
        trace_header, system_md5 = _check_system_attributes(system)
    group_id = parameters.get("MessageGroupId")
    if group_id is not None and not _GROUP_ID.fullmatch(group_id):
        raise invalid_parameter(
            f"Value {group_id} for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include "
            "alphanumeric and punctuation characters. 1 to 128 in length."
        )
    return Draft(
        body=body,
        body_md5=md5(encoded, usedforsecurity=False).hexdigest(),
        size=size,
        attributes=attributes,
        attributes_md5=attributes_md5,
        trace_header=trace_header,
        system_attributes_md5=system_md5,
        group_id=group_id,
    )


def _has_forbidden(value: str) -> bool:
    if value.isascii():  # most JSON is; this is some ten times as fast
        encoded = value.encode()
        return len(encoded.translate(None, _FORBIDDEN_ASCII)) != len(encoded)
    return _FORBIDDEN.search(value) is not None


def size_of(parameters: dict[str, Any]) -> int:
    """Bytes of the body and the attributes, before anything is checked: what a batch's limit counts."""
    size = len(parameters["MessageBody"].encode("utf-8", "surrogatepass"))
    for name, attribute in (parameters.get("MessageAttributes") or {}).items():
        size += len(name.encode()) + len(str(attribute.get("DataType", "")).encode())
        if isinstance(text := attribute.get("StringValue"), str):
            size += len(text.encode("utf-8", "surrogatepass"))
        elif isinstance(data := attribute.get("BinaryValue"), str):
            size += len(data) * 3 // 4 - data[-2:].count("=")
    return size


def attributes_md5(attributes: dict[str, dict[str, str]]) -> str:
    """The MD5 of message attributes.

    Sorted by name, each one's name, type and value with its length before it, and a byte for the transport type:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    digest = md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        for text in (name, attribute["DataType"]):
            _add(digest, text.encode())
        if "BinaryValue" in attribute:
            digest.update(b"\x02")
            _add(digest, base64.b64decode(attribute["BinaryValue"]))
        else:
            digest.update(b"\x01")
            _add(digest, attribute["StringValue"].encode())
    return digest.hexdigest()


def _add(digest: Any, data: bytes) -> None:
    digest.update(struct.pack(">I", len(data)))
    digest.update(data)


def _check_attributes(attributes: dict[str, dict[str, str]]) -> tuple[str, int]:
    """The attributes' MD5 and their size in bytes."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise invalid_parameter(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        )
    size = 0
    for name, attribute in attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name):
            raise invalid_parameter(
                f"Message (user) attribute name '{name}' is invalid: it may have up to {MAX_ATTRIBUTE_NAME} letters, "
                "digits, hyphens, underscores and single periods inside, and must not begin with AWS. or Amazon."
            )
        size += len(name) + _check_attribute(name, attribute)
    return attributes_md5(attributes), size


def _check_attribute(name: str, attribute: dict[str, str]) -> int:
    """The size in bytes of one attribute's type and value."""
    kind = attribute.get("DataType") or ""
    match = _ATTRIBUTE_TYPE.fullmatch(kind)
    if match is None or len(kind) > MAX_ATTRIBUTE_NAME:
        raise invalid_parameter(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    base = match[1]
    if base == "Binary":
        data = decode_binary(name, attribute.get("BinaryValue"))
        size = len(data)
    else:
        text = attribute.get("StringValue")
        size = len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else 0
    if not size:
        raise invalid_parameter(f"Message (user) attribute '{name}' must contain a non-empty value of type '{base}'.")
    if base != "Binary" and _has_forbidden(attribute["StringValue"]):
        raise invalid_parameter(f"Message (user) attribute '{name}' contains invalid characters.")
    if base == "Number" and not _NUMBER.fullmatch(attribute["StringValue"]):
        raise invalid_parameter(
            f"Can't cast the value of message (user) attribute '{name}' to a number: {attribute['StringValue']}."
        )
    return len(kind.encode()) + size


def decode_binary(name: str, value: str | None) -> bytes:
    """A blob, which JSON carries in base64."""
    try:
        return base64.b64decode(value or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SQSError("SerializationException", f"The value of the attribute '{name}' is not base64.") from error


def _check_system_attributes(attributes: dict[str, dict[str, str]]) -> tuple[str, str]:
    """The one system attribute that may be sent, and the MD5; its size does not count."""
    for name, attribute in attributes.items():
        if name != "AWSTraceHeader":
            raise invalid_parameter(f"Message system attribute name '{name}' is invalid.")
        if attribute.get("DataType") != "String" or not attribute.get("StringValue"):
            raise invalid_parameter("The system attribute 'AWSTraceHeader' must be a non-empty String.")
    return attributes["AWSTraceHeader"]["StringValue"], attributes_md5(attributes)
