"""One queue: as a row of the table that you write, and as it is in force once the environment had its say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from settings.addresses import QueueAddress, check_queue_name, queue_address
from settings.fields import LONGEST_LEASE, Unit, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A row of the table in `settings/queues.py`. What is left out is the environment's default.

    The fields are those of `QueueSettings`, where each is explained and checked.
    """

    name: str
    url: str | None = None
    dead_letter: str | None = None
    prefetch: int | None = None
    polls_min: int | None = None
    polls_max: int | None = None
    visibility: int | None = None
    max_age: float | None = None
    max_receives: int | None = None


def _queue_name(name: str) -> str:
    check_queue_name(name)
    return name


def _queue_url(url: str) -> str:
    queue_address(url)
    return url


# The types of what a queue has and the environment gives a default for: checked alike in both places.
Prefetch = Annotated[int | None, Unit("messages"), Unset("as many as the worker takes in all"), Field(ge=1, le=100_000)]
Polls = Annotated[int, Unit("receives"), Field(ge=1, le=50)]
Visibility = Annotated[int, Unit("seconds"), Field(ge=1, le=LONGEST_LEASE)]
MaxAge = Annotated[float | None, Unit("seconds"), Unset("no limit"), Field(gt=0, le=1_209_600, allow_inf_nan=False)]
MaxReceives = Annotated[int, Unit("receives"), Field(ge=1, le=1000)]


class QueueSettings(BaseModel):
    """A queue as it is in force."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    name: Annotated[str, Unit("1 to 80 letters, digits, hyphens and underscores"), AfterValidator(_queue_name)]
    """The name that Celery knows it by (`-Q NAME`, `queue="NAME"`), and its name in SQS unless a URL or ARN says
    otherwise."""

    url: Annotated[
        Annotated[str, AfterValidator(_queue_url)] | None,
        Unit("a queue's URL or ARN"),
        Unset("SQS is asked for the queue of that name"),
    ] = None
    """The queue's URL or ARN. Saves the question for the URL, which some accounts refuse, and reaches the queues of
    another account."""

    dead_letter: Annotated[
        str,
        Unit("a queue's name in SQS"),
        Unset("the queue's name in SQS with `-dead` behind it"),
        AfterValidator(_queue_name),
    ]
    """The name of its dead-letter queue, in the same account and region (SQS asks for that). Several queues may share
    one."""

    prefetch: Prefetch = None
    """The most messages of this queue that a worker has in work or waiting, so that one queue cannot take all of the
    worker's places."""

    polls_min: Polls = 1
    """How many receives a worker has in flight at this queue while it is idle."""

    polls_max: Polls = 20
    """How many receives a worker has in flight at this queue at most."""

    visibility: Visibility = 60
    """The lease of a received message: who crashes gives it back after this long."""

    max_age: MaxAge = None
    """A message older than this when it is received counts as late: it runs, and the log says how many were."""

    max_receives: MaxReceives = 100
    """The queue's `maxReceiveCount`: SQS itself moves a message to the dead-letter queue after so many receives."""

    @property
    def address(self) -> QueueAddress | None:
        """What the URL or ARN says of it; None where there is none."""
        return queue_address(self.url) if self.url else None

    @property
    def sqs_name(self) -> str:
        """Its name in SQS."""
        return self.address.name if self.address else self.name
