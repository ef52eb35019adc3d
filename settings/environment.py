"""Every variable that Sluice reads, with its unit, default and reason: docs/settings.md is made from this file."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from settings import addresses
from settings.fields import LONGEST_LEASE, Unit, Unset
from settings.queue import (  # noqa: TC001 - pydantic reads the annotations at run time
    MaxAge,
    MaxReceives,
    Polls,
    Prefetch,
    QueueSettings,
    Visibility,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Seconds = Annotated[float, Unit("seconds"), Field(allow_inf_nan=False)]


def _names(text: object) -> object:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if isinstance(text, str) else text


def _importable(modules: tuple[str, ...]) -> tuple[str, ...]:
    if not modules:
        raise ValueError("names no module; give the modules of your tasks, separated by commas, or leave it out")
    for module in modules:
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module):
            raise ValueError(f"{module!r} is not a module's name; give dotted names such as orders.tasks")
        try:
            found = importlib.util.find_spec(module)
        except ImportError as error:
            raise ValueError(
                f"{module} cannot be imported ({error}); correct the name, or install the package that has it"
            ) from None
        if found is None:
            raise ValueError(
                f"there is no module {module} to import; correct the name, install the package that has it, or put its "
                "folder on PYTHONPATH"
            )
    return modules


def _soft_limit(before: dict[str, Any]) -> float:
    """Thirty seconds for the task to put its things in order, less where the limit itself is short."""
    hard: float = before["task_time_limit"]
    return max(hard - 30, hard * 0.9)


def variable(name: str, *older: str) -> Any:
    """The environment's name for a field; the older ones count where it is not set."""
    return AliasChoices(name, *older) if older else name


