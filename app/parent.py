"""Ending together with the process that started us: for servers that must not be left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_EVERY = 0.5


def exit_with_parent() -> None:
    """From now on, get SIGTERM when the parent process is gone, however it went.

    Linux sends it at once, even to a process that is busy; there "parent" is the thread that started us, so start us
    from one that stays (prctl(2), PR_SET_PDEATHSIG). Elsewhere a thread looks every half second.

    Raises:
        OSError: if Linux refuses.
    """
    parent = os.getppid()
    if not sys.platform.startswith("linux"):
        threading.Thread(target=_watch, args=(parent,), name="exit-with-parent", daemon=True).start()
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:  # it went while we asked
        os.kill(os.getpid(), signal.SIGTERM)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
