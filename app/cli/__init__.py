"""The commands beside Celery's own: `celery -A app up | send | sqs | …`, one file each, imported when it is run."""

from __future__ import annotations

import importlib
from typing import Any

import click


class LazyCommand(click.Command):
    """A command whose module is imported when it is used, so that `celery --version` costs nothing more.

    The module `app.cli.NAME` holds the real command under the name `command`.
    """

    def __init__(self, name: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)

    def _real(self) -> click.Command:
        command: click.Command = importlib.import_module(f"app.cli.{self.name}").command
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Hand over to the real command, its options and its help."""
        return self._real().make_context(info_name, args, parent, **extra)


up = LazyCommand("up", "Run the whole system on this machine, and send it events.")
queues = LazyCommand("queues", "Look after the queues that the settings describe.")
send = LazyCommand("send", "Send a file of JSON lines, each as a task.")
sample = LazyCommand("sample", "Write realistic user events, as JSON lines.")
sqs = LazyCommand("sqs", "Run the local SQS server.")
valkey = LazyCommand("valkey", "Run the embedded Valkey server.")
downstream = LazyCommand("downstream", "Run the example of a service behind the queue.")
