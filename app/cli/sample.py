"""`celery -A app sample N`: user events to try things with."""

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import TYPE_CHECKING

import click

from app.sending import sample

if TYPE_CHECKING:
    from typing import BinaryIO


@click.command(name="sample")
@click.argument("number", metavar="N", type=click.IntRange(min=0))
@click.option("--seed", type=int, default=0, show_default=True, help="Which events: the same seed, the same bytes.")
@click.option("--out", type=click.Path(dir_okay=False, allow_dash=True), default="-", help="A file, not the terminal.")
def command(number: int, seed: int, out: str) -> None:
    """Write N realistic user events, one JSON object a line.

    \b
    celery -A app sample 20000 --out events.jsonl
    celery -A app send events.jsonl --task tasks.events.post
    """  # noqa: D301 - \b tells click to leave the lines after it as they are
    if out != "-":
        try:
            with open(out, "wb") as file:  # noqa: PTH123 - a path as the user gave it
                _write(file, number, seed)
        except OSError as error:
            raise click.ClickException(f"{out} cannot be written: {error.strerror}") from error
        return
    stream = sys.stdout.buffer
    try:
        _write(stream, number, seed)
        stream.flush()
    except BrokenPipeError:
        # Whoever read us (`| head`) has seen enough. Python flushes stdout once more at exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(stream: BinaryIO, number: int, seed: int) -> None:
    stream.writelines(sample.to_line(event) for event in islice(sample.events(seed=seed), number))
