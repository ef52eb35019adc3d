"""`celery -A app valkey`: the embedded Valkey server."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from app.cli.address_file import write as write_address
from app.local.valkey import ValkeyError, ValkeyServer
from app.parent import exit_with_parent
from app.supervisor.guard import Guard
from app.supervisor.signals import Signals


@click.command(name="valkey")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--password", help="What clients must give. By default a new one, which is in the URL.")
@click.option("--address-file", type=click.Path(path_type=Path), help="Write the URL to this file when ready.")
@click.option(
    "--exit-with-parent", "with_parent", is_flag=True, help="End when the process that started this one ends."
)
def command(*, port: int, password: str | None, address_file: Path | None, with_parent: bool) -> None:
    """Run a Valkey server here (loopback only, nothing is stored): the control link for Flower, and shared state.

    Writes its URL, password included, when it is ready: the value for SLUICE_CONTROL_URL.
    """
    if with_parent:
        exit_with_parent()
    with Guard() as guard, Signals() as signals:
        server = ValkeyServer(guard=guard, output=sys.stderr.buffer, port=port, password=password)
        try:
            server.start(signals)
            if not signals.requests:
                click.echo(server.url)
                if address_file is not None:
                    write_address(address_file, server.url)
                if (status := server.wait(signals)) is not None:
                    raise click.ClickException(f"Valkey ended by itself with status {status}; the reason is above.")
        except ValkeyError as error:
            raise click.ClickException(f"{error}.") from None
        finally:
            server.stop(signals)
