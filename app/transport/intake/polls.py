"""How many receives of one queue to have in flight, and how each asks. Pure.

The rule is MassTransit's: half-way up to the ceiling with each full answer. Down it goes with each *empty* one, and not
with each short one, since SQS returns fewer than there are at will. An answer that is full because few were asked for
says that there may be more, and not that there is a backlog for many.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.transport.aws import MAX_BATCH

#: Seconds that a receive waits which is there for a backlog only: when that is gone it soon gives its slots back. At
#: once, where other queues may need them and only the few that were asked for have spoken for a backlog.
_HOT_WAIT, _HOT_GLANCE = 1, 0


@dataclass(frozen=True, slots=True)
class Ask:
    """One receive to make: of how many messages at most, waiting how long for the first."""

    count: int
    wait: int


class Polls:
    """What the answers say of a queue's backlog.

    Args:
        least: receives in flight while the queue is idle.
        most: receives in flight at most.
        wait: seconds that a receive waits at an idle queue.
    """

    def __init__(self, *, least: int, most: int, wait: int) -> None:
        self._least = least
        self._most = max(least, most)
        #: Seconds that a receive waits at an idle queue.
        self.wait = wait
        #: Receives to have in flight now.
        self.target = least
        #: Whether the last answer was full: then there is more.
        self.is_hot = False
        #: Whether it was as full as can be.
        self._is_sure = False

    def __repr__(self) -> str:
        return f"<Polls: {self.target} of {self._least} to {self._most}{', hot' if self.is_hot else ''}>"

    def answered(self, *, asked: int, got: int, slots: int) -> None:
        """A receive came back; there are `slots` slots in all."""
        if got >= MAX_BATCH:
            ceiling = max(self._least, min(self._most, -(-slots // MAX_BATCH)))
            self.target = max(self.target, min(ceiling, self.target + (ceiling - self.target + 1) // 2))
        elif got == 0:
            self.target = max(self._least, self.target // 2)
        self.is_hot, self._is_sure = got >= asked, got >= MAX_BATCH

    def failed(self) -> None:
        """A receive failed: as few at a time as of an idle queue, until one works."""
        self.target = self._least
        self.is_hot = False

    def next(self, *, in_flight: int, free: int, share: int, is_alone: bool = True) -> Ask:
        """The next receive.

        Args:
            in_flight: receives in flight.
            free: free slots.
            share: how many of them an idle queue keeps at most.
            is_alone: whether there is no other queue.
        """
        most = min(free, self.enough(share))
        if self.is_hot:
            return Ask(most, min(_HOT_WAIT if is_alone or self._is_sure else _HOT_GLANCE, self.wait))
        wait = self.wait if in_flight < self._least else min(_HOT_WAIT, self.wait)
        return Ask(most, wait)

    def enough(self, share: int) -> int:
        """For how many messages a receive is worth its call at once; the receives of an idle queue divide its share."""
        return MAX_BATCH if self.is_hot else max(1, min(MAX_BATCH, share // self._idle(share)))

    def may_ask(self, *, in_flight: int, share: int) -> bool:
        """Whether one more receive is wanted; those of an idle queue keep a slot each, and `share` of them in all."""
        is_idle = not self.is_hot and self.target == self._least  # answers are short of what there is, at will
        return in_flight < (self._idle(share) if is_idle else self.target)

    def _idle(self, share: int) -> int:
        """How many receives an idle queue has in flight."""
        return max(1, min(self._least, share))
