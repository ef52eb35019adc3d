"""A real AWS account as the tests' server: only where TEST_AWS_PREFIX says so, by names that begin with it.

Which account, region and endpoint it is, the SDK's own chain decides. It has not been run on AWS: what is known of that
is from its documentation.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import signal
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = os.environ.get("TEST_AWS_PREFIX", "")
#: Seconds until a queue's counts are what they say, and between two looks.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
SETTLED, LOOK_EVERY = 60.0, 1.0
COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


class Approximate:
    """A count that AWS gives only by and by: a comparison waits until it is true, or a minute is over."""

    __hash__ = None

    def __init__(self, read: Callable[[], int]) -> None:
        self.read = read

    def __repr__(self) -> str:
        return f"about {self.read()}"

    def __add__(self, other: Approximate | int) -> Approximate:
        return Approximate(lambda: self.read() + (other.read() if isinstance(other, Approximate) else other))

    def _becomes(self, is_so: Callable[[int], bool]) -> bool:
        deadline = time.monotonic() + SETTLED
        while not is_so(self.read()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_EVERY)
        return True

    def __eq__(self, other: object) -> bool:
        return self._becomes(lambda now: now == other)

    def __ge__(self, other: int) -> bool:
        return self._becomes(lambda now: now >= other)


class Account:
    """The queues of one run in an account: made under names that nobody else has, and removed at its end."""

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{3,40}", prefix):
            raise pytest.UsageError("a PREFIX is 3 to 40 letters, digits, hyphens and underscores: PREFIX=sluice-test")
        # A name rests for a minute once its queue was deleted: so none is used twice.
        self.prefix = f"{prefix}-{secrets.token_hex(4)}"
        self.client = self.new_client()
        self._numbers = itertools.count(1)
        self._names: list[str] = []

    def new_client(self) -> Any:
        return boto3.client(
            "sqs",
            config=Config(retries={"total_max_attempts": 3}, read_timeout=40, max_pool_connections=50),
        )

    def name(self, purpose: str = "queue") -> str:
        """A new queue's name."""
        self._names.append(f"{self.prefix}-{next(self._numbers)}-{purpose}")
        return self._names[-1]

    def counts(self, url: str) -> dict[str, Approximate]:
        def read(attribute: str) -> int:
            asked = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])
            return int(asked["Attributes"][attribute])

        return {count: Approximate(lambda name=name: read(name)) for count, name in COUNTS.items()}

    def remove(self) -> None:
        """Delete all queues of this run: those listed, and those that are perhaps not listed yet."""
        pages = self.client.get_paginator("list_queues").paginate(QueueNamePrefix=self.prefix)
        urls = {url for page in pages for url in page.get("QueueUrls", [])}
        for name in self._names:
            with contextlib.suppress(ClientError):
                urls.add(self.client.get_queue_url(QueueName=name)["QueueUrl"])
        for url in sorted(urls):
            with contextlib.suppress(self.client.exceptions.QueueDoesNotExist):
                self.client.delete_queue(QueueUrl=url)


def account() -> Iterator[Account]:
    """An account whose queues are removed at the end, after Ctrl-C and SIGTERM too; a second one does not stop that."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    found = Account(PREFIX)
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        found.remove()
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


class Server:
    """What the tests with workers ask of a server, for an account."""

    def __init__(self, found: Account) -> None:
        self.account = found
        self._urls: dict[str, str] = {}

    @property
    def worker_environment(self) -> dict[str, str]:
        """What a worker needs to drain the queue that the tests call `sluice`."""
        ours = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return {**ours, "SLUICE_QUEUE": self._urls["sluice"].rpartition("/")[2]}

    def create_queue(self, name: str, *, max_receives: int | None = None, attributes: dict | None = None) -> str:
        """Make a queue under a name of the run; with `max_receives` also its dead-letter queue."""
        client, attributes = self.account.client, dict(attributes or {})
        real = self.account.name(name)
        if max_receives is not None:
            dead = client.create_queue(QueueName=f"{real}-dead")["QueueUrl"]
            asked = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
            policy = {"deadLetterTargetArn": asked["Attributes"]["QueueArn"], "maxReceiveCount": max_receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
            self._urls[f"{name}-dead"] = dead
        self._urls[name] = client.create_queue(QueueName=real, Attributes=attributes)["QueueUrl"]
        return self._urls[name]

    def url(self, name: str) -> str:
        return self._urls[name]

    def fill(self, queue: str, count: int, body: str) -> None:
        for number in range(count):
            self.account.client.send_message(QueueUrl=self._urls[queue], MessageBody=body.replace("{n}", str(number)))

    @property
    def queues(self) -> dict[str, dict[str, Approximate]]:
        return {name: self.account.counts(url) for name, url in self._urls.items()}

    def configure(self, **_: object) -> None:
        """Nothing: the way to AWS is as long as it is."""
