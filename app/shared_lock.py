"""A lock that greenlets and threads of the system's can share: of gevent's own, threads wake nobody, now and then.

Then a greenlet that wants to log waits for ever, the one that takes messages for instance, or gets a LoopExit, in the
middle of its task (seen with gevent 26.9: of three processes that log in a thread and in greenlets, all within 15 s).
Our threads share nothing with greenlets but the locks of `logging`, which gevent has replaced; they are replaced here.
"""

from __future__ import annotations

import logging
from typing import Any

from gevent.lock import RLock
from gevent.monkey import get_original, is_module_patched

_get_ident = get_original("_thread", "get_ident")
_make_lock = get_original("_thread", "RLock")

#: The thread of which the greenlets are.
_theirs = _get_ident()


class SharedLock:
    """A reentrant lock for the greenlets of one thread and for other threads.

    Greenlets first wait for each other; whoever's turn it is then waits for the threads, with all the others.
    """

    def __init__(self) -> None:
        self._at_fork_reinit()

    def _at_fork_reinit(self) -> None:
        """In a forked child nobody holds it; so `logging` calls it."""
        self._greenlets, self._threads = RLock(), _make_lock()

    def acquire(self) -> bool:
        """Wait until it is ours."""
        if _get_ident() == _theirs:
            self._greenlets.acquire()
        return bool(self._threads.acquire())

    def release(self) -> None:
        """Let others have it.

        Raises:
            RuntimeError: it is not ours.
        """
        self._threads.release()
        if _get_ident() == _theirs:
            self._greenlets.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def install() -> None:
    """Let `logging` be used by greenlets and threads alike; nothing to do without gevent."""
    if not is_module_patched("threading") or isinstance(logging._lock, SharedLock):  # type: ignore[attr-defined] # noqa: SLF001 - it has no public name
        return
    create_lock = logging.Handler.createLock

    def create_shared_lock(handler: Any) -> None:
        create_lock(handler)
        handler.lock = SharedLock()

    logging.Handler.createLock = create_shared_lock  # type: ignore[assignment, method-assign]
    for reference in logging._handlerList:  # type: ignore[attr-defined] # noqa: SLF001 - as gevent does itself
        handler = reference()
        if handler is not None and handler.lock is not None:
            handler.lock = SharedLock()
    logging._lock = SharedLock()  # type: ignore[attr-defined] # noqa: SLF001
