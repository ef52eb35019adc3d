"""Pace: how long tasks take here, and so how many messages may wait for them. Pure."""

from __future__ import annotations

import math

#: How much of a new measurement goes into the average.
_WEIGHT = 0.1


class Pace:
    """The run times of tasks, as an average that forgets."""

    def __init__(self) -> None:
        self._average: float | None = None

    def __repr__(self) -> str:
        return "<Pace: nothing measured>" if self._average is None else f"<Pace: {self._average:.3f} s a task>"

    def finished(self, seconds: float) -> None:
        """A task took so long."""
        if self._average is None:
            self._average = seconds
        else:
            self._average += _WEIGHT * (seconds - self._average)

    def window(self, places: int, *, most: int, within: float, running_for: float = 0.0) -> int:
        """How many messages to hold, so that the last of them begins in time.

        Args:
            places: tasks that the pool runs at once; the answer is at least that.
            most: the answer is at most that.
            within: seconds in which what is held must begin.
            running_for: the mean age of the tasks that run now: if they are older than tasks used to become, tasks
                have got slow, and that is known before the first of them ends.
        """
        if self._average is None:
            return min(places, most)
        each = max(self._average, running_for, 1e-6)
        return min(most, math.floor(places * (1 + within / each)))
