"""Values that are right one by one and cannot all hold, or not on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settings.environment import variables_of
from settings.errors import Problem, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settings.environment import Settings

_ENDPOINT = frozenset(variables_of("aws_endpoint_url_sqs"))


def contradictions(settings: Settings, *, failed: frozenset[str]) -> Iterator[Problem]:
    """Each pair that contradicts, under the name of the one to change, as it is in force (set or by default).

    A pair with one of the `failed` variables, whose values are not known, is left out; so is the profile where it is
    not known whether SQS is AWS.
    """
    for problem, other in _pairs(settings):
        if not failed & {problem.name, other}:
            yield problem
    if settings.aws_profile and not settings.is_local and not failed & _ENDPOINT:
        yield from _profile(settings.aws_profile)


def _profile(name: str) -> Iterator[Problem]:
    """A profile that the SDK does not find: each call would fail of it, and a worker would poll in vain for ever."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - only who has a profile waits for it
    from botocore.session import Session  # noqa: PLC0415

    try:
        known = Session().available_profiles
    except BotoCoreError as error:  # a file that is not well-formed; the error names it
        yield Problem("AWS_PROFILE", shown(name), f"the profiles cannot be read ({error}); correct the file")
        return
    if name not in known:
        there = f"there are {', '.join(sorted(known))}" if known else "there are none"
        yield Problem(
            "AWS_PROFILE",
            shown(name),
            f"no such profile in ~/.aws/config and ~/.aws/credentials (or where AWS_CONFIG_FILE and "
            f"AWS_SHARED_CREDENTIALS_FILE say); {there}: correct the name, add the profile, or leave it out",
        )


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
    if s.polls_min > s.polls_max:
        yield _pair(
            "SLUICE_POLLS_MIN",
            s.polls_min,
            f"above SLUICE_POLLS_MAX ({s.polls_max}); lower it, or raise the other",
            "SLUICE_POLLS_MAX",
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
