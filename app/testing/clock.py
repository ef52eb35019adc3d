"""Clocks for tests: one that is moved by hand, one that runs from where it is put and as fast as it is told."""

from __future__ import annotations

import math

from app.clock import Clock, SystemClock


class ManualClock:
    """Time stands still until it is moved: `clock.advance(30)`.

    Args:
        now: seconds since the epoch to begin with.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._time = now
        self._monotonic = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._time

    def monotonic(self) -> float:
        """Seconds since the clock was made; `set` does not move it."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass; `ValueError` for a negative number."""
        if seconds < 0:
            raise ValueError(f"a clock cannot be advanced by {seconds} seconds: use set() to put it back")
        self._time += seconds
        self._monotonic += seconds

    def set(self, now: float) -> None:
        """Put the wall clock to this time (seconds since the epoch), forward or back."""
        self._time = now

    def __repr__(self) -> str:
        return f"<ManualClock {self._time:.3f}>"


class AdjustableClock:
    """The machine's clock, until it is set, advanced or sped up; from then on it runs on from there.

    Args:
        speed: seconds that pass in a real one; 1 is real time, 0 stands still.
        source: the clock it follows.
    """

    def __init__(self, *, speed: float = 1.0, source: Clock | None = None) -> None:
        self._source = source or SystemClock()
        self._anchor = self._source.monotonic()
        self._time = self._source.time()
        self._speed = 1.0
        self.speed = speed

    def time(self) -> float:
        """Seconds since the epoch, as this clock has it."""
        return self._time + (self._source.monotonic() - self._anchor) * self._speed

    @property
    def speed(self) -> float:
        """Seconds that pass in a real one."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        if not 0 <= speed < math.inf:
            raise ValueError(f"a clock cannot run at speed {speed}: give 0 (stands still) or more")
        self.set(self.time())
        self._speed = speed

    def set(self, now: float) -> None:
        """Put the clock to this time (seconds since the epoch), forward or back."""
        if not math.isfinite(now):
            raise ValueError(f"a clock cannot be set to {now}")
        self._anchor = self._source.monotonic()
        self._time = now

    def advance(self, seconds: float) -> None:
        """Jump ahead by this many seconds; `ValueError` for a negative number."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a clock cannot be advanced by {seconds} seconds: use set() to put it back")
        self.set(self.time() + seconds)

    def reset(self, *, speed: float = 1.0) -> None:
        """Show the source's time again, and run at this speed from there."""
        self.set(self._source.time())
        self.speed = speed

    def real_seconds_until(self, instant: float) -> float:
        """How long to wait, in real seconds, until this clock shows `instant`; infinite if it stands still."""
        ahead = instant - self.time()
        if ahead <= 0:
            return 0.0
        return ahead / self._speed if self._speed else math.inf
