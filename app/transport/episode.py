"""Trouble with one thing, told when it begins and when it is over, and not each time in between."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from app.signals import episode_began, episode_ended

if TYPE_CHECKING:
    from app.clock import Clock
    from app.transport.announcer import Announcer

logger = logging.getLogger(__name__)


class Episode:
    """One thing that may fail again and again.

    Args:
        queue: the name of the queue with which it is done.
        action: what is done, as `receiving`.
        clock: tells how long it lasts.
        announce: sends signals.
    """

    def __init__(self, queue: str, action: str, *, clock: Clock, announce: Announcer) -> None:
        self._queue, self._action = queue, action
        self._clock = clock
        self._announce = announce
        self._began = 0.0
        #: Failures in a row; 0 while it works.
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Episode {self._queue}, {self._action}: {self.failures} failures>"

    def failed(self, why: object, *, is_other: bool = False) -> int:
        """It failed; how often in a row. It is told when it begins, and when it has become another trouble."""
        self.failures += 1
        if self.failures == 1:
            self._began = self._clock.monotonic()
            self._announce(episode_began, sender=self._queue, queue=self._queue, action=self._action, reason=str(why))
        if self.failures == 1 or is_other:
            logger.error("Queue %s: %s fails (%s); trying on", self._queue, self._action, why)
        return self.failures

    def worked(self) -> None:
        """It works."""
        if not self.failures:
            return
        seconds, failures, self.failures = self._clock.monotonic() - self._began, self.failures, 0
        logger.warning(
            "Queue %s: %s works again, after %.1f s and %d failed calls", self._queue, self._action, seconds, failures
        )
        self._announce(
            episode_ended,
            sender=self._queue,
            queue=self._queue,
            action=self._action,
            seconds=seconds,
            failures=failures,
        )
