"""A queue's attributes: which there are, their ranges and defaults, and the policies that are JSON inside a string.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
"""

from __future__ import annotations

import json
from typing import Any

from app.testing.sqs.errors import SQSError, invalid_parameter

# name → (lowest, highest, default)
_RANGES: dict[str, tuple[int, int, int]] = {
    "DelaySeconds": (0, 900, 0),
    "MaximumMessageSize": (1_024, 1_048_576, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600, 345_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20, 0),
    "VisibilityTimeout": (0, 43_200, 30),
}
_KMS_REUSE = (60, 86_400, 300)
_SETTABLE = frozenset(
    {
        *_RANGES,
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "Policy",
        "RedriveAllowPolicy",
        "RedrivePolicy",
        "SqsManagedSseEnabled",
    }
)
COUNTS = frozenset(
    {"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed", "ApproximateNumberOfMessagesNotVisible"}
)
_FIFO = frozenset({"ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit"})
READABLE = _SETTABLE | COUNTS | _FIFO | {"All", "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn"}
MAX_SOURCES = 10
"""Source queues that a RedriveAllowPolicy may name."""


class QueueAttributes:
    """The settings of one queue, checked. Durations are seconds, sizes bytes."""

    __slots__ = (
        "allows",
        "dead_letter_arn",
        "delay",
        "max_receives",
        "maximum_message_size",
        "retention",
        "values",
        "visibility",
        "wait",
    )

    def __init__(self, values: dict[str, str] | None = None) -> None:
        self.values: dict[str, str] = {name: str(default) for name, (_, _, default) in _RANGES.items()}
        self.values["SqsManagedSseEnabled"] = "true"
        self.dead_letter_arn: str | None = None
        self.max_receives: int | None = None
        self.allows: dict[str, Any] = {"redrivePermission": "allowAll"}
        self._apply(values or {})

    def changed(self, values: dict[str, str]) -> QueueAttributes:
        """These attributes with some changed; `SQSError` says which one is not allowed."""
        return QueueAttributes({**self.values, **values})

    def different(self, values: dict[str, str]) -> str | None:
        """The first of these that has another value here; `None` if they agree."""
        wanted = QueueAttributes({**self.values, **values})
        for name in values:
            ours, theirs = self.values.get(name), wanted.values.get(name)
            if name in {"Policy", "RedriveAllowPolicy", "RedrivePolicy"} and ours and theirs:
                if json.loads(ours) != json.loads(theirs):
                    return name
            elif ours != theirs:
                return name
        return None

    def _apply(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            if name not in _SETTABLE:
                raise SQSError("InvalidAttributeName", f"Unknown Attribute {name}.")
            if name in _RANGES:
                self.values[name] = _in_range(name, value, *_RANGES[name][:2])
            elif value == "":
                # AWS: an empty string takes the policy away.
                self.values.pop(name, None)
            else:
                self.values[name] = _check(name, value)
        if "KmsMasterKeyId" in self.values:
            self.values["SqsManagedSseEnabled"] = "false"
        self.delay = int(self.values["DelaySeconds"])
        self.maximum_message_size = int(self.values["MaximumMessageSize"])
        self.retention = int(self.values["MessageRetentionPeriod"])
        self.wait = int(self.values["ReceiveMessageWaitTimeSeconds"])
        self.visibility = int(self.values["VisibilityTimeout"])
        if policy := self.values.get("RedrivePolicy"):
            self.dead_letter_arn, self.max_receives = _redrive_policy(policy)
        if policy := self.values.get("RedriveAllowPolicy"):
            self.allows = _redrive_allow_policy(policy)

    def allows_source(self, arn: str) -> bool:
        """Whether the queue with this ARN may use this one as its dead-letter queue."""
        match self.allows["redrivePermission"]:
            case "allowAll":
                return True
            case "denyAll":
                return False
            case _:
                return arn in self.allows["sourceQueueArns"]


def _in_range(name: str, value: str, lowest: int, highest: int) -> str:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = lowest - 1
    if not lowest <= number <= highest:
        raise SQSError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return str(number)


def _check(name: str, value: str) -> str:
    if name == "KmsDataKeyReusePeriodSeconds":
        return _in_range(name, value, *_KMS_REUSE[:2])
    if name == "SqsManagedSseEnabled" and value not in {"true", "false"}:
        raise SQSError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    if name == "Policy":
        try:
            json.loads(value)
        except ValueError:
            raise SQSError("InvalidAttributeValue", "Invalid value for the parameter Policy.") from None
    return value


def _policy(name: str, text: str) -> dict[str, Any]:
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        raise _refused(name, text, "it is not a JSON object")
    return policy


def _refused(name: str, text: str, reason: str) -> SQSError:
    return invalid_parameter(f"Value {text} for parameter {name} is invalid. Reason: {reason}.")


def _redrive_policy(text: str) -> tuple[str, int]:
    policy = _policy("RedrivePolicy", text)
    for key in ("deadLetterTargetArn", "maxReceiveCount"):
        if key not in policy:
            raise _refused("RedrivePolicy", text, f"Redrive policy does not contain mandatory attribute: {key}")
    if unknown := sorted(set(policy) - {"deadLetterTargetArn", "maxReceiveCount"}):
        raise _refused("RedrivePolicy", text, f"Redrive policy has an unknown attribute: {unknown[0]}")
    try:
        receives = int(policy["maxReceiveCount"])
    except (TypeError, ValueError):
        receives = 0
    if not 1 <= receives <= 1_000:
        raise _refused("RedrivePolicy", text, "Invalid value for maxReceiveCount: give 1 to 1000")
    return str(policy["deadLetterTargetArn"]), receives


def _redrive_allow_policy(text: str) -> dict[str, Any]:
    policy = _policy("RedriveAllowPolicy", text)
    permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns")
    if permission not in {"allowAll", "denyAll", "byQueue"}:
        raise _refused("RedriveAllowPolicy", text, "redrivePermission is one of allowAll, denyAll, byQueue")
    if permission != "byQueue" and sources is not None:
        raise _refused("RedriveAllowPolicy", text, "sourceQueueArns goes with redrivePermission byQueue only")
    if permission == "byQueue" and not (isinstance(sources, list) and 1 <= len(sources) <= MAX_SOURCES):
        raise _refused("RedriveAllowPolicy", text, f"byQueue needs sourceQueueArns, 1 to {MAX_SOURCES} of them")
    return policy
