"""Counts of every call."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Count:
    """The calls of one action."""

    calls: int = 0
    """Arrived."""
    ok: int = 0
    """Took effect and got, or would have got, a good answer."""
    errors: int = 0
    """Answered with an error, be it a fault's."""
    faults: int = 0
    """Hit by a fault."""
    messages: int = 0
    """Messages sent, handed out, deleted or changed; of a batch, the entries that succeeded."""
    failed: int = 0
    """Entries of batches that failed."""
    empty: int = 0
    """Receives that gave nothing."""


@dataclass(slots=True)
class Counts:
    """A count for each action that was called."""

    by_action: dict[str, Count] = field(default_factory=dict)

    def of(self, action: str) -> Count:
        """The count of an action; zeros if it was never called."""
        count = self.by_action.get(action)
        if count is None:
            count = self.by_action[action] = Count()
        return count

    def as_dict(self) -> dict[str, dict[str, int]]:
        """All of them, for JSON."""
        return {action: asdict(count) for action, count in sorted(self.by_action.items())}

    def clear(self) -> None:
        """Begin again at zero."""
        self.by_action.clear()
