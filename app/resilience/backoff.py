"""How long to wait before the next try."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def delay(attempt: int, *, first: float, most: float, spread: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the `attempt`-th failure (counted from 1): doubling from `first`, at most `most`.

    The last half of it is random ("equal jitter"), so that what failed together does not come back together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    doublings = min(max(attempt, 1) - 1, 32)  # 2 ** 32 is past any `most`, and an int of any size is not
    whole = min(most, first * float(2**doublings))
    return whole / 2 + whole / 2 * spread()
