"""One batch until SQS has all of it: what to record, what to send again and when, and when to give up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.resilience import backoff
from app.sending.answers import Answer, CallFailed, Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.sending.entries import Entry

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from one call."""

    #: To be recorded now: SQS has these.
    accepted: tuple[Entry, ...] = ()
    #: Lines that SQS will never take, with the reason.
    refused: Mapping[int, str] = field(default_factory=dict)
    #: Whether SQS may have more of this call than `accepted` says; what of it is sent again may be there twice.
    is_uncertain: bool = False
    #: Seconds until the next call for the rest; None: there is none.
    pause: float | None = None
    #: Why the rest is given up, and the whole run with it; empty: it is not.
    given_up: str = ""


class Delivery:
    """The way of one batch.

    Args:
        entries: the batch.
        started: monotonic seconds, now.
        retry_for: seconds until a batch that is not taken ends the run.
        spread: random share for the pauses' jitter.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        started: float,
        retry_for: float,
        spread: Callable[[], float] | None = None,
    ) -> None:
        self.pending: tuple[Entry, ...] = tuple(entries)
        self._deadline = started + retry_for
        self._retry_for = retry_for
        self._failures = 0
        self._spread = spread

    def answered(self, answer: Answer, *, now: float) -> Step:
        """SQS has answered the call with `pending`, if not well."""
        accepted = tuple(entry for entry in self.pending if entry.number in answer.accepted)
        refused = {
            entry.number: answer.refused[entry.number] for entry in self.pending if entry.number in answer.refused
        }
        self.pending = tuple(
            entry for entry in self.pending if entry.number not in answer.accepted and entry.number not in refused
        )
        unnamed = any(entry.number not in answer.failed for entry in self.pending)
        reason = next(
            (answer.failed[e.number] for e in self.pending if e.number in answer.failed), "no message id came"
        )
        return self._go_on(reason, now, accepted, refused, is_uncertain=unnamed or answer.was_repeated)

    def failed(self, failure: CallFailed, *, now: float) -> Step:
        """The whole call failed."""
        if failure.fate is Fate.REFUSED:
            return Step(given_up=str(failure))
        return self._go_on(str(failure), now, (), {}, is_uncertain=failure.fate is Fate.UNCERTAIN)

    def _go_on(
        self, reason: str, now: float, accepted: tuple[Entry, ...], refused: Mapping[int, str], *, is_uncertain: bool
    ) -> Step:
        if not self.pending:
            return Step(accepted, refused, is_uncertain)
        self._failures += 1
        more = {} if self._spread is None else {"spread": self._spread}
        pause = backoff.delay(self._failures, first=FIRST_PAUSE, most=LONGEST_PAUSE, **more)
        if now + pause > self._deadline:
            given_up = f"SQS did not take it within {self._retry_for:g} s ({reason})"
            return Step(accepted, refused, is_uncertain, given_up=given_up)
        return Step(accepted, refused, is_uncertain, pause=pause)
