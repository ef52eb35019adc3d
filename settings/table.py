"""The queues in force: the table's rows or the single queue, the environment's defaults, and its overrides."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from settings.addresses import check_queue_name, is_loopback, queue_address, split_url
from settings.errors import Problem, shown
from settings.fields import explained
from settings.queue import Queue, QueueSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from settings.environment import Settings

FIELDS = tuple(field.name for field in fields(Queue) if field.name != "name")
"""What a row may set and the environment may override. None is the end of another one behind a `_`, so that
SLUICE_QUEUE_<NAME>_<FIELD> can be read in one way only."""

_TABLE = "settings/queues.py"
_ENDPOINT = {"AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"}


def override(queue: str, field: str) -> str:
    """The variable that overrides a queue's field: upper case, and `_` for all but letters and digits."""
    return f"SLUICE_QUEUE_{_upper(queue)}_{field.upper()}"


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


@dataclass(frozen=True, slots=True)
class Resolved:
    """The queues in force and what came to light on the way.

    Attributes:
        queues: in the table's order.
        default: the name of the one that tasks go to unless they say otherwise.
        region: the one that the queues' addresses name, if they name one.
        variables: all overrides that belong to a queue.
        problems: what is wrong, each with its fix.
    """

    queues: tuple[QueueSettings, ...]
    default: str
    region: str | None
    variables: frozenset[str]
    problems: tuple[Problem, ...]


def resolve(
    table: Sequence[Queue], given: Mapping[str, str], settings: Settings, *, failed: frozenset[str] = frozenset()
) -> Resolved:
    """The queues that a table and an environment make.

    Args:
        table: the rows.
        given: the environment, for its overrides.
        settings: what else is set: the defaults for the rows, the region, the endpoint.
        failed: the variables whose values in `settings` are stand-ins, since what was given is wrong.
    """
    rows, problems = _rows(table, settings.queue)
    queues = []
    for row in rows:
        values, sources = _layers(row, given, settings, is_single=not table)
        try:
            queue = QueueSettings(**values)
        except ValidationError as error:
            details = {str(detail["loc"][0]): detail for detail in error.errors()}
            if "name" in details and row.dead_letter is None:
                details.pop("dead_letter", None)  # it is made of the name
            problems += [
                Problem(sources[field], shown(values[field]), explained(detail, QueueSettings.model_fields[field]))
                for field, detail in details.items()
            ]
        else:
            queues.append(queue)
            problems += _elsewhere(queue, sources["url"], settings)
            if not failed & _ENDPOINT:
                problems += _unreachable(queue, sources["url"], settings)
    problems += _shared(queues)
    regions = {queue.address.region for queue in queues if queue.address and queue.address.region}
    if len(regions) > 1:
        text = f"the queues are in several regions ({', '.join(sorted(regions))}); run a worker for each region"
        problems.append(Problem(_TABLE, None, text))
    variables = {override(row.name, field) for row in rows for field in FIELDS}
    if not rows:  # which overrides belong to the single queue cannot be told while its name is wrong
        variables = {name for name in given if name.startswith("SLUICE_QUEUE_")}
    return Resolved(
        queues=tuple(queues),
        default=settings.queue if table and settings.queue else rows[0].name if rows else "sluice",
        region=min(regions, default=None),
        variables=frozenset(variables),
        problems=tuple(problems),
    )


def _rows(table: Sequence[Queue], queue: str | None) -> tuple[tuple[Queue, ...], list[Problem]]:
    """The table, or a table of the one queue that SLUICE_QUEUE means."""
    if not table:
        try:
            return (_single(queue or "sluice"),), []
        except ValueError as error:
            return (), [Problem("SLUICE_QUEUE", shown(queue), str(error))]
    problems = list(_clashes(table))
    if queue and queue not in {row.name for row in table}:
        names = ", ".join(row.name for row in table)
        text = (
            f"not a row of the table in {_TABLE}; name one of its queues ({names}), add a row for this one, or empty "
            "the table to drain a single queue"
        )
        problems.append(Problem("SLUICE_QUEUE", shown(queue), text))
    return tuple(table), problems


def _single(text: str) -> Queue:
    """The one queue that SLUICE_QUEUE means."""
    if "://" in text or text.startswith("arn:"):
        return Queue(name=queue_address(text).name, url=text)
    check_queue_name(text)
    return Queue(name=text)


