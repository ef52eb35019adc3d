"""The transport: one per kombu connection; it owns the inbox through which messages reach their consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kombu.transport import SQS

from app import native
from app.outcome import RETURNED
from app.transport import aws
from app.transport.channel import Channel
from app.transport.custody import custody_of
from app.transport.inbox import Inbox
from app.transport.intake import Intake
from app.transport.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.custody.delivery import Delivery

#: Seconds for a plain client's last deletes, when it closes its connection.
_FLUSH = 5.0
#: Seconds between two looks at whether threads are missing.
_LOOK_EVERY = 1.0


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
        #: How many tasks the consumer's pool runs at once, now and once it has grown; None: it has no pool.
        self.places: Callable[[], int] | None = None
        self.most_places: Callable[[], int] | None = None
        #: Whether the task with this id is revoked: it is not put off till it is due.
        self.is_revoked: Callable[[str], bool] = _never
        self._intake: Intake | None = None
        self._is_draining = False
        #: Kombu's timer, while an event loop has one of ours.
        self._looks: Any = None

    def delivery(self, tag: str) -> Delivery | None:
        """What was given to the consumer under that tag and is not settled."""
        return None if self._intake is None else self._intake.given.get(tag)

    @property
    def waiting(self) -> int:
        """How many messages wait for the pool."""
        return 0 if self._intake is None else self._intake.waiting

    @property
    def in_pool(self) -> int:
        """How many of its tasks the pool has."""
        return 0 if self._intake is None else self._intake.in_pool

    def fill_places(self) -> None:
        """The pool has more places: give it what waits; from any thread."""
        if self._intake is not None:
            self._intake.resize()

    def when_place_is_free(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever a task of this connection, which is closed, has given its place back."""
        if self._intake is not None:
            self._intake.when_place_is_free = call

    @property
    def intake(self) -> Intake:
        """What this connection receives; there from the first use on, since producers need no engine."""
        if self._intake is None:
            options: Options = self.client.transport_options.get("sqs") or Options()
            self._intake = Intake(
                custody_of(options),
                options,
                inbox=self.inbox,
                places=self.places,
                most_places=self.most_places or self.places,
                give=self._give,
                when_missing=self._when_missing,
            )
            if self._is_draining:
                self._intake.begin_drain()
        return self._intake

    def _give(self, delivery: Delivery) -> None:
        channel = self._channel_of(delivery.queue)
        if channel is None:
            delivery.settle(RETURNED)
        else:
            channel.give(delivery)

    def _when_missing(self, queue: str) -> None:
        self.inbox.put(self._on_queue_missing, queue)

    def _on_queue_missing(self, queue: str) -> None:
        if (channel := self._channel_of(queue)) is not None:
            channel.on_queue_missing(queue)

    def _channel_of(self, queue: str) -> Any:
        """The channel that consumes from the queue."""
        return next((each for each in self.channels if queue in each._active_queues), None)  # noqa: SLF001 - kombu's

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ARG002 - kombu's signature
        """Prefork, threads, solo: Celery's event loop runs the inbox, and looks whether a fork has cost us threads."""
        self.inbox.attach(loop)
        self._looks = loop.call_repeatedly(_LOOK_EVERY, native.resume)

    def unregister_from_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ARG002 - kombu's signature
        """The event loop is about to end."""
        self.inbox.detach()

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu's signature
        """Gevent and plain clients: run what is in the inbox.

        Raises:
            TimeoutError: nothing came within `timeout` seconds (None: wait for ever).
        """
        native.resume()
        if not self.inbox.run(timeout):
            raise TimeoutError

    def begin_drain(self, then: Callable[[], None]) -> None:
        """Receive and give nothing more, and call `then` in the consumer; from any thread and any signal handler."""
        self._is_draining = True
        if self._intake is not None:
            self._intake.begin_drain()
        self.inbox.put(then)  # wakes the consumer, too: it may be asleep for seconds, and a signal does not do that

    def close_connection(self, connection: Any) -> None:
        """Stop receiving and hand back what is not in work."""
        super().close_connection(connection)
        if self._looks is not None:
            self._looks.cancel()  # neither kombu nor Celery says that the event loop is done with us
        self.inbox.close()  # what came meanwhile finds no consumer, and is handed back
        if self._intake is not None:
            self._intake.close()
            if self.places is None:
                custody_of(self._intake.options).flush(_FLUSH)

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:  # noqa: ARG002 - kombu's signature
        """What the worker's banner, its errors and Flower call the broker: where SQS is. No credentials."""
        options: Options = self.client.transport_options.get("sqs") or Options()
        if options.endpoint_url:
            return f"sqs://{urlsplit(options.endpoint_url).netloc.rpartition('@')[2]}"
        return f"sqs://{options.region or 'the region that the AWS SDK finds'}"


def _never(_: str) -> bool:
    return False
