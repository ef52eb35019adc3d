"""The announcer: has the engine's signals sent in the thread that consumes, where users' code may take its time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery.utils.dispatch import Signal

    from app.transport.inbox import Inbox


class Announcer:
    """Sends signals by way of a consumer's inbox; of several consumers in a process, one does."""

    def __init__(self) -> None:
        self._inboxes: list[Inbox] = []

    def listen(self, inbox: Inbox) -> None:
        """There is a consumer; it is forgotten when its inbox is closed. From its own thread."""
        self._inboxes = [each for each in self._inboxes if not each.is_closed] + [inbox]

    def __call__(self, signal: Signal, *, sender: Any, **facts: Any) -> None:
        """Have it sent; from any thread. Without a consumer it comes to nobody."""
        if not signal.receivers:
            return
        for inbox in list(self._inboxes):
            if inbox.put(_send, signal, sender, facts):
                return
            with contextlib.suppress(ValueError):  # forgotten meanwhile by who has come after it
                self._inboxes.remove(inbox)


def _send(signal: Signal, sender: Any, facts: dict[str, Any]) -> None:
    signal.send(sender=sender, **facts)
