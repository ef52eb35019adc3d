"""Asks the embedded servers, and the sender's record, how far things are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import urllib3

from app.local.progress import Reading
from app.sending.ranges import Ranges, parse

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from app.local.environment import Addresses


class Observer:
    """Looks at a running system.

    Args:
        addresses: where the servers are.
        queues: the names of the queues.
        dead_letter_queues: the names of theirs.
        events: the file that is sent.
        timeout: seconds for each question; it stands in the way of everything else that `up` does.
    """

    def __init__(
        self,
        addresses: Addresses,
        *,
        queues: Collection[str],
        dead_letter_queues: Collection[str],
        events: Path,
        timeout: float = 2.0,
    ) -> None:
        self._addresses = addresses
        self._queues = frozenset(queues)
        self._dead_letter_queues = frozenset(dead_letter_queues) - self._queues
        self._events = events
        self._sent = _Sent(events.with_name(f"{events.name}.sent"))
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(total=timeout), retries=False)

    def look(self, now: float) -> Reading | None:
        """The counts at `now` (monotonic seconds); None if a server does not answer in time."""
        queues = self._ask(f"{self._addresses.sqs}/_sluice/queues")
        downstream = self._ask(f"{self._addresses.downstream}/stats")
        if queues is None or downstream is None:
            return None
        depths = [row for name, row in queues["queues"].items() if name in self._queues]
        dead = [row for name, row in queues["queues"].items() if name in self._dead_letter_queues]
        return Reading(
            at=now,
            sent=len(self._sent.lines()),
            waiting=sum(row["visible"] + row["delayed"] for row in depths),
            in_work=sum(row["in_flight"] for row in depths),
            done=downstream["distinct_ids"],
            dead=sum(row["visible"] + row["delayed"] + row["in_flight"] for row in dead),
        )

    def sent_ids(self) -> list[str]:
        """The ids of the events that SQS has accepted, in the order of the file."""
        accepted = self._sent.lines()
        if not accepted:
            return []
        with self._events.open("rb") as lines:
            return [json.loads(line)["id"] for number, line in enumerate(lines, 1) if number in accepted]

    def arrived_ids(self) -> list[str]:
        """The ids of the events that the downstream has taken; none if it does not answer."""
        found = self._ask(f"{self._addresses.downstream}/ids")
        return [str(event) for event in found or ()]

    def _ask(self, url: str) -> Any:
        try:
            answer = self._http.request("GET", url)
            return answer.json() if answer.status == 200 else None
        except (urllib3.exceptions.HTTPError, ValueError):
            return None


class _Sent:
    """The sender's record (`app/sending/record.py`), read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._lines = Ranges()

    def lines(self) -> Ranges:
        """The numbers of the lines that SQS has accepted by now."""
        if not self._path.exists():
            return self._lines
        with self._path.open("rb") as record:
            record.seek(self._read)
            for line in record:
                if not line.endswith(b"\n"):
                    break  # still being written
                if self._read:  # the first line says which run it is
                    for start, end in parse(line.decode("ascii").partition(" ")[0]):
                        self._lines.add(start, end)
                self._read += len(line)
        return self._lines
