"""Reading a call's JSON: the right type or AWS's error, with its wording."""

from __future__ import annotations

from typing import Any

from app.testing.sqs.errors import SQSError, invalid_parameter, missing_parameter

Parameters = dict[str, Any]


def _wrong_type(name: str, wanted: str) -> SQSError:
    return SQSError("SerializationException", f"The value of {name} is not {wanted}.")


def text(parameters: Parameters, name: str) -> str:
    """A string that must be there and not be empty."""
    value = parameters.get(name)
    if value is None or value == "":
        raise missing_parameter(name)
    if not isinstance(value, str):
        raise _wrong_type(name, "a string")
    return value


def optional_text(parameters: Parameters, name: str) -> str | None:
    """A string, or `None`."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong_type(name, "a string")
    return value


def integer(parameters: Parameters, name: str, lowest: int, highest: int, why: str) -> int | None:
    """A whole number in a range, or `None`; `why` is AWS's reason when it is outside."""
    value = parameters.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, "an integer")
    if not lowest <= value <= highest:
        raise invalid_parameter(f"Value {value} for parameter {name} is invalid. Reason: {why}")
    return value


def strings(parameters: Parameters, name: str) -> list[str]:
    """A list of strings; empty if it is not there."""
    value = parameters.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong_type(name, "a list of strings")
    return value


def string_map(parameters: Parameters, name: str) -> dict[str, str]:
    """A map of strings; empty if it is not there."""
    value = parameters.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _wrong_type(name, "a map of strings")
    return value


def attribute_map(parameters: Parameters, name: str) -> None:
    """Check the form of message attributes: a map of maps of strings."""
    value = parameters.get(name)
    if value is None:
        return
    if not isinstance(value, dict):
        raise _wrong_type(name, "a map")
    for attribute in value.values():
        if not isinstance(attribute, dict):
            raise _wrong_type(name, "a map of attributes")
        for key in ("DataType", "StringValue", "BinaryValue"):
            if key in attribute and not isinstance(attribute[key], str):
                raise _wrong_type(f"{name}.{key}", "a string")


def entries(parameters: Parameters, kind: str) -> list[Parameters]:
    """A batch's entries: one to ten, each with an id of its own."""
    found = parameters.get("Entries")
    if found is None:
        raise missing_parameter("Entries")
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _wrong_type("Entries", "a list of entries")
    if not found:
        raise SQSError("EmptyBatchRequest", f"There should be at least one {kind}RequestEntry in the request.")
    if len(found) > MAX_ENTRIES:
        raise SQSError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent {len(found)}.",
        )
    seen = set()
    for entry in found:
        entry_id = entry.get("Id")
        if entry_id is None:
            raise missing_parameter(f"{kind}RequestEntry.Id")
        if not isinstance(entry_id, str) or not _is_entry_id(entry_id):
            raise SQSError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at "
                "most 80 letters long.",
            )
        if entry_id in seen:
            raise SQSError("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
        seen.add(entry_id)
    return found


MAX_ENTRIES = 10
"""Entries of one batch.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""


def _is_entry_id(entry_id: str) -> bool:
    return (
        0 < len(entry_id) <= 80
        and entry_id.isascii()
        and (entry_id.isalnum() or entry_id.replace("-", "").replace("_", "").isalnum() or not entry_id.strip("-_"))
    )
