"""The transport: one per kombu connection; it owns the inbox through which messages reach their consumer."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from kombu.transport import SQS

from app.transport import aws
from app.transport.channel import Channel
from app.transport.inbox import Inbox
from app.transport.options import Options

#: Seconds that a consumer without an event loop waits for messages before it looks after its acks (Celery runs these
#: between two drains, gevent has no other occasion).
_BETWEEN_ACKS = 0.02


class Transport(SQS.Transport):
    """Kombu's SQS transport with receiving and settling replaced."""

    Channel = Channel
    #: What sending is tried again after, as `task_publish_retry_policy` says.
    connection_errors = (*SQS.Transport.connection_errors, aws.NotUnderstood)
    #: Has kombu ask `as_uri`; there is nothing in our URL to parse.
    can_parse_url = True

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
        super().close_connection(connection)
        self.inbox.close()  # what came meanwhile finds no consumer, and is handed back

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:  # noqa: ARG002 - kombu's signature
        """What the worker's banner, its errors and Flower call the broker: where SQS is. No credentials."""
        options: Options = self.client.transport_options.get("sqs") or Options()
        if options.endpoint_url:
            return f"sqs://{urlsplit(options.endpoint_url).netloc.rpartition('@')[2]}"
        return f"sqs://{options.region or 'the region that the AWS SDK finds'}"
