"""Whether, and when, a program that ended unasked is started again."""

from __future__ import annotations


class Restarts:
    """At most `limit` restarts, each after twice the pause of the one before; a long good run forgives them.

    Args:
        limit: restarts in a row; default 5.
        first_pause: seconds before the first; default 1.
        good_run: seconds after which a program that ends counts as having been well; default 300.
    """

    def __init__(self, *, limit: int = 5, first_pause: float = 1.0, good_run: float = 300.0) -> None:
        self.limit = limit
        self._first_pause = first_pause
        self._good_run = good_run
        self._spent = 0

    @property
    def spent(self) -> int:
        """Restarts in a row so far."""
        return self._spent

    def after_exit(self, *, ran_for: float) -> float | None:
        """Seconds to wait before it is started again, after a run of `ran_for` seconds; None: no more."""
        if ran_for >= self._good_run:
            self._spent = 0
        if self._spent >= self.limit:
            return None
        self._spent += 1
        return self._first_pause * 2.0 ** (self._spent - 1)
