"""How far a send is, as numbers and as a line for the terminal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Counts, in lines unless they say otherwise."""

    #: Taken by SQS in this run.
    sent: int = 0
    #: On record from an earlier run, and left alone.
    sent_before: int = 0
    #: Not sent, since they cannot be: no JSON, too large, refused by SQS.
    bad: int = 0
    #: Read, handed to a call, and not taken when the run ended.
    unsent: int = 0
    #: Calls of which SQS may have more than it answered for; their messages were sent again under the same ids.
    uncertain_calls: int = 0

    def line(self, *, seconds: float) -> str:
        """One line about a run of so many seconds."""
        rate = self.sent / seconds if seconds > 0 else 0.0
        parts = [f"{self.sent:,} sent", f"{rate:,.0f} a second"]
        if self.sent_before:
            parts.append(f"{self.sent_before:,} before")
        parts.append(f"{self.bad:,} bad")
        if self.unsent:
            parts.append(f"{self.unsent:,} not sent")
        if self.uncertain_calls:
            parts.append(f"{self.uncertain_calls:,} uncertain {'call' if self.uncertain_calls == 1 else 'calls'}")
        return ", ".join(parts)
