"""The outbox: deletes, changes of visibility and copies on their way to SQS, ten to a call.

SQS bills and limits by the call, and a call takes a round trip. So what is to be told of a queue's messages is gathered
for some tens of milliseconds, and each entry's own result is looked at.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from app.resilience import backoff
from app.transport.aws import MAX_BATCH, MAX_MESSAGE
from app.transport.engine import MARGIN, Failure, Kind, failure_of
from app.transport.episode import Episode

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.announcer import Announcer
    from app.transport.custody.copies import Copy
    from app.transport.custody.delivery import Delivery
    from app.transport.engine import Engine, Timer

logger = logging.getLogger(__name__)

#: Seconds to wait before entries are tried again: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
#: Seconds that a call is given at least.
_LEAST = 0.5
#: Entries on their way beyond which nothing more should be received.
_FULL = 5_000

_DELETE, _CHANGE, _SEND = "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch"
_VERBS = {_DELETE: "deleting", _CHANGE: "changing visibility", _SEND: "sending copies"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One thing to be told of one delivery."""

    delivery: Delivery
    #: Called once: with None when SQS confirmed it, else with why it will not be.
    done: Callable[[Failure | None], None]
    #: Not tried any more after this time.
    until: float
    #: Seconds until the message is visible; None: that is not changed.
    visible_in: int | None = None
    #: What is sent; without it and without the former, the message is deleted.
    copy: Copy | None = None
    #: Whether it keeps the message invisible for one that is in work: senseless once that is settled, and harmful.
    renews: bool = False
    #: When the delivery's task must have ended, as far as was known when the renewal was made.
    ends_at: float | None = None
    attempts: int = 0
    #: When it was sent for the first time of those that may have been heard.
    heard_at: float = math.inf

    def may_be_anybodys(self, now: float) -> bool:
        """Whether the message may be visible by the time of another try, if SQS has heard an earlier one.

        Then somebody else may have it, and would lose it by that: SQS does not promise to refuse an older receipt.
        """
        if self.visible_in is None or self.renews:
            return False
        return now + _LONGEST_PAUSE + MARGIN > self.heard_at + self.visible_in

    @property
    def key(self) -> tuple[str, str]:
        """What it shares a call with: all for the same queue and action."""
        if self.copy is not None:
            return self.copy.url, _SEND
        return self.delivery.url, _DELETE if self.visible_in is None else _CHANGE

    @property
    def size(self) -> int:
        """Its bytes, as far as they are limited."""
        return 0 if self.copy is None else self.copy.size

    def as_json(self, number: int, now: float) -> dict[str, Any]:
        if self.copy is not None:
            return {"Id": str(number), **self.copy.entry}
        entry: dict[str, Any] = {"Id": str(number), "ReceiptHandle": self.delivery.receipt}
        if self.visible_in is not None:
            # Sent late, as the first try failed, it must not reach further than it was to.
            left = self.visible_in if self.ends_at is None else max(1, math.ceil(self.ends_at - now))
            entry["VisibilityTimeout"] = min(self.visible_in, left)
        return entry


