"""What a setting carries beside its type (its unit, and what holds without it), and how both are said in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import annotated_types

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

T = TypeVar("T")

LONGEST_LEASE = 43_200
"""Seconds: SQS takes a message back 12 hours after its receipt, whatever was renewed (ChangeMessageVisibility)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts, or what a text is."""

    text: str


@dataclass(frozen=True, slots=True)
class Unset:
    """What holds while the setting has no value."""

    text: str


def metadata(field: FieldInfo, kind: type[T]) -> T | None:
    """The field's metadata of that kind."""
    return next((item for item in field.metadata if isinstance(item, kind)), None)


def expected(field: FieldInfo) -> str:
    """The values that a field takes, in words: `a whole number of seconds from 1 to 20`."""
    annotation = str(field.annotation)
    if "bool" in annotation:
        return "true or false"
    if "int" not in annotation and "float" not in annotation:
        unit = metadata(field, Unit)
        return unit.text if unit else "text"
    words = ["a whole number" if "int" in annotation else "a number"]
    if unit := metadata(field, Unit):
        words.append(f"of {unit.text}")
    least = metadata(field, annotated_types.Ge)
    above = metadata(field, annotated_types.Gt)
    most = metadata(field, annotated_types.Le)
    if least:
        words.append(f"from {_number(least.ge)}" if most else f"of at least {_number(least.ge)}")
    if above:
        words.append(f"above {_number(above.gt)}")
    if most:
        words.append(f"to {_number(most.le)}" if least else f"and at most {_number(most.le)}")
    return " ".join(words)


_WRONG = {
    "int_parsing": "not a whole number",
    "int_type": "not a whole number",
    "int_from_float": "not a whole number",
    "float_parsing": "not a number",
    "float_type": "not a number",
    "finite_number": "not a number",
    "bool_parsing": "neither true nor false",
    "bool_type": "neither true nor false",
    "string_type": "not a text",
    "greater_than": "too small",
    "greater_than_equal": "too small",
    "less_than_equal": "too large",
}


def explained(error: ErrorDetails, field: FieldInfo) -> str:
    """What is wrong with a value and what to do, from pydantic's error for that field.

    Our own validators raise a ValueError whose text is already that.
    """
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{_WRONG.get(error['type'], error['msg'])}; give {expected(field)}"


def _number(value: Any) -> str:
    return f"{value:,}" if value >= 1_000 else f"{value:g}"
