"""What goes into one call: at most ten messages and 1 MiB of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from app.sending.entries import Entry

MAX_ENTRIES = 10
"""Messages in one SendMessageBatch.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html"""
MAX_BYTES = 1024 * 1024
"""Bytes of all messages in one call; bodies and attributes count. Likewise."""


def gather(
    entries: Iterable[Entry | None], *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
) -> Iterator[list[Entry]]:
    """Entries in full batches, in order.

    A None among them means that more may take long to come: what is there, and be it nothing, is then a batch.
    """
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if entry is None or (batch and size + entry.size > max_bytes):
            yield batch
            batch, size = [], 0
        if entry is not None:
            batch.append(entry)
            size += entry.size
        if len(batch) == max_entries:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
