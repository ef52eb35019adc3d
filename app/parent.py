"""Dying with the parent: a process that was started for another must not outlive it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "EXIT_WITH_PARENT"
"""The environment variable by which a parent tells its children its process id."""
_PR_SET_PDEATHSIG = 1
_LOOK_EVERY = 0.5


def environment_for_children(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment (by default this process's own) to start a child with that calls `exit_with_parent`."""
    return {**(os.environ if environment is None else environment), VARIABLE: str(os.getpid())}


def exit_with_parent(parent: int | None = None, *, signum: int = signal.SIGTERM) -> None:
    """Have this process get a signal when its parent dies, also if the parent is killed.

    On Linux the kernel sends it (`PR_SET_PDEATHSIG`): no thread, no polling. It goes by the *thread* that started
    this process, so start processes from the main thread (prctl(2)). Elsewhere a daemon thread looks twice a second.

    Args:
        parent: the process id of the parent, by default what `EXIT_WITH_PARENT` says. If that one is not the parent
            any more, it died before this call and this process exits at once (status 1). When nobody told, the
            parent of now is taken: then a parent that died just before goes unnoticed.
        signum: the signal; SIGTERM lets the process stop in order.
    """
    told = parent if parent is not None else _told()
    expected = os.getppid() if told is None else told
    if not (sys.platform == "linux" and _ask_the_kernel(signum)):
        threading.Thread(target=_watch, args=(expected, signum), name="parent-watch", daemon=True).start()
    # Only now: a parent that dies after this line is noticed by what was just set up.
    if os.getppid() != expected:
        sys.exit(1)


def _told() -> int | None:
    value = os.environ.get(VARIABLE, "")
    return int(value) if value.isdecimal() else None


def _ask_the_kernel(signum: int) -> bool:
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (AttributeError, OSError):
        return False
    return int(prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)) == 0


def _watch(parent: int, signum: int = signal.SIGTERM) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os.kill(os.getpid(), signum)
