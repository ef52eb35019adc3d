"""How the settings come about: each variable, the queues, then what contradicts what; and all problems at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from settings.contradictions import contradictions
from settings.environment import Settings, variables_of
from settings.errors import Problem, SettingsError, shown
from settings.fields import explained
from settings.queues import QUEUES
from settings.strangers import strangers
from settings.table import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settings.queue import Queue

_SECRET = frozenset({"control_url", "result_url"})
_VARIABLES = frozenset(variable for field in Settings.model_fields for variable in variables_of(field))


def load(environ: Mapping[str, str] | None = None, *, table: Sequence[Queue] = QUEUES) -> Settings:
    """The settings that an environment and a table of queues make.

    Args:
        environ: the variables; os.environ if None, and this is the only place that reads it. White space around a
            value is dropped (a secret from a file often ends in a newline), and a value that is empty is not set.
        table: the queues; those of `settings/queues.py` unless a test says otherwise.

    Raises:
        SettingsError: all that is wrong, a problem per line.
    """
    stripped = {name: value.strip() for name, value in (os.environ if environ is None else environ).items()}
    given = {name: value for name, value in stripped.items() if value}
    settings, failed, problems = _read(given)
    resolved = resolve(table, given, settings, failed=failed)
    problems += resolved.problems
    problems += strangers(
        given, known=_VARIABLES | resolved.variables, queues=[queue.name for queue in resolved.queues]
    )
    problems += contradictions(settings, failed=failed)
    if problems:
        raise SettingsError(problems)
    return settings.model_copy(
        update={
            "queues": resolved.queues,
            "default_queue": resolved.default,
            "aws_region": settings.aws_region or resolved.region,
        }
    )


def _read(given: Mapping[str, str]) -> tuple[Settings, frozenset[str], list[Problem]]:
    """The settings (with the defaults in place of what is wrong), the variables that are wrong, and why."""
    values = {name: value for name, value in given.items() if name in _VARIABLES}
    arguments: dict[str, Any] = {"environ": values}
    try:
        return Settings(**arguments), frozenset(), []
    except ValidationError as error:
        details = error.errors()
    problems = {}
    for detail in details:
        if detail["type"] == "default_factory_not_called":  # it waits for a field that is reported itself
            continue
        field = next(field for field in Settings.model_fields if detail["loc"][0] in variables_of(field))
        variable = next(variable for variable in variables_of(field) if variable in values)
        text = explained(detail, Settings.model_fields[field])
        problems[variable] = Problem(variable, shown(values[variable], secret=field in _SECRET), text)
    # Once more without them, so that the rest can be looked at too.
    settings, failed, more = _read({name: value for name, value in values.items() if name not in problems})
    return settings, failed | problems.keys(), [*problems.values(), *more]
