"""Trouble with one thing, told when it begins and when it is over, and not each time in between."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.clock import Clock

logger = logging.getLogger(__name__)


class Episode:
    """One thing that may fail again and again.

    Args:
        what: of what the log speaks, as `Queue orders: receiving`.
    """

    def __init__(self, what: str, *, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._began = 0.0
        #: Failures in a row; 0 while it works.
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Episode {self._what}: {self.failures} failures>"

    def failed(self, why: object, *, is_other: bool = False) -> int:
        """It failed; how often in a row. It is told when it begins, and when it has become another trouble."""
        self.failures += 1
        if self.failures == 1:
            self._began = self._clock.monotonic()
        if self.failures == 1 or is_other:
            logger.error("%s fails (%s); trying on", self._what, why)
        return self.failures

    def worked(self) -> None:
        """It works."""
        if self.failures:
            length = self._clock.monotonic() - self._began
            logger.warning("%s works again, after %.1f s and %d failed calls", self._what, length, self.failures)
            self.failures = 0
