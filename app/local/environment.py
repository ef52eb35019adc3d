"""The environment of the programs that `up` runs: the caller's, with the addresses of the embedded servers put in."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REGION = "us-east-1"
VISIBILITY_TIMEOUT = 30
"""Seconds; short, so that what a killed worker had is soon seen again."""

FLOWER_USER = "sluice"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the embedded servers are; empty for one that is not up yet."""

    sqs: str = ""
    control: str = ""
    downstream: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment, and which of the caller's variables do not hold in it."""

    variables: dict[str, str]
    overridden: tuple[str, ...]


def make(
    caller: Mapping[str, str], addresses: Addresses, *, visibility_timeout: int | None, flower_password: str
) -> Environment:
    """The caller's environment, changed where this system is another one than the caller's.

    Args:
        caller: what `up` was started with. It is kept where it does not conflict.
        addresses: they replace the caller's own, always: `up` reaches nothing but what it has started.
        visibility_timeout: seconds; None: the caller's, or 30.
        flower_password: Flower's, unless the caller has set FLOWER_BASIC_AUTH.
    """
    ours = {
        "AWS_ENDPOINT_URL_SQS": addresses.sqs,
        "SLUICE_CONTROL_URL": addresses.control,
        "SLUICE_DOWNSTREAM_URL": addresses.downstream,
    }
    if visibility_timeout is not None:
        ours["SLUICE_VISIBILITY_TIMEOUT"] = str(visibility_timeout)
    defaults = {
        "AWS_REGION": caller.get("AWS_DEFAULT_REGION") or REGION,
        "SLUICE_VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
        "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{flower_password}",
    }
    # A profile that the SDK does not find stops it, and an embedded server asks for no account.
    dropped = {"AWS_PROFILE"}
    variables = {
        **{name: value for name, value in defaults.items() if not caller.get(name)},
        **{name: value for name, value in caller.items() if name not in dropped and (value or name not in defaults)},
        **ours,
        **_no_proxy(caller),
        "PYTHONUNBUFFERED": "1",  # so that a log is complete when its program is killed
    }
    overridden = tuple(sorted(name for name in {*ours, *dropped} if caller.get(name)))
    return Environment(variables, overridden)


def _no_proxy(caller: Mapping[str, str]) -> dict[str, str]:
    """A proxy cannot reach the loopback addresses of this machine; libcurl and Python read both spellings."""
    if not any(name.lower().endswith("_proxy") for name in caller):
        return {}
    given = caller.get("no_proxy") or caller.get("NO_PROXY") or ""
    value = ",".join(filter(None, [given, "127.0.0.1", "localhost"]))
    return {"no_proxy": value, "NO_PROXY": value}


def exports(environment: Environment) -> str:
    """Lines for a shell: with them another terminal talks to this system (`. FILE; celery -A app inspect ping`)."""
    names = ("AWS_ENDPOINT_URL_SQS", "AWS_REGION", *(n for n in environment.variables if n.startswith("SLUICE_")))
    return "".join(f"export {name}={shlex.quote(environment.variables[name])}\n" for name in names)


def take_up(file: Path) -> str:
    """The command of a shell that reads those lines from a file."""
    return f". {shlex.quote(str(file))}"