def _layers(
    row: Queue, given: Mapping[str, str], settings: Settings, *, is_single: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """A queue's values, and where each comes from: override, else row, else the environment's default."""
    defaults = {
        "prefetch": settings.prefetch,
        "polls_min": settings.polls_min,
        "polls_max": settings.polls_max,
        "visibility": settings.visibility_timeout,
        "max_age": settings.max_age,
        "max_receives": settings.max_receives,
    }
    row_name = "SLUICE_QUEUE" if is_single else f"{_TABLE}: {row.name}"
    values: dict[str, Any] = {"name": row.name}
    sources = {"name": f"{row_name}.name"}
    for field in FIELDS:
        variable, in_row = override(row.name, field), getattr(row, field)
        if variable in given:
            values[field], sources[field] = given[variable], variable
        else:
            values[field] = defaults.get(field) if in_row is None else in_row
            sources[field] = row_name if is_single else f"{row_name}.{field}"
    if values["dead_letter"] is None:
        values["dead_letter"] = f"{_name_in_sqs(values)}-dead"
        sources["dead_letter"] = override(row.name, "dead_letter")  # what to set where that is no name, as too long
    return values, sources


def _name_in_sqs(values: Mapping[str, Any]) -> str:
    try:
        return queue_address(values["url"]).name if values["url"] else str(values["name"])
    except ValueError:  # said where the URL is checked
        return str(values["name"])


def _clashes(rows: Sequence[Queue]) -> Iterator[Problem]:
    """Rows that cannot be told apart, in Celery or in the environment."""
    for upper, count in Counter(_upper(row.name) for row in rows).items():
        if count > 1:
            names = ", ".join(row.name for row in rows if _upper(row.name) == upper)
            yield Problem(
                _TABLE,
                None,
                f"the queues {names} would all be overridden by SLUICE_QUEUE_{upper}_…; rename all but one (the `url` "
                "keeps the name in SQS)",
            )


def _elsewhere(queue: QueueSettings, source: str, settings: Settings) -> Iterator[Problem]:
    """A queue's address that contradicts the region."""
    region = queue.address.region if queue.address else None
    if region and settings.aws_region and region != settings.aws_region:
        text = f"is in region {region}, but AWS_REGION is {settings.aws_region}; make them the same"
        yield Problem(source, shown(queue.url), text)


def _unreachable(queue: QueueSettings, source: str, settings: Settings) -> Iterator[Problem]:
    """A queue's URL that contradicts the endpoint, or that would be used unencrypted."""
    address = queue.address
    if address is None or address.host is None:
        return
    url, endpoint = shown(queue.url), settings.aws_endpoint_url_sqs
    if is_loopback(address.host) and not settings.is_local:
        yield Problem(
            source,
            url,
            "is on this machine, but AWS_ENDPOINT_URL_SQS is not; set AWS_ENDPOINT_URL_SQS to the same scheme, host "
            "and port, or give the queue's URL at AWS",
        )
    elif settings.is_local and not is_loopback(address.host):
        yield Problem(
            source,
            url,
            f"is not on this machine, but AWS_ENDPOINT_URL_SQS={endpoint} is; unset one of the two",
        )
    elif (
        not address.is_encrypted and not is_loopback(address.host) and not _is_at(address.host, address.port, endpoint)
    ):
        yield Problem(source, url, "would send messages over the network unencrypted; write it with https://")


def _is_at(host: str, port: int | None, endpoint: str | None) -> bool:
    if endpoint is None:
        return False
    parts = split_url(endpoint, "https", "http")
    return (parts.hostname, parts.port) == (host, port)


def _shared(queues: Sequence[QueueSettings]) -> Iterator[Problem]:
    """Queues that are one and the same in SQS, and dead-letter queues that are drained."""
    seen: dict[tuple[str | None, str | None, str], str] = {}
    for queue in queues:
        address = queue.address
        place = (address.account if address else None, address.region if address else None, queue.sqs_name)
        if place in seen:
            yield Problem(
                _TABLE,
                None,
                f"{seen[place]} and {queue.name} are the same queue in SQS ({queue.sqs_name}); remove one of the rows",
            )
        seen.setdefault(place, queue.name)
    drained = {queue.sqs_name: queue.name for queue in queues}
    for queue in queues:
        if queue.dead_letter in drained:
            yield Problem(
                f"dead-letter queue of {queue.name}",
                queue.dead_letter,
                f"is itself drained (as {drained[queue.dead_letter]}), so a failed message would run again and again; "
                "give it a dead-letter queue that no row names",
            )
