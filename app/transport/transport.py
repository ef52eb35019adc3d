"""The transport: one per kombu connection; it owns the inbox through which messages reach their consumer."""

from __future__ import annotations

from typing import Any

from kombu.transport import SQS

from app.transport.channel import Channel
from app.transport.inbox import Inbox

#: Seconds that a consumer without an event loop waits for messages before it looks after its acks (Celery runs these
#: between two drains, gevent has no other occasion).
_BETWEEN_ACKS = 0.02


class Transport(SQS.Transport):
    """Kombu's SQS transport with receiving and settling replaced."""

    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.inbox = Inbox()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ARG002 - kombu's signature
        """Prefork, threads, solo: Celery's event loop runs the inbox."""
        self.inbox.attach(loop)

    def unregister_from_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ARG002 - kombu's signature
        """The event loop is about to end."""
        self.inbox.detach()

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu's signature
        """Gevent and plain clients: run what is in the inbox.

        Raises:
            TimeoutError: nothing came within `timeout` seconds (None: wait for ever).
        """
        if any(channel.is_polling for channel in self.channels):
            timeout = _BETWEEN_ACKS if timeout is None else min(timeout, _BETWEEN_ACKS)
        if not self.inbox.run(timeout):
            raise TimeoutError

    def close_connection(self, connection: Any) -> None:
        """Stop polling and hand back what is unsettled."""
        self.inbox.detach()
        super().close_connection(connection)
