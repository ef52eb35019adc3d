"""Threads of the operating system's, under gevent too, that are not there while this process forks.

A prefork worker forks whenever a child is recycled or has died, and what is forked beside a living thread may find a
lock held for ever; Python 3.12 and later warn of it. So the threads made here step aside: before a fork each returns
and its end is waited for, after it each goes on where it was. In the child they are gone.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Callable

#: What gevent would replace. Primitives of the system's own, for threads that share nothing with greenlets.
allocate_lock = get_original("_thread", "allocate_lock")
_start_new_thread = get_original("_thread", "start_new_thread")
_get_native_id = get_original("_thread", "get_native_id")
_get_ident = get_original("_thread", "get_ident")
_sleep = get_original("time", "sleep")
_monotonic = get_original("time", "monotonic")

#: Seconds that a fork waits for the threads to step aside. What takes longer (a name server that does not answer) is
#: forked beside, as every program with threads does.
_STEP_ASIDE = 5.0
_LOOK_AGAIN = 0.0002


class NativeThread:
    """A thread that can be asked to return, and be started anew.

    Args:
        target: what it runs. It returns soon once `should_return` is true, and goes on where it was when called again.
        wake: gets a target that waits to look at `should_return`; called from other threads.
        name: for logs and debuggers.
    """

    def __init__(self, target: Callable[[], None], *, wake: Callable[[], None], name: str) -> None:
        self._target = target
        self._wake = wake
        self._name = name
        self._running = allocate_lock()
        self._ident: int | None = None
        self._native_id: int | None = None
        self._is_wanted = False
        self.should_return = False

    def __repr__(self) -> str:
        return f"<NativeThread {self._name}: {'running' if self.is_running else 'not running'}>"

    @property
    def is_running(self) -> bool:
        """Whether it was started, and has not returned."""
        return bool(self._running.locked())

    @property
    def is_current(self) -> bool:
        """Whether the caller is this thread."""
        return bool(self._ident == _get_ident())

    def start(self) -> None:
        """Run the target, unless it runs already; one that is about to return is started again."""
        self._is_wanted, self.should_return = True, False
        if self._running.acquire(False):
            _threads.add(self)
            _start_new_thread(self._run, ())

    def ask_to_return(self) -> None:
        """Have the target return; does not wait for it."""
        self._is_wanted, self.should_return = False, True
        self._wake()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the thread is gone from the system; whether it is."""
        deadline = _monotonic() + timeout
        if self.is_current or not self._running.acquire(True, timeout):
            return False
        self._running.release()
        while self._is_listed() and _monotonic() < deadline:
            _sleep(_LOOK_AGAIN)  # it has run its last line of Python, and the system is about to take it away
        return True

    def forget(self) -> None:
        """In a forked child, where the thread never was."""
        self._running = allocate_lock()
        self._ident = self._native_id = None

    def _is_listed(self) -> bool:
        return self._native_id is not None and os.path.exists(f"/proc/self/task/{self._native_id}")  # noqa: PTH110 - hot

    def _run(self) -> None:
        self._ident, self._native_id, self._is_wanted = _get_ident(), _get_native_id(), False
        threading.current_thread().name = self._name
        try:
            self._target()
        finally:
            self._ident = None
            self._running.release()
            if self._is_wanted:
                self.start()


_threads: weakref.WeakSet[NativeThread] = weakref.WeakSet()
_aside: list[NativeThread] = []


def _before_fork() -> None:
    _aside[:] = [thread for thread in list(_threads) if thread.is_running and not thread.is_current]
    for thread in _aside:
        thread.ask_to_return()
    deadline = _monotonic() + _STEP_ASIDE
    for thread in _aside:
        thread.wait(max(0.0, deadline - _monotonic()))


def _after_fork_in_parent() -> None:
    for thread in _aside:
        thread.start()
    _aside.clear()


def _after_fork_in_child() -> None:
    _aside.clear()
    for thread in list(_threads):
        thread.forget()
    _threads.clear()


_hooks: dict[str, Any] = {
    "before": _before_fork,
    "after_in_parent": _after_fork_in_parent,
    "after_in_child": _after_fork_in_child,
}
os.register_at_fork(**_hooks)
