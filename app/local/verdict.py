"""Whether everything that was sent has arrived, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from app.local.progress import Reading

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement: `problems` is empty when all is well, else a line for each thing that is not."""

    problems: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether all is well."""
        return not self.problems


def judge(sent: Collection[str], arrived: Collection[str], reading: Reading | None, *, not_sent: int = 0) -> Verdict:
    """Compare what was sent with what arrived.

    Args:
        sent: the ids of the events that SQS accepted, in the order of sending.
        arrived: the ids at the downstream.
        reading: the last counts; None if there is none.
        not_sent: events that SQS has not accepted.
    """
    problems = []
    if not_sent:
        problems.append(f"{not_sent:,} events were not sent")
    there = frozenset(arrived)
    if missing := [event for event in sent if event not in there]:
        problems.append(f"{len(missing):,} of {len(sent):,} events are missing downstream: {_some(missing)}")
    if strange := there.difference(sent):
        problems.append(f"{len(strange):,} events arrived downstream that were not sent: {_some(sorted(strange))}")
    if reading is None:
        problems.append("the queues could not be looked at")
    else:
        if reading.waiting or reading.in_work:
            problems.append(f"the queue is not empty: {reading.waiting:,} waiting, {reading.in_work:,} in work")
        if reading.dead:
            problems.append(f"the dead-letter queue is not empty: {reading.dead:,} messages")
    return Verdict(tuple(problems))


def _some(ids: Iterable[str]) -> str:
    ids = list(ids)
    more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
