"""Whether a file may be sent: for the first time, or from where an earlier send stopped; never twice unasked."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from app.sending.lines import chunks_of, split
from app.sending.record import Header, Record, RecordError, check_unchanged

if TYPE_CHECKING:
    from pathlib import Path


def open_record(file: Path, *, task: str, queue: str, run_id: str | None, resume: bool) -> Record:
    """The record of a file, ready for more: begun, or checked against what is to be resumed.

    Args:
        file: what is to be sent; its record is beside it.
        task: the task's name.
        queue: the queue's name.
        run_id: what the user gave; None: a new one, or the one on record.
        resume: whether to go on with an earlier send; without one, this is the first.

    Raises:
        RecordError: the file must not be sent like this; the message says what to do.
    """
    record = Record(file.with_name(f"{file.name}.sent"))
    try:
        if record.header is None:
            record.begin(Header(run_id or uuid.uuid4().hex, task, queue))
        else:
            _check(record, record.header, Header(run_id or record.header.run_id, task, queue), file, resume=resume)
    except BaseException:
        record.close()
        raise
    return record


def _check(record: Record, on_record: Header, wanted: Header, file: Path, *, resume: bool) -> None:
    if not resume:
        raise RecordError(
            f"{file} has been sent before: {len(record.sent.lines):,} lines are on record in {record.path}. "
            f"Add --resume to send the rest, or remove that file to send all of it once more."
        )
    if wanted != on_record:
        raise RecordError(
            f"{file} was sent to the task {on_record.task} in the queue {on_record.queue} as run {on_record.run_id}: "
            f"--resume must say the same, or say nothing of it. To send it elsewhere, remove {record.path}."
        )
    try:
        with file.open("rb", buffering=0) as stream:
            check_unchanged(record.sent, on_record.run_id, split(chunks_of(stream)))
    except ValueError as error:
        raise RecordError(
            f"{file} has changed since it was sent: {error}. Put it back as it was (lines may be added at its end), "
            f"or send the new lines as a file of their own."
        ) from None
