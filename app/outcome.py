"""What became of a delivery: decided where the exception lives, and carried from there as a small value.

Of an exception that leaves a process, only so much arrives as can be pickled. So a child of the prefork pool decides
what its exception means (`decide`), and its parent takes that decision (`of`); what only the parent sees, as that a
child died, it decides itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.exceptions import Reject


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


def decide(info: Any) -> None:
    """Write into a failed task's `ExceptionInfo` what it means, and make sure that it can leave this process."""
    error = exception_in(info)
    info.outcome = _of_exception(error)
    if isinstance(error, Reject) and not isinstance(error.reason, str):
        info.exception = Reject(info.outcome.reason, error.requeue)  # its reason may be anything


def of(info: Any) -> Outcome:
    """What becomes of a message whose task did not succeed: as was decided already, or by its exception."""
    decided: Outcome | None = getattr(info, "outcome", None)
    return decided or _of_exception(exception_in(info))


def exception_in(info: Any) -> Any:
    """What was raised; billiard wraps it where it took the traceback along."""
    error = info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def _of_exception(error: Any) -> Outcome:
    if isinstance(error, WorkerLostError):
        return LOST
    if isinstance(error, Reject) and not error.requeue:
        # What was written for people; an exception's own words may repeat what the task was given.
        reason = error.reason if isinstance(error.reason, str) else type(error.reason).__name__
        return reject(f"the task rejected it: {reason}")
    return retry(reason=type(error).__name__)
