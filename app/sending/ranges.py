"""Sets of line numbers that are mostly without gaps: few numbers for many lines."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Ranges:
    """A set of numbers above 0, kept as ranges."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # inclusive
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number <= self._ends[at]

    def __str__(self) -> str:
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(self._starts, self._ends, strict=True))

    @property
    def last(self) -> int:
        """The greatest number in it, 0 if it is empty."""
        return self._ends[-1] if self._ends else 0

    def add(self, start: int, end: int | None = None) -> None:
        """Add the numbers from `start` to `end`, both included.

        Raises:
            ValueError: this is no range, or some of it is there already.
        """
        end = start if end is None else end
        if not 0 < start <= end:
            raise ValueError(f"{start}-{end} is no range")
        at = bisect_right(self._starts, start)
        if (at > 0 and start <= self._ends[at - 1]) or (at < len(self._starts) and end >= self._starts[at]):
            raise ValueError(f"{start}-{end} was there before")
        joins_left = at > 0 and self._ends[at - 1] + 1 == start
        joins_right = at < len(self._starts) and end + 1 == self._starts[at]
        if joins_left and joins_right:
            self._ends[at - 1] = self._ends.pop(at)
            del self._starts[at]
        elif joins_left:
            self._ends[at - 1] = end
        elif joins_right:
            self._starts[at] = start
        else:
            self._starts.insert(at, start)
            self._ends.insert(at, end)
        self._count += end - start + 1


def parse(text: str) -> Iterator[tuple[int, int]]:
    """The ranges in `1-10,12`.

    Raises:
        ValueError: this is not how ranges are written.
    """
    for part in text.split(","):
        start, dash, end = part.partition("-")
        yield int(start), int(end if dash else start)


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """The set of these numbers."""
    ranges = Ranges()
    for number in numbers:
        ranges.add(number)
    return ranges
