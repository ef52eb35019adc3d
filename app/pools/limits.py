"""Time limits under prefork: when they are over, and what is done then."""

from __future__ import annotations

import logging
import math
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from billiard import pool as billiards
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

_one_at_a_time = Lock()


class TimeoutHandler(billiards.TimeoutHandler):
    """Tells a task of its soft time limit, and kills it at its hard one; each once.

    While the pool is stopped two threads look after the limits, Celery's by the timers and the main one by the clock,
    and neither knows of the other.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told: WeakSet[Any] = WeakSet()
        self._killed: WeakSet[Any] = WeakSet()

    def on_soft_timeout(self, job: Any) -> None:
        """Tell it. A second time would cut short what it does to put things in order."""
        if _is_first(job, self._told):
            super().on_soft_timeout(job)

    def on_hard_timeout(self, job: Any) -> None:
        """Kill it, and only then say so: its message goes back by that. Billiard's own does it the other way round."""
        if job.ready() or not _is_first(job, self._killed):
            return
        process, _ = self._process_by_pid(job._worker_pid)  # noqa: SLF001 - as billiard's own, here and below
        if process is not None:
            self._trywaitkill(process)
        try:
            raise TimeLimitExceeded(job._timeout)  # noqa: SLF001, TRY301
        except TimeLimitExceeded:
            job._set(job._job, (False, ExceptionInfo()))  # noqa: SLF001
        job.handle_timeout(soft=False)

    def is_killed(self, job: Any) -> bool:
        """Whether its hard limit has killed it, which is said in a moment."""
        return job in self._killed


def _is_first(job: Any, done: WeakSet[Any]) -> bool:
    with _one_at_a_time:
        is_first = job not in done
        done.add(job)
        return is_first


class TimeLimits:
    """Looks after the limits of all tasks that run by one timer, that of the next limit that may be over.

    Celery sets a timer for each task. One that is not needed any more stays in the event loop's heap until it would
    have been due, which with limits of minutes is half a gigabyte of them at a thousand tasks a second.

    Args:
        jobs: what the pool has been given, as billiard's `ApplyResult`, by number.
        call_later: sets a timer, in seconds, and gives it, to be cancelled.
        on_soft: a task's soft limit is over.
        on_hard: its hard limit is over.
    """

    def __init__(
        self,
        jobs: Mapping[int, Any],
        *,
        call_later: Callable[[float, Callable[[], None]], Any],
        on_soft: Callable[[Any], None],
        on_hard: Callable[[Any], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._jobs = jobs
        self._call_later = call_later
        self._on_soft, self._on_hard = on_soft, on_hard
        self._clock = clock
        self._told: WeakSet[Any] = WeakSet()
        self._timer: Any = None
        self._looks_at = math.inf

    def begun(self, job: Any, soft: float | None, hard: float | None) -> None:
        """A task has begun, with these limits in seconds (None: it has none)."""
        self._look_at(job._time_accepted + (soft or hard or math.inf))  # noqa: SLF001 - billiard's, here and below

    def look(self) -> None:
        """See whose limits are over, and when the next may be."""
        self._timer, self._looks_at = None, math.inf
        now = self._clock()
        for job in list(self._jobs.values()):
            if (began := getattr(job, "_time_accepted", None)) is None or job.ready():
                continue
            soft, hard = job._soft_timeout or math.inf, job._timeout or math.inf  # noqa: SLF001
            if now >= began + hard:
                self._do(self._on_hard, job)
                continue
            if now >= began + soft and job not in self._told:
                self._told.add(job)
                self._do(self._on_soft, job)
            self._look_at(began + (hard if job in self._told else min(soft, hard)))

    @staticmethod
    def _do(call: Callable[[Any], None], job: Any) -> None:
        """What goes wrong with one must keep none of the others from its limit."""
        try:
            call(job)
        except Exception:
            logger.exception("A time limit could not be kept")

    def _look_at(self, at: float) -> None:
        if at < self._looks_at:
            if self._timer is not None:
                self._timer.cancel()
            self._looks_at, self._timer = at, self._call_later(max(0.0, at - self._clock()), self.look)
