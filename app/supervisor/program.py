"""What a supervised program is: its command, how it shows that it is ready, how it is stopped."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.supervisor.stopping import Step

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AddressFile:
    """Ready when this file has a line in it: the address at which the program can be reached."""

    path: Path


@dataclass(frozen=True, slots=True)
class LogLine:
    """Ready when a line of its log matches; the pattern's first group, if it has one, is its address."""

    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Ready as soon as it has been started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program to run and to keep running.

    Args:
        name: what it is called on the terminal; its output goes to `NAME.log`.
        command: makes the command line; called at each start, since a port that was free may be taken by now.
        environment: all of its environment.
        ready: how it shows that it is ready.
        start_within: seconds that it has for that.
        tries: how often it may be started before it was ready for the first time.
        restarts: how often it is started again when it ends although nobody asked it to; None: its end ends everything,
            unless `ends` is set.
        ends: it is expected to end by itself.
        stop: the signals that stop it, each with the seconds until the next; SIGKILL follows in any case.
        advice: what to do when it does not start, as the end of a sentence.
    """

    name: str
    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str]
    ready: AddressFile | LogLine | AtOnce = field(default_factory=AtOnce)
    start_within: float = 30.0
    tries: int = 1
    restarts: int | None = None
    ends: bool = False
    stop: tuple[Step, ...] = (Step(signal.SIGTERM, 5.0),)
    advice: str = "the reason is at the end of its log"
