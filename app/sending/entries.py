"""Lines as messages, each under the id that is its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.sending.ids import task_id
from app.sending.lines import BadLine, value_of

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Iterator

    from app.sending.lines import Line
    from app.sending.ranges import Ranges

MAX_MESSAGE = 1024 * 1024
"""Bytes of a message; its attributes count.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html, MessageBody
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line as a message: what SendMessage is told of it, beside the queue.

    Raises:
        ValueError: SQS would not take it.
    """

    number: int
    task_id: uuid.UUID
    message: dict[str, Any]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        body = self.message["MessageBody"]
        if _FORBIDDEN.search(body):
            raise ValueError("its message has a character that SQS does not take")
        size = len(body) if body.isascii() else len(body.encode())
        for name, attribute in self.message.get("MessageAttributes", {}).items():
            value = attribute.get("StringValue", attribute.get("BinaryValue", b""))
            size += sum(len(part.encode() if isinstance(part, str) else part) for part in (name, value))
            size += len(attribute["DataType"])
        if size > MAX_MESSAGE:
            raise ValueError(f"its message has {size:,} bytes; SQS takes {MAX_MESSAGE:,}")
        object.__setattr__(self, "size", size)


def entries(
    lines: Iterable[Line | BadLine | None],
    *,
    message: Callable[[Any, str], dict[str, Any]],
    run_id: str,
    done: Ranges,
    bad: Callable[[int, str], None],
) -> Iterator[Entry | None]:
    """Entries for the lines that are to be sent; a None is passed on.

    Args:
        lines: what was read.
        message: makes the message for a value and a task id.
        run_id: what task ids derive from, beside the line.
        done: the numbers of lines that have been sent already, and are skipped.
        bad: told of lines that cannot be sent: number and reason.
    """
    for line in lines:
        if line is None:
            yield None
        elif isinstance(line, BadLine):
            bad(line.number, line.reason)
        elif line.number not in done:
            line_id = task_id(run_id, line.number, line.content)
            try:
                entry = Entry(line.number, line_id, message(value_of(line), str(line_id)))
            except ValueError as error:
                bad(line.number, str(error))
            except RecursionError:
                bad(line.number, "its JSON is nested too deep")
            else:
                yield entry
