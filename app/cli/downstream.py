"""`celery -A app downstream`: the example service behind the queue, as a process of its own."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from app.cli.address_file import write as write_address
from app.cli.options import Finite, Rate
from app.testing.downstream import Behaviour, Downstream
from app.testing.http import HTTPServer

_SHARE = Finite(0, 1)
_MS = Finite(min=0)


@click.command(name="downstream")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--latency", type=_MS, metavar="MS", default=0.0, show_default=True, help="Milliseconds until an answer.")
@click.option("--slow-rate", type=_SHARE, default=0.0, show_default=True, help="The share of slow answers, 0 to 1.")
@click.option("--slow-latency", type=_MS, metavar="MS", default=1000.0, show_default=True, help="How slow these are.")
@click.option("--error-rate", type=_SHARE, default=0.0, show_default=True, help="The share of 503 and 500, 0 to 1.")
@click.option("--rate-limit", type=Rate(), help="Events that are taken in a time; more are answered 429.")
@click.option("--seed", type=int, help="Makes chance repeat itself.")
@click.option("--address-file", type=click.Path(path_type=Path), help="Write the URL to this file when ready.")
@click.option("--exit-with-parent", is_flag=True, help="End when the process that started this one ends.")
def command(
    *,
    host: str,
    port: int,
    latency: float,
    slow_rate: float,
    slow_latency: float,
    error_rate: float,
    rate_limit: float | None,
    seed: int | None,
    address_file: Path | None,
    exit_with_parent: bool,
) -> None:
    """Run an example of the service behind the queue: POST /events takes events, GET /stats says how it went.

    It remembers the ids of the events that it has answered 201 (GET /ids). POST /settings changes how it behaves while
    it runs; GET / lists all that it answers.
    """
    if exit_with_parent:
        from app import parent  # noqa: PLC0415 - only who asks for it needs it

        parent.exit_with_parent()
    service = Downstream(
        Behaviour(
            latency_ms=latency,
            slow_rate=slow_rate,
            slow_latency_ms=slow_latency,
            error_rate=error_rate,
            rate_limit=rate_limit or 0.0,
        ),
        seed=seed,
    )
    asyncio.run(_serve(service, host, port, address_file))


async def _serve(service: Downstream, host: str, port: int, address_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    server = HTTPServer(service)
    try:
        await server.start(host, port)
    except OSError as error:
        raise click.ClickException(
            f"The downstream service cannot listen on {host}:{port}: {error.strerror or error}. "
            "Give another --port, or 0 for a free one."
        ) from None
    click.echo(server.url)
    if address_file is not None:
        write_address(address_file, server.url)
    await stop.wait()
    await server.close()
