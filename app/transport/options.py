"""What the transport is told, through kombu's transport options: `broker_transport_options = {"sqs": Options(...)}`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from app.transport import aws, delays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.transport.provision import Wanted


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """One queue, as this worker consumes it."""

    #: Its name in SQS; None: the same as Celery's.
    name: str | None = None
    #: The account that owns it; None: the caller's own.
    account: str | None = None
    #: Its address; None: asked for by name and account (GetQueueUrl).
    url: str | None = None
    #: Seconds a received message stays invisible to others, whatever the queue's own setting.
    visibility: int = 60
    #: Receives in flight while the queue is idle, and at most.
    polls_min: int = 1
    polls_max: int = 20
    #: Most messages received and not settled; None: as many as the worker's window.
    prefetch: int | None = None
    #: Seconds in the queue after which a message counts as late; None: none does.
    max_age: float | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """All that the transport needs to know."""

    #: Where SQS is; None: AWS's own address for the region.
    endpoint_url: str | None = None
    #: The AWS region; None: what the SDK finds.
    region: str | None = None
    #: The queues that are described; any other is found by its name, with the defaults.
    queues: Mapping[str, QueueOptions] = field(default_factory=dict)
    #: For queues that are not described.
    default: QueueOptions = field(default_factory=QueueOptions)
    #: Queues to make when one of them is found missing, dead-letter queues first; none are made in AWS unasked.
    make: tuple[Wanted, ...] = ()
    #: Seconds that a receive waits for a message (1 to 20).
    wait: int = 20
    #: Seconds in which what a worker holds must begin, as far as run times tell.
    prefetch_seconds: float = 1.0
    #: Bytes of message bodies held, beyond which nothing more is asked for.
    prefetch_bytes: int = 64 * 2**20
    #: Seconds that a delete or a change of visibility waits for others, to share a call.
    settle_linger: float = 0.02
    #: Times that the process that ran a message may die before the message goes to the dead-letter queue.
    max_deaths: int = 3
    #: Seconds that SQS can hold a message back.
    longest_delay: int = delays.LONGEST
    #: Seconds for which SQS lets a message be kept, renewals included.
    longest_lease: int = aws.MAX_VISIBILITY
    #: Seconds until a message whose task failed is tried again: after the first failure, and at most.
    retry_first: float = 1.0
    retry_most: float = 300.0

    def __json__(self) -> dict[str, Any]:
        """For kombu's JSON: `inspect stats` sends the transport options along."""
        return asdict(self)

    def of(self, queue: str) -> QueueOptions:
        """The options of the queue with this name."""
        return self.queues.get(queue, self.default)
