"""What Flower must be told before it listens: it can stop workers, and by default would do so for anybody who asks.

Its own options and FLOWER_… variables count as ever. Here is only what must be safe, wherever it is started and however
its options were given: it listens on this machine alone unless told otherwise, and then not without a login.
"""

from __future__ import annotations

import importlib
import ipaddress
from typing import TYPE_CHECKING, Any

import click
from celery import signals

if TYPE_CHECKING:
    from settings.environment import Settings


def install(settings: Settings) -> None:
    """Connect to the one signal that Flower causes between reading its options and listening."""
    signals.import_modules.connect(_Guard(settings), weak=False)


class _Guard:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, **_: Any) -> None:
        """Check the options.

        Raises:
            SystemExit: one sentence, with what to do.
        """
        context = click.get_current_context(silent=True)
        if context is None or context.info_name != "flower":
            return
        if self._settings.control_url is None:
            raise SystemExit(
                "Flower sees workers only over the control link: set SLUICE_CONTROL_URL, for it and for the workers."
            )
        options = importlib.import_module("tornado.options").options
        options.address = options.address or "127.0.0.1"
        if is_public(options.address) and not (options.basic_auth or options.auth or options.unix_socket):
            raise SystemExit(
                f"Flower does not listen on {options.address} without a login, since it can stop your workers: "
                "set FLOWER_BASIC_AUTH=user:password, or leave the address out."
            )


def is_public(host: str) -> bool:
    """Whether others than this machine can reach it; a name may mean anything."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
