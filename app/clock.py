"""Time as an argument: what reads the clock takes a `Clock`, so that tests need not wait."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time, both in seconds."""

    def time(self) -> float:
        """Seconds since the epoch: for timestamps that others read."""

    def monotonic(self) -> float:
        """Seconds since some fixed point: for measuring how long something took."""


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""
        return time.monotonic()
