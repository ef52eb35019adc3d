"""When a program that is being stopped gets its next, harder signal."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Step:
    """A signal, and the seconds that the program has before the next one."""

    signal: signal.Signals
    patience: float


class Stopping:
    """The stop of one program: its steps in order, then SIGKILL, which is sent once and needs no patience."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = [*steps, Step(signal.SIGKILL, float("inf"))]
        self._next_at = float("-inf")

    def due(self, now: float) -> signal.Signals | None:
        """The signal to send at `now` (monotonic seconds), or None while the last one is still given time."""
        if not self._steps or now < self._next_at:
            return None
        step = self._steps.pop(0)
        self._next_at = now + step.patience
        return step.signal

    def hurry(self) -> None:
        """Lose patience: the next signal is due at once."""
        self._next_at = float("-inf")
