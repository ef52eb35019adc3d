"""A token bucket: so many a second on average, so many at once at most. Pure: the time is an argument."""

from __future__ import annotations


class TokenBucket:
    """Tokens that fill up at a steady rate.

    Args:
        rate: tokens a second.
        burst: tokens that may gather while none is taken; the bucket starts full.
        now: seconds on the clock that every later call is told.
    """

    def __init__(self, rate: float, *, burst: float, now: float) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError(f"a token bucket needs a rate and a burst above 0, not {rate:g} and {burst:g}")
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._filled_at = now

    def take(self, amount: float, *, now: float) -> float:
        """Take tokens: 0.0 if they were there, else nothing is taken and the answer is the seconds until they will be.

        Raises:
            ValueError: more than the bucket can ever hold.
        """
        if amount > self.burst:
            raise ValueError(f"{amount:g} tokens will never be in a bucket that holds {self.burst:g}")
        if now > self._filled_at:  # a clock that goes back neither fills nor empties it
            self._tokens = min(self.burst, self._tokens + (now - self._filled_at) * self.rate)
            self._filled_at = now
        missing = amount - self._tokens
        # The sum of many small fills falls a hair short of the whole; without the tolerance a caller who waited as
        # told would be told to wait another femtosecond.
        if missing <= 1e-9 * self.burst:
            self._tokens = max(0.0, self._tokens - amount)
            return 0.0
        return missing / self.rate
