"""What became of a delivery: decided where the exception lives, and carried from there as a small value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery is to be settled.

    Attributes:
        kind: `done`, delete it; `retry`, let it come back later; `reject`, it is not to be tried again; `lost`, the
            process that ran it died; `returned`, nobody ran it: let it come back at once; `early`, it is not due yet.
        after: seconds until it comes back; None: as its queue's policy says.
        reason: for people, without anything of the message's content.
    """

    kind: Literal["done", "retry", "reject", "lost", "returned", "early"]
    after: float | None = None
    reason: str = ""


DONE = Outcome("done")
RETURNED = Outcome("returned")
LOST = Outcome("lost", reason="the process that ran it died")


def retry(after: float | None = None, reason: str = "") -> Outcome:
    """Let it come back after `after` seconds, or as its queue's policy says."""
    return Outcome("retry", after, reason)


def early(seconds: float) -> Outcome:
    """It is due in so many seconds."""
    return Outcome("early", seconds)


def reject(reason: str) -> Outcome:
    """It is not to be tried again."""
    return Outcome("reject", reason=reason)
