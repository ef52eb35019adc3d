"""Where the queues are: each name's URL, as configured or asked for once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.errors import QueueMissing
from app.transport import aws, provision

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.options import Options


class Addresses:
    """The URLs of the queues that a connection has to do with.

    Args:
        options: what is known of the queues, and which may be made where they are missing.
        client: gives the process's SQS client.
    """

    def __init__(self, options: Options, *, client: Callable[[], Any]) -> None:
        self._options = options
        self._client = client
        self._known: dict[str, str] = {}

    def url(self, queue: str) -> str:
        """The queue's URL; SQS is asked where it is not configured, once.

        Raises:
            QueueMissing: there is no such queue.
            AWSError: SQS could not be asked.
        """
        known = self._known.get(queue)
        if known is None:
            known = self._known[queue] = self._options.of(queue).url or self._ask(queue)
        return known

    def forget(self, queue: str) -> None:
        """Ask anew the next time: the queue was said to be gone."""
        self._known.pop(queue, None)

    def _ask(self, queue: str) -> str:
        options, client = self._options.of(queue), self._client()
        name = options.name or queue
        owner = {"QueueOwnerAWSAccountId": options.account} if options.account else {}
        try:
            return str(client.get_queue_url(QueueName=name, **owner)["QueueUrl"])
        except aws.AWSError as error:
            if not aws.is_missing_queue(error):
                raise
        if name not in {wanted.name for wanted in self._options.make}:
            raise QueueMissing(name)
        for missing in provision.missing(client, self._options.make):
            provision.make(client, missing)
        return str(client.get_queue_url(QueueName=name)["QueueUrl"])
