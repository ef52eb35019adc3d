"""`celery -A app up`: the whole system on this machine."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.options import Finite, Rate
from app.local.folder import FolderError
from app.local.options import PLACES, Options
from app.local.programs import cannot_listen
from app.local.run import Facts, System
from app.supervisor.guard import Guard
from app.supervisor.signals import Signals
from app.supervisor.terminal import Terminal
from settings import SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery.bin.base import CLIContext

    from settings.environment import Settings

# Celery looks for `--pool gevent` in the arguments of every command, and patches the process that has it.
_UNPATCHED = "--worker-pool"

_SHARE = Finite(0, 1)
_MS = Finite(min=0)
_PLACES = ", ".join(f"{places} for {pool}" for pool, places in PLACES.items())


@click.command(name="up")
@click.option(
    "--events", type=click.IntRange(min=0), default=20_000, show_default=True, help="How many to send; 0: none."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which events: the same seed, the same events.")
@click.option(
    "--pool",
    _UNPATCHED,
    type=click.Choice(list(PLACES)),
    default="prefork",
    show_default=True,
    help="The worker's pool.",
)
@click.option("--concurrency", type=click.IntRange(min=1), help=f"Tasks at once in a worker. [default: {_PLACES}]")
@click.option("--workers", type=click.IntRange(1, 32), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--until-drained", is_flag=True, help="End by itself: status 0 if all has arrived, else 1 and what has not."
)
@click.option("--deadline", type=Finite(min=1), default=3600.0, show_default=True, metavar="SECONDS",
              help="With --until-drained: when to give up.")  # fmt: skip
@click.option("--latency", type=_MS, default=20.0, show_default=True, metavar="MS", help="The downstream's answers.")
@click.option("--error-rate", type=_SHARE, default=0.0, show_default=True, help="The downstream's share of errors.")
@click.option(
    "--slow-rate", type=_SHARE, default=0.0, show_default=True, help="The downstream's share of slow answers."
)
@click.option("--rate-limit", type=Rate(), help="Events that the downstream takes in a time; more are answered 429.")
@click.option("--round-trip", type=_MS, default=0.0, show_default=True, metavar="MS", help="Of each call to SQS.")
@click.option("--visibility-timeout", type=click.IntRange(1, 43_200), metavar="SECONDS",
              help="The lease of a message. [default: $SLUICE_VISIBILITY_TIMEOUT, else 30]")  # fmt: skip
@click.option("--flower/--no-flower", default=True, show_default=True, help="Whether to run Flower.")
@click.option("--flower-address", envvar="FLOWER_ADDRESS", default="127.0.0.1", show_default=True, show_envvar=True,
              help="Where Flower listens.")  # fmt: skip
@click.option("--flower-port", envvar="FLOWER_PORT", type=click.IntRange(1, 65535), default=5555, show_default=True,
              show_envvar=True, help="The first that is free from this one on.")  # fmt: skip
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Each program's NAME.log goes there. [default: var/up, else var/up-2, …]")  # fmt: skip
@click.pass_obj
def command(obj: CLIContext, /, **values: Any) -> None:
    r"""Run the whole system on this machine and send it events.

    Starts the local SQS server, Valkey, an example of a service behind the queue, a worker and Flower; sends events,
    each of which becomes a call to that service; shows how far they are. Stays up until Ctrl-C (a second one hurries),
    and leaves nothing behind.

    \b
    celery -A app up
    celery -A app up --events 2000 --pool gevent --error-rate 0.05 --until-drained
    """
    _become_unpatched()
    _refuse_queues_elsewhere(obj.app.conf.sluice)
    options = Options(**values)
    if options.flower and (problem := cannot_listen(options.flower_address)):
        raise click.ClickException(
            f"Flower cannot listen on {options.flower_address} ({problem}): "
            "give an address of this machine with --flower-address"
        )
    with ExitStack() as stack:
        guard, signals = stack.enter_context(Guard()), stack.enter_context(Signals())
        try:
            system = System(
                options, caller=os.environ, facts=_facts, guard=guard, signals=signals, terminal=Terminal(sys.stdout)
            )
            status = system.run()
        except (FolderError, SettingsError) as error:
            raise click.ClickException(str(error)) from None
    sys.exit(status)


def _become_unpatched() -> None:
    """Begin anew, under an option's other name, in a process that gevent has patched.

    There, signals and waiting for children are gevent's: our own loop over them, whose handlers must run between fork
    and exec too, would hang. The pool is the worker's business, and the worker is another process.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("subprocess"):
        words = [re.sub(r"^--pool(?==|$)", _UNPATCHED, word) for word in sys.orig_argv[1:]]
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - this very command


def _facts(environ: Mapping[str, str]) -> Facts:
    settings = load(environ)
    return Facts(
        queues=[queue.sqs_name for queue in settings.queues],
        dead_letter_queues=[queue.dead_letter for queue in settings.queues],
        drain_timeout=settings.drain_timeout,
    )


def _refuse_queues_elsewhere(settings: Settings) -> None:
    if elsewhere := [queue.name for queue in settings.queues if queue.url]:
        raise click.ClickException(
            f"`up` runs on queues of its own, but {elsewhere[0]} is given by its URL or ARN: "
            "unset that for `up` (SLUICE_QUEUE, or the queue's row in settings/queues.py)."
        )
