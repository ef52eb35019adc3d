"""The programs of the system on this machine: those of Procfile and Procfile.dev, on free ports."""

from __future__ import annotations

import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

from app.supervisor.program import AddressFile, LogLine, Program
from app.supervisor.stopping import Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from app.local.options import Options

TASK = "tasks.events.post"

_TERM = Step(signal.SIGTERM, 5.0)
_RESTARTS = 5
_START_WITHIN = 60.0
"""Seconds; a first start compiles every module of Python, on a machine that may be busy with several of them."""

_COLD_SHUTDOWN = Step(signal.SIGQUIT, 10.0)
_AFTER_DRAIN = 10.0
"""Seconds that a worker has beyond its own drain timeout, to flush and to say good-bye, before it is hurried."""


def celery(*words: str) -> tuple[str, ...]:
    """A command line of this application, in the Python that runs now."""
    return (sys.executable, "-m", "celery", "-A", "app", *words)


def servers(options: Options, *, folder: Path, environment: Mapping[str, str]) -> list[Program]:
    """The embedded servers, and what writes the events meanwhile."""
    downstream = ["--latency", f"{options.latency:g}", "--error-rate", f"{options.error_rate:g}"]
    downstream += ["--slow-rate", f"{options.slow_rate:g}"]
    if options.rate_limit is not None:
        downstream += ["--rate-limit", f"{options.rate_limit:g}"]
    sqs = ["--round-trip", f"{options.round_trip:g}"] if options.round_trip else []
    found = [
        _server("sqs", *sqs, folder=folder, environment=environment),
        _server("valkey", folder=folder, environment=environment),
        _server("downstream", *downstream, folder=folder, environment=environment),
    ]
    if options.events:
        command = celery("sample", str(options.events), "--seed", str(options.seed), "--out", str(events_file(folder)))
        found.append(
            Program(
                name="sample",
                command=lambda: command,
                environment=environment,
                ends=True,
                ready=LogLine(re.compile(r"(?!)")),  # ready when it has ended, and only then
                start_within=_START_WITHIN + options.events / 1_000,
            )
        )
    return found


def _server(name: str, *words: str, folder: Path, environment: Mapping[str, str]) -> Program:
    address = folder / f"{name}.address"
    command = celery(name, "--port", "0", "--address-file", str(address), "--exit-with-parent", *words)
    return Program(
        name=name,
        command=lambda: command,
        environment=environment,
        ready=AddressFile(address),
        start_within=_START_WITHIN,
        stop=(_TERM,),
    )


def workers(options: Options, *, drain_timeout: float, environment: Mapping[str, str]) -> list[Program]:
    """The workers."""
    names = ["worker"] if options.workers == 1 else [f"worker{number + 1}" for number in range(options.workers)]
    return [_worker(name, options, drain_timeout, environment) for name in names]


def _worker(name: str, options: Options, drain_timeout: float, environment: Mapping[str, str]) -> Program:
    command = celery("worker", "-E", "-P", options.pool, "-c", str(options.places), "-l", "INFO", "-n", f"{name}@%h")
    return Program(
        name=name,
        command=lambda: command,
        environment=environment,
        ready=LogLine(re.compile(rf"\] {name}@\S+ ready\.$")),
        start_within=_START_WITHIN,
        restarts=_RESTARTS,
        stop=(Step(signal.SIGTERM, drain_timeout + _AFTER_DRAIN), _COLD_SHUTDOWN),
    )


def flower(options: Options, *, environment: Mapping[str, str]) -> Program:
    """Flower, on the first free port."""

    def command() -> Sequence[str]:
        port = free_port(options.flower_address, options.flower_port)
        # What its readiness is read from is one of its INFO lines.
        return celery("flower", f"--address={options.flower_address}", f"--port={port}", "--logging=info")

    return Program(
        name="flower",
        command=command,
        environment=environment,
        ready=LogLine(re.compile(r"Visit me at (https?://\S+)")),
        start_within=_START_WITHIN,
        tries=3,  # somebody else may take the port before Flower does
        restarts=_RESTARTS,
        stop=(_TERM,),
        advice="if its port is taken, free it or give another --flower-port; else the reason is at the end of its log",
    )


def sender(*, folder: Path, environment: Mapping[str, str]) -> Program:
    """What sends the events."""
    command = celery("send", str(events_file(folder)), "--task", TASK)
    return Program(name="send", command=lambda: command, environment=environment, ends=True, stop=(_TERM,))


def events_file(folder: Path) -> Path:
    """The real input of this run."""
    return folder / "events.jsonl"


def free_port(host: str, first: int, *, most: int = 100) -> int:
    """The first port that nobody listens on, from `first` on.

    Raises:
        OSError: if `most` in a row are taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, min(first + most, 65536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                taken = error
            else:
                return port
    raise taken


def cannot_listen(host: str) -> str:
    """Why no server can listen on an address, whatever the port; empty if one can."""
    try:
        free_port(host, 0, most=1)
    except OSError as error:
        return error.strerror or str(error)
    except TypeError:  # what Python makes of a name that cannot be written as one of the DNS
        return "it is no name of a host"
    return ""