class Outbox:
    """What is to be told to SQS of deliveries. Belongs to the engine's thread.

    Args:
        engine: makes the calls.
        linger: seconds that an entry waits for others, at most.
        announce: sends signals.
    """

    def __init__(self, engine: Engine, *, linger: float, announce: Announcer) -> None:
        self._engine = engine
        self._announce = announce
        self._linger = linger
        self._gathered: dict[tuple[str, str], list[_Entry]] = {}
        self._timers: dict[tuple[str, str], Timer] = {}
        self._episodes: dict[tuple[str, str], Episode] = {}
        self._count = 0
        self._hurries = False
        #: How many entries SQS was never told of, by what it was: "deleting", "changing visibility", "sending copies".
        self.given_up: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Outbox: {self._count} on their way, given up {dict(self.given_up)}>"

    def __len__(self) -> int:
        """Entries that are neither confirmed nor given up."""
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether so much is on its way that nothing more should be received."""
        return self._count >= _FULL

    def delete(self, delivery: Delivery, done: Callable[[Failure | None], None], *, until: float) -> None:
        """Delete the message; tried until `until`, on the monotonic clock."""
        self._count += 1
        self._add(_Entry(delivery, done, until))

    def make_visible(
        self, delivery: Delivery, seconds: float, done: Callable[[Failure | None], None], *, until: float
    ) -> None:
        """Have the message visible in `seconds` from when SQS hears it; tried until `until`.

        Not again after a try that may have been heard, once the message may be somebody else's by that.
        """
        self._count += 1
        self._add(_Entry(delivery, done, until, visible_in=round(seconds)))

    def renew(self, delivery: Delivery, seconds: int, done: Callable[[Failure | None], None], *, until: float) -> None:
        """Keep the message invisible for so long; not sent any more once the delivery is settled.

        If its time limit becomes another one before it is sent, `done` gets `OUTDATED`.
        """
        self._count += 1
        self._add(_Entry(delivery, done, until, visible_in=seconds, renews=True, ends_at=delivery.ends_at))

    def send(self, delivery: Delivery, copy: Copy, done: Callable[[Failure | None], None], *, until: float) -> None:
        """Send a copy of the message. Where an answer is lost it is sent again: there may be two of it then."""
        self._count += 1
        self._add(_Entry(delivery, done, until, copy=copy))

    def hurry(self) -> None:
        """Send what there is, and wait for no company until all of it is answered."""
        self._hurries = self._count > 0
        for key in list(self._gathered):
            self._flush(key)

    def _add(self, entry: _Entry) -> None:
        key = entry.key
        if entry.size and entry.size + sum(each.size for each in self._gathered.get(key, ())) > MAX_MESSAGE:
            self._flush(key)  # so much a batch may have in all
        gathered = self._gathered.setdefault(key, [])
        if not gathered and not self._hurries:
            self._timers[key] = self._engine.call_later(self._linger, self._flush, key)
        gathered.append(entry)
        if len(gathered) >= MAX_BATCH or self._hurries:
            self._flush(key)

    def _flush(self, key: tuple[str, str]) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        wanted = []
        for entry in self._gathered.pop(key, []):
            if entry.renews and entry.delivery.is_settled:
                self._end(entry, None)
            elif entry.renews and entry.delivery.ends_at != entry.ends_at:
                self._end(entry, OUTDATED)
            else:
                wanted.append(entry)
        if wanted:
            self._send(key, wanted)

    def _send(self, key: tuple[str, str], entries: list[_Entry]) -> None:
        url, action = key
        now = self._engine.clock.monotonic()
        parameters = {"QueueUrl": url, "Entries": [entry.as_json(number, now) for number, entry in enumerate(entries)]}
        # One call that hangs must leave time for another: a renewal is due when four tenths of the lease are left.
        left = min(entry.until for entry in entries) - now
        self._engine.calls.call(
            action,
            parameters,
            lambda answer: self._answered(key, entries, answer, now),
            within=max(_LEAST, min(MARGIN, left / 2)),
        )

    def _answered(
        self, key: tuple[str, str], entries: list[_Entry], answer: dict[str, Any] | Failure, sent_at: float
    ) -> None:
        said: dict[str, Failure | None]
        if isinstance(answer, Failure):
            said = {str(number): answer for number in range(len(entries))}
        else:
            said = _results(answer, of_copies=key[1] == _SEND)
        results = [said.get(str(number), _UNSAID) for number in range(len(entries))]
        self._tell(self._episode(key, entries[0]), results)
        now = self._engine.clock.monotonic()
        again = []
        for entry, result in zip(entries, results, strict=True):
            if result is not None and result.may_pass and entry.until - now > _FIRST_PAUSE:
                heard_at = min(entry.heard_at, sent_at) if result.is_unsure else entry.heard_at
                tried = replace(entry, attempts=entry.attempts + 1, heard_at=heard_at)
                if not tried.may_be_anybodys(now):
                    again.append(tried)
                    continue
            self._end(entry, result)
        if again:
            self._try_again(again, now)

    @staticmethod
    def _tell(episode: Episode, results: list[Failure | None]) -> None:
        """That it works, where it did for one entry; that it fails, where it may do for some, but later."""
        if None in results:
            episode.worked()
        elif passing := [result for result in results if result is not None and result.may_pass]:
            episode.failed(passing[0])

    def _try_again(self, entries: list[_Entry], now: float) -> None:
        """Together, so that trouble does not make ten calls of one; and as often as may be before it is too late."""
        pause = backoff.delay(max(entry.attempts for entry in entries), first=_FIRST_PAUSE, most=_LONGEST_PAUSE)
        left = min(entry.until for entry in entries) - now
        self._engine.call_later(min(pause, left / 2), self._add_all, entries)

    def _add_all(self, entries: list[_Entry]) -> None:
        for entry in entries:
            self._add(entry)

    def _end(self, entry: _Entry, failure: Failure | None) -> None:
        self._count -= 1
        self._hurries = self._hurries and self._count > 0
        if failure is not None and failure is not OUTDATED:
            self.given_up[_VERBS[entry.key[1]]] += 1
        try:
            entry.done(failure)
        except Exception:
            logger.exception("Queue %s: the outbox goes on after an error of its own", entry.delivery.queue)

    def _episode(self, key: tuple[str, str], entry: _Entry) -> Episode:
        if key not in self._episodes:
            queue, action = entry.delivery.queue, _VERBS[key[1]]
            self._episodes[key] = Episode(queue, action, clock=self._engine.clock, announce=self._announce)
        return self._episodes[key]


#: A renewal was not sent, as it would reach further than it may.
OUTDATED = Failure(Kind.PASSING, "Outdated")
_UNSAID = Failure(Kind.PASSING, "NotUnderstood", "the answer does not say what became of the entry", is_unsure=True)


def _results(answer: dict[str, Any], *, of_copies: bool) -> dict[str, Failure | None]:
    """What became of each entry: None for well. An answer of another shape than SQS's says nothing of any.

    A copy is there when it has a MessageId, and not before.
    """
    results: dict[str, Failure | None] = {}
    for entry in _listed(answer, "Successful"):
        if entry.get("MessageId") or not of_copies:
            results[str(entry.get("Id"))] = None
    for entry in _listed(answer, "Failed"):
        results[str(entry.get("Id"))] = _entry_failure(entry)
    return results


def _entry_failure(entry: dict[str, Any]) -> Failure:
    """What the failure of one entry means: SQS says by `SenderFault` whose it was."""
    status = 400 if entry.get("SenderFault") else 500
    return failure_of(status, str(entry.get("Code", "")), str(entry.get("Message", "")))


def _listed(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = answer.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