class Settings(BaseSettings):
    """All settings, validated. Made by `settings.load`."""

    model_config = SettingsConfigDict(
        case_sensitive=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=False,
    )

    aws_region: Annotated[
        str | None,
        Unit("a region, such as `eu-west-1`"),
        Unset("the region in the queue's URL or ARN, else the SDK's own choice (the profile, the machine)"),
        AfterValidator(addresses.region),
    ] = Field(None, validation_alias=variable("AWS_REGION", "AWS_DEFAULT_REGION"))
    """The AWS region of the queues. `AWS_DEFAULT_REGION` counts where `AWS_REGION` is not set: boto3 knows only that
    one, most other SDKs only the first."""

    aws_profile: Annotated[str | None, Unit("the name of a profile"), Unset("the SDK's own choice")] = Field(
        None, validation_alias="AWS_PROFILE"
    )
    """The profile of `~/.aws/config` to use; it must be there, unless SQS is on this machine. Credentials themselves
    are never ours: the SDK finds them (environment, profile, container, instance)."""

    aws_endpoint_url_sqs: Annotated[
        str | None, Unit("an `http://` or `https://` URL"), Unset("AWS, by region"), AfterValidator(addresses.endpoint)
    ] = Field(None, validation_alias=variable("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"))
    """Another address for SQS's API: a VPC endpoint, or a server on this machine. On a loopback address no AWS account
    is needed: dummy credentials are used there and nowhere else, and missing queues are made at start."""

    queue: Annotated[
        str | None, Unit("a queue's name, URL or ARN"), Unset("the first queue of the table; without a table, `sluice`")
    ] = Field(None, validation_alias="SLUICE_QUEUE")
    """The short form for a single queue: its name, URL or ARN. Where `settings/queues.py` has a table it is the name of
    the row that tasks go to unless they say otherwise."""

    control_url: Annotated[
        SecretStr | None,
        Unit("a `redis://`, `rediss://` (TLS) or `unix://` URL; never shown"),
        Unset("no control link: no Flower, no `inspect` and `control`, and state per process"),
        AfterValidator(addresses.control),
    ] = Field(None, validation_alias="SLUICE_CONTROL_URL")
    """The Valkey or Redis server that carries remote control and events, which SQS cannot, and the state that workers
    share. One node, no cluster, no Sentinel. Tasks run on while it is
    away."""

    downstream_url: Annotated[
        str | None,
        Unit("an `http://` or `https://` URL without credentials"),
        Unset("the tasks that need it fail and say so"),
        AfterValidator(addresses.downstream),
    ] = Field(None, validation_alias="SLUICE_DOWNSTREAM_URL")
    """The base address of the service behind the queue. What it needs to know of its callers, tasks send as headers."""

    downstream_timeout: Annotated[Seconds, Field(gt=0, le=LONGEST_LEASE)] = Field(
        10.0, validation_alias="SLUICE_DOWNSTREAM_TIMEOUT"
    )
    """How long a call to that service may take, connecting included. A service that has not answered in 10 s is in
    trouble, and more waiting callers do not help it."""

    downstream_connections: Annotated[int, Unit("connections"), Field(ge=1, le=10_000)] = Field(
        100, validation_alias="SLUICE_DOWNSTREAM_CONNECTIONS"
    )
    """The most connections to that service that a process keeps open. At least the pool's concurrency in one process
    (100 serves `-P gevent -c 100`), or tasks wait for each other's."""

    task_modules: Annotated[
        tuple[str, ...],
        Unit("dotted names, separated by commas"),
        NoDecode,
        BeforeValidator(_names),
        AfterValidator(_importable),
    ] = Field(("tasks",), validation_alias="SLUICE_TASK_MODULES")
    """The modules that hold your tasks. They are imported when the worker starts."""

    result_url: Annotated[
        SecretStr | None,
        Unit("a URL as Celery's `result_backend` takes it; never shown"),
        Unset("results are not stored"),
        AfterValidator(addresses.results),
    ] = Field(None, validation_alias="SLUICE_RESULT_URL")
    """Where results are stored. None by default: storing costs a write per message, and a
    worker that drains a queue has nobody waiting for the answer. `rpc://` and brokers cannot serve here, and the
    library that Celery needs for the URL must be installed."""

    visibility_timeout: Visibility = Field(60, validation_alias="SLUICE_VISIBILITY_TIMEOUT")
    """The lease: for so long SQS shows a received message to nobody else. Short, since a crashed worker's messages come
    back only after it; SQS allows 12 hours (43,200)."""

    prefetch: Prefetch = Field(None, validation_alias="SLUICE_PREFETCH")
    """The most messages of one queue that a worker has in work or waiting, so that one queue cannot take all of its
    places. No limit by default: most workers have one queue."""

    polls_min: Polls = Field(1, validation_alias="SLUICE_POLLS_MIN")
    """Receives that a worker has in flight at each queue while it is idle. One is enough: a message ends its wait at
    once. Each costs an empty receive per wait."""

    polls_max: Polls = Field(20, validation_alias="SLUICE_POLLS_MAX")
    """Receives that a worker has in flight at each queue at most. Each brings ten messages per round trip, so twenty
    bring 20,000 a second at 10 ms: more than a Python process works off. How many there are between the two follows
    the backlog and the free slots."""

    max_age: MaxAge = Field(None, validation_alias="SLUICE_MAX_AGE")
    """The age at which a message counts as late: what you promise of this queue. Late messages run all the same; they
    are counted, and the log says so at most once a minute. At most the 14 days that SQS keeps a message."""

    max_receives: MaxReceives = Field(100, validation_alias="SLUICE_MAX_RECEIVES")
    """The `maxReceiveCount` of a queue that we make: SQS itself moves a message to the dead-letter queue after so many
    receives. A backstop far above the attempts allowed, since a message that was handed back (drain, rate limit, open
    breaker) has spent a receive and no attempt. SQS allows 1,000."""

    prefetch_multiplier: Annotated[int, Unit("messages per place in the pool"), Field(ge=1, le=1000)] = Field(
        10, validation_alias="SLUICE_PREFETCH_MULTIPLIER"
    )
    """How many messages a worker may hold for each task that it can run at once. An upper bound: ten come per receive,
    so with less than ten a small pool waits for the network; more only keeps messages from other workers."""

    prefetch_seconds: Annotated[Seconds, Field(ge=0, le=LONGEST_LEASE)] = Field(
        1.0, validation_alias="SLUICE_PREFETCH_SECONDS"
    )
    """How long a message may wait in a worker before its task begins, as far as the run times measured so far tell. A
    worker holds as many messages as its pool runs at once, and beyond that only what begins within this time: with
    quick tasks up to the multiplier's bound, with slow ones none, since they could begin elsewhere. At 0 it never holds
    more than run."""

    prefetch_bytes: Annotated[int, Unit("bytes"), Field(ge=2**20, le=2**40)] = Field(
        64 * 2**20, validation_alias="SLUICE_PREFETCH_BYTES"
    )
    """The most bytes of message bodies that a worker holds. A message may have 1 MiB, so that 500 of them would be half
    a gigabyte. A single message may exceed it; and where messages get larger all at once, what the receives in flight
    bring comes on top, ten messages each."""

    settle_linger: Annotated[Seconds, Field(ge=0, le=1)] = Field(0.02, validation_alias="SLUICE_SETTLE_LINGER")
    """How long a delete waits for others to share its call, since ten cost as much as one. Short beside any lease; at
    more than a few hundred messages a second the calls are full before it is over."""

    poll_wait: Annotated[int, Unit("seconds"), Field(ge=1, le=20)] = Field(20, validation_alias="SLUICE_POLL_WAIT")
    """How long a receive waits for a message. The most that SQS allows: each empty answer is paid for, and a message
    ends the wait at once."""

    drain_timeout: Annotated[Seconds, Field(ge=0, le=LONGEST_LEASE)] = Field(
        25.0, validation_alias="SLUICE_DRAIN_TIMEOUT"
    )
    """After SIGTERM, how long running tasks may take to finish before they are killed and their messages handed back.
    Most hosts grant 30 seconds from SIGTERM to SIGKILL, and what is killed needs up to five to be told to SQS. Raise
    both together: Kubernetes' `terminationGracePeriodSeconds`, ECS' `stopTimeout` (30 each), Docker's
    `stop_grace_period` (10)."""

    task_time_limit: Annotated[Seconds, Field(gt=0, le=LONGEST_LEASE)] = Field(
        900.0, validation_alias="SLUICE_TASK_TIME_LIMIT"
    )
    """After this a task is killed. Every task has a limit, or one that hangs keeps its place and its message for ever;
    none may outlast the 12 hours that SQS lets a message be held. A task can set its own (`time_limit`).
    The prefork and gevent pools enforce it; Celery's threads and solo pools cannot."""

    task_soft_time_limit: Annotated[
        Seconds, Unset("30 seconds less than the time limit, or 90 % of it if that is more"), Field(gt=0)
    ] = Field(default_factory=_soft_limit, validation_alias="SLUICE_TASK_SOFT_TIME_LIMIT")
    """After this a task gets `SoftTimeLimitExceeded`, to put its things in order before it is killed. Only the
    prefork pool does that."""

    retry_backoff: Annotated[Seconds, Field(gt=0, le=LONGEST_LEASE)] = Field(
        1.0, validation_alias="SLUICE_RETRY_BACKOFF"
    )
    """How long a message waits after its first failure. It doubles with each further one and is spread by chance, so
    that a service that comes back is not met by all of them at once."""

    retry_backoff_max: Annotated[Seconds, Field(gt=0, le=LONGEST_LEASE)] = Field(
        300.0, validation_alias="SLUICE_RETRY_BACKOFF_MAX"
    )
    """The longest wait between two attempts. Five minutes: a service that was away for hours is used again within that,
    and is not asked every second meanwhile. SQS allows 12 hours."""

    max_worker_losses: Annotated[int, Field(ge=1, le=1000)] = Field(3, validation_alias="SLUICE_MAX_WORKER_LOSSES")
    """How often the child process that runs a message may die (out of memory, a crash) before the message goes to the
    dead-letter queue. Once may be another task's doing, where the kernel chose this process; three times is its own."""

    log_tasks: bool = Field(default=False, validation_alias="SLUICE_LOG_TASKS")
    """Celery's two INFO lines per task (received, succeeded). Off: at hundreds of messages a second they bury every
    other line, and each costs time. Failures are logged always."""

    queues: tuple[QueueSettings, ...] = ()
    default_queue: str = "sluice"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the method's signature is the library's
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the mapping that we were given, and nothing else: neither os.environ nor a file."""
        return (_Given(settings_cls, init_settings()["environ"]),)

    @property
    def is_local(self) -> bool:
        """Whether SQS is a server on this machine: no AWS account, dummy credentials, queues made at start."""
        endpoint = self.aws_endpoint_url_sqs
        return endpoint is not None and addresses.is_loopback(addresses.split_url(endpoint, "https", "http").hostname)


class _Given(EnvSettingsSource):
    """pydantic-settings' reading of an environment, of one that is an argument."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(settings_cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._environ)


def variables_of(name: str) -> tuple[str, ...]:
    """The environment's names for a field, the first one first; none for what does not come from there."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (str(alias),) if alias else ()
