"""Queues that do not exist yet: which are missing, and how they are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.transport import aws

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds that SQS keeps a message: the most there is, since a message that is moved to a dead-letter queue keeps its
#: old timestamp. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
_RETENTION = 1_209_600


@dataclass(frozen=True, slots=True)
class Wanted:
    """A queue to be made."""

    name: str
    visibility: int
    #: Its dead-letter queue, and after how many receives messages go there; None for a dead-letter queue itself.
    redrive: tuple[str, int] | None = None

    def described(self) -> str:
        """Its attributes, for people."""
        text = f"messages kept 14 days, invisible for {self.visibility} s once received"
        if self.redrive is None:
            return f"a dead-letter queue, {text}"
        return f"{text}, to {self.redrive[0]} after {self.redrive[1]} receives"


def wanted(queues: Iterable[Any]) -> list[Wanted]:
    """The queues that `settings.queue.QueueSettings` describe, each dead-letter queue before the first that needs it.

    A queue that is given by its URL or ARN is somebody's already, perhaps another account's: not ours to make.
    """
    found: dict[str, Wanted] = {}
    for queue in queues:
        if queue.url:
            continue
        found.setdefault(queue.dead_letter, Wanted(queue.dead_letter, queue.visibility))
        found[queue.sqs_name] = Wanted(queue.sqs_name, queue.visibility, (queue.dead_letter, queue.max_receives))
    return list(found.values())


def missing(client: Any, queues: Iterable[Wanted]) -> list[Wanted]:
    """Those that SQS does not have."""
    return [queue for queue in queues if not _exists(client, queue.name)]


def make(client: Any, queue: Wanted) -> None:
    """Create one queue, its dead-letter queue being there."""
    attributes = {"VisibilityTimeout": str(queue.visibility), "MessageRetentionPeriod": str(_RETENTION)}
    if queue.redrive is not None:
        name, receives = queue.redrive
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
    client.create_queue(QueueName=queue.name, Attributes=attributes)


def _exists(client: Any, name: str) -> bool:
    try:
        client.get_queue_url(QueueName=name)
    except aws.AWSError as error:
        if aws.is_missing_queue(error):
            return False
        raise
    return True
