"""`celery -A app sqs`: the local SQS server, in the foreground until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.address_file import write as write_address
from app.cli.options import Finite
from app.parent import exit_with_parent
from app.testing.clock import AdjustableClock
from app.testing.sqs.account import check_name
from app.testing.sqs.errors import SQSError
from app.testing.sqs.faults import Fault
from app.testing.sqs.keys import EXAMPLE_KEY, AccessKey
from app.testing.sqs.server import SQSServer

if TYPE_CHECKING:
    import ssl

DEAD_LETTER_RETENTION = "1209600"
"""Seconds: 14 days, the most there is."""


def _fault(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[Fault]:
    try:
        return [Fault.parse(value) for value in values]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _access_key(_: click.Context, __: click.Parameter, value: str | None) -> AccessKey | None:
    try:
        return None if value is None else AccessKey.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@click.command("sqs")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9324, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--allow-remote", is_flag=True, help="Allow a host that others can reach. Nothing keeps them out.")
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Make this queue and its NAME-dead. Repeatable.")
@click.option(
    "--max-receives",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Receives before a message of a --queue moves to its dead-letter queue.",
)
@click.option("--round-trip", type=Finite(min=0), default=0.0, metavar="MS", help="Milliseconds added to every call.")
@click.option("--jitter", type=Finite(min=0), default=0.0, metavar="MS", help="Up to this much more, at random.")
@click.option("--short-receives", is_flag=True, help="Receives give a random part of what there is, as AWS may.")
@click.option(
    "--clock-speed",
    type=Finite(min=0),
    default=1.0,
    show_default=True,
    help="Seconds that pass in one, for delays, visibility and retention.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_fault,
    metavar="ACTION:KIND[:NAME=VALUE…]",
    help="As ReceiveMessage:error:code=503:probability=0.05. Repeatable.",
)
@click.option("--seed", type=int, help="The same ids, faults and jitter for the same calls.")
@click.option("--region", default="us-east-1", show_default=True, help="As in the ARNs.")
@click.option("--account", default="000000000000", show_default=True, help="As in the ARNs and queue URLs.")
@click.option("--strict", is_flag=True, help="Check each request's signature, and answer as AWS when it is wrong.")
@click.option(
    "--access-key",
    callback=_access_key,
    metavar="ID:SECRET",
    help=f"The key that --strict knows; by default that of AWS's examples, {EXAMPLE_KEY.id}:{EXAMPLE_KEY.secret}.",
)
@click.option(
    "--tls",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Speak TLS; FOLDER/ca.pem is the authority to trust, made when it is not there.",
)
@click.option(
    "--address-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the endpoint URL here once the server listens.",
)
@click.option(
    "--exit-with-parent", "with_parent", is_flag=True, help="End when the process that started this one ends."
)
def command(
    *,
    host: str,
    port: int,
    allow_remote: bool,
    queues: tuple[str, ...],
    max_receives: int,
    round_trip: float,
    jitter: float,
    short_receives: bool,
    clock_speed: float,
    faults: list[Fault],
    seed: int | None,
    region: str,
    account: str,
    strict: bool,
    access_key: AccessKey | None,
    tls: Path | None,
    address_file: Path | None,
    with_parent: bool,
) -> None:
    """Run the local SQS server: standard queues, in memory, JSON protocol.

    Prints its endpoint URL once it listens. docs/local-sqs.md says what it does, and what can be changed while it runs.
    """
    if with_parent:
        exit_with_parent()
    if not allow_remote and not _is_loopback(host):
        raise click.ClickException(
            f"{host} can be reached by others, and this server asks nobody who they are: use 127.0.0.1, or say "
            "--allow-remote if you mean it"
        )
    if access_key is not None and not strict:
        raise click.UsageError("--access-key goes with --strict: without it, no signature is checked")
    server = SQSServer(
        clock=AdjustableClock(speed=clock_speed),
        round_trip=round_trip / 1000,
        jitter=jitter / 1000,
        short_receives=short_receives,
        seed=seed,
        region=region,
        account_id=account,
        access_key=(access_key or EXAMPLE_KEY) if strict else None,
    )
    try:
        for fault in faults:
            server.faults.add(fault)
        for name in queues:
            _make_queue(server, name, max_receives)
    except (SQSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    # Messages are many and form no cycles: looking through a million of them again and again finds nothing.
    gc.set_threshold(100_000, 50, 1_000)
    asyncio.run(_serve(server, host, port, None if tls is None else _tls_context(tls, host), address_file))


def _tls_context(folder: Path, host: str) -> ssl.SSLContext:
    from app.testing.tls import NotInstalled, server_context  # noqa: PLC0415 - most servers are started without

    try:
        return server_context(folder, host)
    except NotInstalled as error:
        raise click.ClickException(str(error)) from None
    except (OSError, ValueError) as error:
        raise click.ClickException(f"--tls {folder} cannot be used: {error}") from None


def _make_queue(server: SQSServer, name: str, max_receives: int) -> None:
    check_name(name)
    now = server.clock.time()
    dead = server.account.create(now, f"{name}-dead", {"MessageRetentionPeriod": DEAD_LETTER_RETENTION})
    policy = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": max_receives}
    server.account.create(now, name, {"RedrivePolicy": json.dumps(policy)})


async def _serve(
    server: SQSServer, host: str, port: int, tls: ssl.SSLContext | None, address_file: Path | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(signum, stop.set)
    try:
        await server.start(host, port, tls=tls)
    except (OSError, socket.gaierror) as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port} ({error.strerror or error}): choose another --port, or 0 for a free one"
        ) from None
    if address_file is not None:
        write_address(address_file, server.endpoint_url)
    click.echo(server.endpoint_url)
    sys.stdout.flush()
    await stop.wait()
    await server.close()


if __name__ == "__main__":  # python -m app.cli.sqs: without Celery, for those who start it often
    command()
