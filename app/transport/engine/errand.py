"""Errands: what may block and is to be done once, in a thread that ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent._hub_local import get_hub_if_exists  # gevent's own way to ask without making one

from app.native import NativeThread

if TYPE_CHECKING:
    from collections.abc import Callable


def run_errand(call: Callable[[], None], *, name: str) -> bool:
    """Have `call` run once in a thread of its own. False: the system gives no thread, and it will not run."""
    has_begun = False

    def run() -> None:
        nonlocal has_begun
        if has_begun:  # a fork came in between, and threads are started again after it
            return
        has_begun = True
        try:
            call()
        finally:
            # Under gevent, what used a socket or waited for a lock has made a hub for this thread, which is no more.
            if (hub := get_hub_if_exists()) is not None:
                hub.destroy(destroy_loop=True)

    thread = NativeThread(run, wake=lambda: None, name=name)
    try:
        thread.start()
    except RuntimeError:
        thread.ask_to_return()
        return False
    return True
