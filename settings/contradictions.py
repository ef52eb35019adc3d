"""Values that are right one by one and cannot all hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settings.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settings.environment import Settings


def contradictions(settings: Settings, *, failed: frozenset[str]) -> Iterator[Problem]:
    """Each pair that contradicts, under the name of the one to change, as it is in force (set or by default).

    A pair with one of the `failed` variables, whose values are not known, is left out.
    """
    for problem, other in _pairs(settings):
        if not failed & {problem.name, other}:
            yield problem


def _pairs(s: Settings) -> Iterator[tuple[Problem, str]]:
    if s.task_soft_time_limit >= s.task_time_limit:
        yield _pair(
            "SLUICE_TASK_SOFT_TIME_LIMIT",
            s.task_soft_time_limit,
            f"not below SLUICE_TASK_TIME_LIMIT ({s.task_time_limit:g} s), so a task would be killed before it is "
            "warned; lower it, leave it out, or raise the time limit",
            "SLUICE_TASK_TIME_LIMIT",
        )
    if s.retry_backoff_max < s.retry_backoff:
        yield _pair(
            "SLUICE_RETRY_BACKOFF_MAX",
            s.retry_backoff_max,
            f"below the first wait, SLUICE_RETRY_BACKOFF ({s.retry_backoff:g} s); raise it, or lower the first wait",
            "SLUICE_RETRY_BACKOFF",
        )
    if s.drain_timeout < s.poll_wait:
        yield _pair(
            "SLUICE_DRAIN_TIMEOUT",
            s.drain_timeout,
            f"shorter than a long poll, SLUICE_POLL_WAIT ({s.poll_wait} s): the drain would abandon polls, and SQS "
            "hides what it gave them until their visibility timeout ends; raise it, or lower SLUICE_POLL_WAIT",
            "SLUICE_POLL_WAIT",
        )
    if s.downstream_url and s.downstream_timeout >= s.task_soft_time_limit:
        yield _pair(
            "SLUICE_DOWNSTREAM_TIMEOUT",
            s.downstream_timeout,
            f"not below the task's soft time limit ({s.task_soft_time_limit:g} s), which would cut the call first; "
            "lower it, or raise SLUICE_TASK_TIME_LIMIT",
            "SLUICE_TASK_TIME_LIMIT",
        )


def _pair(name: str, value: float, text: str, other: str) -> tuple[Problem, str]:
    return Problem(name, f"{value:g}", text), other
