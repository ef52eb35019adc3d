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
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.serialization import UnpickleableExceptionWrapper
from kombu.utils.encoding import safe_repr

#: Packages whose exceptions every process here has, and what such an exception may be made of.
_KNOWN = frozenset({"builtins", "billiard", "celery"})
_PLAIN = (str, int, float, bool, type(None))


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


class Told(Exception):
    """Stands for an exception of another process: all that is left of it is what it says of itself."""

    def __repr__(self) -> str:
        return str(self.args[0]) if self.args else ""


def decide(info: Any) -> None:
    """Write into a failed task's `ExceptionInfo` what it means, and make it one that any process can read.

    An exception of a class that only this process knows, or that cannot be made again of its arguments, would end the
    worker that reads it.
    """
    error = exception_in(info)
    info.outcome = _of_exception(error)
    info.exception = readable(error)
    info.type = type(info.exception)


def readable(error: Any) -> Any:
    """The exception, as one that any process can read."""
    if isinstance(error, Reject):
        return Reject(_reason(error), error.requeue)
    if isinstance(error, Retry):
        return Retry(str(error), exc=None if error.exc is None else readable(error.exc))
    if isinstance(error, Ignore):
        return Ignore()
    if isinstance(error, UnpickleableExceptionWrapper):  # Celery's own, for the same
        return Told(error.text)
    is_known = type(error).__module__.partition(".")[0] in _KNOWN and not getattr(error, "__dict__", None)
    return error if is_known and all(type(each) in _PLAIN for each in error.args) else Told(safe_repr(error))


def _reason(error: Any) -> str:
    """What was written for people; an exception's own words may repeat what the task was given."""
    return error.reason if isinstance(error.reason, str) else type(error.reason).__name__


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
        return reject(f"the task rejected it: {_reason(error)}")
    return retry(reason=type(error).__name__)
