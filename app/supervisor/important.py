"""Which lines of a program's log are worth a line on the terminal, and how many of them."""

from __future__ import annotations

import re

# `[2026-01-31 12:00:00,000: WARNING/MainProcess] …` is Celery's format, `[W 260131 12:00:00 …]` Flower's (tornado's).
_IMPORTANT = re.compile(
    r"^\[(?:[^\]]*?: (?:WARNING|ERROR|CRITICAL)/|[WEC] \d)|^(?:WARNING|ERROR|CRITICAL|Error|Usage)\b"
)


class Important:
    """Lets a few important lines through and counts the rest, so that a failing downstream does not flood the terminal.

    Args:
        most: lines let through in each `period`; default 3.
        period: seconds; default 10.
    """

    def __init__(self, *, most: int = 3, period: float = 10.0) -> None:
        self._most = most
        self._period = period
        self._since = float("-inf")
        self._shown = 0
        self._held = 0

    def sees(self, line: str, now: float) -> bool:
        """Whether this line, read at `now` (monotonic seconds), is to be shown."""
        if not _IMPORTANT.match(line):
            return False
        if now - self._since >= self._period:
            self._since = now
            self._shown = 0
        if self._shown >= self._most:
            self._held += 1
            return False
        self._shown += 1
        return True

    def held(self, now: float) -> int:
        """How many important lines were held back in a period that is over: asked once, then forgotten."""
        if not self._held or now - self._since < self._period:
            return 0
        held, self._held = self._held, 0
        return held
