"""Runs `celery …` as `python -m celery` does, and writes into its log what must not be there.

That is a fork beside a living thread, of which Python warns in some versions only and wrongly in others, and anything
that was left open. `harness.Worker` looks for it.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
import warnings
from _thread import get_ident
from pathlib import Path


def tell() -> None:
    """Before a fork; after all other hooks, since those that were registered first run last."""
    others = len(os.listdir("/proc/self/task")) - 1  # noqa: PTH208 - at every fork, so the quickest way
    if not others:
        return
    places = [
        [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_stack(thread)]
        for ident, thread in sys._current_frames().items()
        if ident != get_ident()
    ]
    # Gevent's own threads for looking up names are left to gevent, which makes them anew in a child.
    if others > sum("gevent/threadpool.py" in place[0] for place in places):
        os.write(2, f"{os.getpid()} forked beside {others} threads, which are at {places}\n".encode())


os.register_at_fork(before=tell)
warnings.simplefilter("default", DeprecationWarning)
warnings.simplefilter("always", ResourceWarning)
sys.path[0] = str(Path.cwd())
runpy.run_module("celery", run_name="__main__", alter_sys=True)
