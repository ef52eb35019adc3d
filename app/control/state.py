"""Whether the control link works, as its two directions find out."""

from __future__ import annotations

import logging
from threading import Lock

from app.clock import Clock, SystemClock

logger = logging.getLogger(__name__)


class LinkState:
    """Up, or down since some time; the log has one line when it goes down and one when it is up again."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._failing: set[str] = set()
        self._since = 0.0
        #: Events that could not be kept, or whose sending failed halfway.
        self.dropped = 0

    @property
    def is_up(self) -> bool:
        """Whether the last thing tried worked, in each direction."""
        return not self._failing

    def fails(self, direction: str, error: BaseException) -> None:
        """One direction has failed; redis-py's messages name host and port, never the password."""
        with self._lock:
            is_news = not self._failing
            self._failing.add(direction)
            if is_news:
                self._since = self._clock.monotonic()
                logger.warning(
                    "The control link is down (%s): tasks go on; Flower and remote control are blind until it is back",
                    str(error) or type(error).__name__,
                )

    def works(self, direction: str) -> None:
        """One direction has done its work."""
        if not self._failing:
            return
        with self._lock:
            was_down = bool(self._failing)
            self._failing.discard(direction)
            if was_down and not self._failing:
                logger.warning(
                    "The control link is up again after %.0f s; %d events were dropped so far",
                    self._clock.monotonic() - self._since,
                    self.dropped,
                )
