"""docs/settings.md, made from the settings themselves: `python -m settings.document > docs/settings.md`."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from pydantic_core import PydanticUndefined

from settings.environment import Settings, variables_of
from settings.fields import Unset, expected, metadata
from settings.queue import QueueSettings
from settings.table import FIELDS, override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_HEAD = """\
# Settings

<!-- Made by `make docs` from settings/environment.py and settings/queue.py: change those. -->

Settings come from the environment and are checked at start. All problems are reported at once, each with the name, the
value (secrets masked) and what to do. An empty value counts as not set, and white space around a value is dropped. No
`.env` file is read; `celery -A app report` says what is in force.

Names are the AWS SDK's own where it has one; all others begin with `SLUICE_`. A `SLUICE_` name that does not exist
stops the start, and the message names the one that was probably meant. `CELERY_BROKER_URL`, `CELERY_BROKER_READ_URL`,
`CELERY_BROKER_WRITE_URL` and `CELERY_RESULT_BACKEND` stop it too: Celery would follow them past all that is said here.
"""

_QUEUES = """\
## Queues

One queue needs no more than `SLUICE_QUEUE`: its name, URL or ARN. Several queues are a table in `settings/queues.py`:

```python
QUEUES: tuple[Queue, ...] = (
    Queue(name="orders", visibility=120),
    Queue(name="mails", url="arn:aws:sqs:eu-west-1:123456789012:prod-mails", prefetch=50, max_age=3600),
)
```

Tasks go to the first row unless they say otherwise; where `SLUICE_QUEUE` is set too, it names the row that they go to.
A worker drains all rows, or those that `-Q` names.

A value is the environment's override if there is one, else the row's, else the default for all queues. The override's
name follows one rule: `SLUICE_QUEUE_<NAME>_<FIELD>`, in upper case, with `_` for everything in the name that is neither
a letter nor a digit. For the queue `user-mails`:

```sh
"""

_KUBERNETES = """\
## Names that Kubernetes sets

Kubernetes puts variables for each Service of the namespace into every container. Those of a Service called `sluice` or
`sluice-…` look like ours and are ignored: `SLUICE_…SERVICE_HOST`, `SLUICE_…SERVICE_PORT` and
`SLUICE_…SERVICE_PORT_<NAME>`; `SLUICE_…PORT` and `SLUICE_…PORT_<NUMBER>_TCP` (`_UDP`, `_SCTP`) with an address such as
`tcp://10.0.0.1:80` as their value; and that name with `_PROTO`, `_PORT` or `_ADDR` behind it.
"""

_EXAMPLES = {
    "url": "https://sqs.eu-west-1.amazonaws.com/123456789012/prod-user-mails",
    "dead_letter": "user-mails-failed",
    "prefetch": "50",
    "polls_min": "2",
    "polls_max": "5",
    "visibility": "120",
    "max_age": "3600",
    "max_receives": "20",
}

_DEFAULTS_OF_QUEUES = {
    "prefetch": "SLUICE_PREFETCH",
    "polls_min": "SLUICE_POLLS_MIN",
    "polls_max": "SLUICE_POLLS_MAX",
    "visibility": "SLUICE_VISIBILITY_TIMEOUT",
    "max_age": "SLUICE_MAX_AGE",
    "max_receives": "SLUICE_MAX_RECEIVES",
}


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join(_parts())


def _parts() -> Iterator[str]:
    yield _HEAD
    yield "## Variables\n"
    for name, field in Settings.model_fields.items():
        if names := variables_of(name):
            yield f"### `{names[0]}`\n"
            yield f"{_text(field)}\n"
            yield f"- Value: {expected(field)}"
            if len(names) > 1:
                yield f"- Falls back to: {', '.join(f'`{other}`' for other in names[1:])}"
            yield f"- Default: {_default(field)}\n"
    yield _QUEUES + "\n".join(f"{override('user-mails', name)}={_EXAMPLES[name]}" for name in FIELDS) + "\n```\n"
    yield "Two queues whose names become the same by that rule are refused.\n"
    for name in ("name", *FIELDS):
        field = QueueSettings.model_fields[name]
        yield f"### Field `{name}`\n"
        yield f"{_text(field)}\n"
        yield f"- Value: {expected(field)}"
        default = f"`{_DEFAULTS_OF_QUEUES[name]}`" if name in _DEFAULTS_OF_QUEUES else _default(field)
        yield f"- Default: {default}\n"
    yield _KUBERNETES.rstrip("\n") + "\n"


def _text(field: FieldInfo) -> str:
    return textwrap.fill(" ".join((field.description or "").split()), 120, break_on_hyphens=False)


def _default(field: FieldInfo) -> str:
    if unset := metadata(field, Unset):
        return unset.text
    if field.default is PydanticUndefined:
        return "none, it must be given"
    return f"`{_as_written(field.default)}`"


def _as_written(value: object) -> str:
    """A default as it would be written in the environment."""
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.stdout.write(page())
