"""Reading JSON Lines: bytes in, numbered lines out; a bad one is named by its number and reason, and is not the end."""

from __future__ import annotations

import json
import math
import os
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

MAX_LINE = 1024 * 1024
"""Bytes of a line. No message of SQS is larger, and a line grows on its way into one.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

_CHUNK = 256 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A line's bytes without surrounding blanks, and its number, counted from 1. It may be anything yet."""

    number: int
    content: bytes


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be sent, and why: the reason never shows what is in it."""

    number: int
    reason: str


def chunks_of(stream: BinaryIO, *, patience: float = 1.0) -> Iterator[bytes | None]:
    """The stream's bytes as they come; None whenever nothing has come for `patience` seconds."""
    fd = stream.fileno()
    while True:
        if not select.select([fd], [], [], patience)[0]:
            yield None
            continue
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            return
        yield chunk


def split(chunks: Iterable[bytes | None], *, max_line: int = MAX_LINE) -> Iterator[Line | BadLine | None]:
    """Lines out of chunks, holding no more than one line and one chunk.

    Empty lines are skipped, though counted. None is passed on: what was read so far need not wait for more.
    """
    number, rest, is_too_long = 0, b"", False
    for chunk in chunks:
        if chunk is None:
            yield None
            continue
        *whole, rest_of_chunk = chunk.split(b"\n")
        for piece in whole:
            number += 1
            line = _line(number, rest + piece, max_line, is_too_long=is_too_long)
            rest, is_too_long = b"", False
            if line is not None:
                yield line
        rest += rest_of_chunk
        if len(rest) > max_line + 2:  # with the \r and a blank; what comes until the line's end is not kept
            rest, is_too_long = b"", True
    last = _line(number + 1, rest, max_line, is_too_long=is_too_long)
    if last is not None:
        yield last


def _line(number: int, raw: bytes, max_line: int, *, is_too_long: bool) -> Line | BadLine | None:
    if number == 1:
        raw = raw.removeprefix(_BOM)
    content = raw.strip(b" \t\r")
    if is_too_long or len(content) > max_line:
        return BadLine(number, f"it is longer than {max_line:,} bytes, more than an SQS message holds")
    return Line(number, content) if content else None


def value_of(line: Line) -> Any:
    """The JSON value in a line.

    Raises:
        ValueError: there is none; the sentence does not show the line.
    """
    try:
        text = line.content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start + 1})") from None
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deep") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"it is not JSON: {constant} is no JSON value")


def _finite(number: str) -> float:
    """A number with a point or an exponent. Python makes infinity of 1e400, which JSON has no word for."""
    value = float(number)
    if math.isinf(value):
        raise ValueError(
            "it has a number beyond the range of floating point (some 1.8e308), which JSON cannot carry on"
        )
    return value
