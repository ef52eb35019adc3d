"""Dying with the parent: a process started for another must not outlive it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY = 0.5


def exit_with_parent(parent: int, *, signum: int = signal.SIGTERM) -> None:
    """Have this process get a signal when its parent dies, also if the parent is killed.

    On Linux the kernel sends it (`PR_SET_PDEATHSIG`): no thread, no polling. It goes by the *thread* that started
    this process, so start processes from the main thread (prctl(2)). Elsewhere a daemon thread looks twice a second.

    Args:
        parent: the process id of the parent, told by the parent itself: if it died before this call, nobody else
            knows, and this process exits at once (status 1).
        signum: the signal; SIGTERM lets the process stop in order.
    """
    if not (sys.platform == "linux" and _ask_the_kernel(signum)):
        threading.Thread(target=_watch, args=(parent, signum), name="parent-watch", daemon=True).start()
    if os.getppid() != parent:
        sys.exit(1)


def _ask_the_kernel(signum: int) -> bool:
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (AttributeError, OSError):
        return False
    return int(prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)) == 0


def _watch(parent: int, signum: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os.kill(os.getpid(), signum)
