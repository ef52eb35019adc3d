"""`celery -A app queues ensure`: make the queues that settings describe and AWS does not have."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery.bin.base import CLIContext


@click.group()
def command() -> None:
    """Look after the queues that the settings describe."""


@command.command()
@click.option("--dry-run", is_flag=True, help="Say what would be made, and make nothing.")
@click.option("--wait", type=float, default=0, metavar="SECONDS", help="Wait so long for SQS to answer at all.")
@click.pass_obj
def ensure(obj: CLIContext, dry_run: bool, wait: float) -> None:
    """Make the queues that are missing, each with its dead-letter queue; says first what. Changes no existing queue."""
    from app.transport import aws, provision  # noqa: PLC0415 - boto3 takes its time

    settings = obj.app.conf.sluice
    client: Any = aws.sqs_client(endpoint_url=settings.aws_endpoint_url_sqs, region=settings.aws_region)
    wanted = provision.wanted(settings.queues)
    try:
        missing = _patiently(lambda: provision.missing(client, wanted), wait)
        for queue in wanted:
            click.echo(f"{queue.name}: {'missing' if queue in missing else 'there'}")
        for queue in missing if not dry_run else ():
            click.echo(f"making {queue.name}: {queue.described()}")
            provision.make(client, queue)
    except aws.AWSError as error:
        raise click.ClickException(f"SQS could not be used ({aws.error_code(error)}): {error}") from None


def _patiently(ask: Callable[[], Any], seconds: float) -> Any:
    """The answer of a server that may still be starting."""
    from app.transport import aws  # noqa: PLC0415 - as above

    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except aws.NotReachable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.5)
