"""Threads of the operating system's, under gevent too, that are not there while this process forks.

A prefork worker forks whenever a child is recycled or has died, and what is forked beside a living thread may find a
lock held for ever; Python 3.12 and later warn of it. So the threads made here step aside: before a fork each returns
and its end is waited for, after it each goes on where it was. In the child they are gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from typing import TYPE_CHECKING

from gevent.monkey import get_original

from app import shared_lock

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

# What threads and greenlets both do is to log.
shared_lock.install()

#: What gevent would replace. Primitives of the system's own, for threads that share nothing with greenlets.
allocate_lock = get_original("_thread", "allocate_lock")
reentrant_lock = get_original("_thread", "RLock")
_start_new_thread = get_original("_thread", "start_new_thread")
_get_native_id = get_original("_thread", "get_native_id")
_get_ident = get_original("_thread", "get_ident")
_sleep = get_original("time", "sleep")
_monotonic = get_original("time", "monotonic")

#: Seconds that a fork waits for the threads to step aside, which takes them milliseconds. What waits for a server that
#: does not answer is forked beside: a worker must not stand still because of it.
_STEP_ASIDE = 0.5
_LOOK_AGAIN = 0.0001


class NativeThread:
    """A thread that can be asked to return, and be started anew.

    Args:
        target: what it runs. It returns soon once `should_return` is true, and goes on where it was when called again.
            An exception of it is logged, and taken for a return.
        wake: gets a target that waits to look at `should_return`; called from other threads, must not block.
        name: for logs and debuggers.
    """

    def __init__(self, target: Callable[[], None], *, wake: Callable[[], None], name: str) -> None:
        self._target = target
        self._wake = wake
        self._name = name
        self._life: _Life | None = None
        #: Whether the target is to be called, or called again once it has returned.
        self._is_wanted = False
        #: Whether a fork has waited for it in vain, and it has still not returned since.
        self._is_late = False
        self.should_return = False

    def __repr__(self) -> str:
        return f"<NativeThread {self._name}: {'running' if self.is_running else 'not running'}>"

    @property
    def is_running(self) -> bool:
        """Whether it was started, and has not returned."""
        return self._life is not None and self._life.is_on

    @property
    def is_current(self) -> bool:
        """Whether the caller is this thread."""
        return self._life is not None and self._life.is_current

    def start(self) -> None:
        """Run the target. One that runs goes on; when it returns without having been asked to, it is called again.

        Raises:
            RuntimeError: the system gives no more threads, or Python is ending.
        """
        with _forks.lock:
            self._is_wanted = True
            if self not in _forks.running:
                _forks.aside.add(self)
                _forks.let_go_on()

    def ask_to_return(self) -> None:
        """Have the target return; does not wait for it."""
        with _forks.lock:
            self._is_wanted, self.should_return = False, True
        self._wake()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the thread is gone from the system; whether it is."""
        return self._life is None or self._life.wait(timeout)

    def step_aside(self) -> None:
        """Before a fork: return, to be started again after it, unless it was asked to return anyhow."""
        with _forks.lock:
            self._is_wanted = self._is_wanted or not self.should_return
            self.should_return = True
        self._wake()

    def wait_for_fork(self, timeout: float) -> None:
        """As `wait`, but no second time in vain before it has returned: one that hangs must not slow every fork."""
        if not self._is_late:
            self._is_late = not self.wait(timeout)

    def go_on(self) -> None:
        """Begin to run, if that is still wanted; with the lock held."""
        if self._is_wanted:
            life = _Life()
            _start_new_thread(self._run, (life,))
            self._life = life
            _forks.running.add(self)

    def forget(self) -> None:
        """In a forked child, where the thread never was."""
        self._life = None
        self._is_wanted = self._is_late = self.should_return = False

    def _run(self, life: _Life) -> None:
        life.begin()
        threading.current_thread().name = self._name
        try:
            while self._is_to_run(life):
                try:
                    self._target()
                except Exception:
                    logger.exception("%s ended with an error", self._name)
        finally:
            life.end()

    def _is_to_run(self, life: _Life) -> bool:
        with _forks.lock:
            self._is_late = False
            if self._is_wanted and not _forks.under_way:
                self._is_wanted = self.should_return = False
                return True
            _forks.running.discard(self)
            _forks.leaving = [life, *(other for other in _forks.leaving if other.is_listed())]
            if self._is_wanted:
                _forks.aside.add(self)
            return False


class _Life:
    """One thread of the system's, from its start to its end."""

    def __init__(self) -> None:
        self._ident: int | None = None
        self._native_id: int | None = None
        self._lock = allocate_lock()
        self._lock.acquire()

    @property
    def is_on(self) -> bool:
        return bool(self._lock.locked())

    @property
    def is_current(self) -> bool:
        return bool(self._ident == _get_ident())

    def begin(self) -> None:
        self._ident, self._native_id = _get_ident(), _get_native_id()

    def end(self) -> None:
        self._ident = None
        self._lock.release()

    def is_listed(self) -> bool:
        return os.path.exists(f"/proc/self/task/{self._native_id}")  # noqa: PTH110 - at every fork, so the quickest way

    def wait(self, timeout: float) -> bool:
        deadline = _monotonic() + timeout
        if self.is_current or not self._lock.acquire(True, timeout):
            return False
        self._lock.release()
        # It has run its last line of Python, and the system is about to take it away.
        while self.is_listed():
            if _monotonic() > deadline:
                return False
            _sleep(_LOOK_AGAIN)
        return True


class _Forks:
    """Which threads run, and which wait for a fork to be over."""

    def __init__(self) -> None:
        #: Held only for moments. Reentrant: a signal handler may start a thread.
        self.lock = reentrant_lock()
        #: How many there are at the moment, each in a thread of its own.
        self.under_way = 0
        self.running: set[NativeThread] = set()
        #: What has returned, and may not be gone yet.
        self.leaving: list[_Life] = []
        #: What is to run as soon as no fork is under way.
        self.aside: set[NativeThread] = set()

    def before(self) -> None:
        with self.lock:
            self.under_way += 1
            threads = [thread for thread in self.running if not thread.is_current]
        for thread in threads:
            thread.step_aside()
        deadline = _monotonic() + _STEP_ASIDE
        for thread in threads:
            thread.wait_for_fork(max(0.0, deadline - _monotonic()))
        for life in self.leaving:
            life.wait(max(0.0, deadline - _monotonic()))

    def after_in_parent(self) -> None:
        with self.lock:
            self.under_way -= 1
            try:
                self.let_go_on()
            except RuntimeError:
                logger.critical("The system gives no thread for %s; trying on", self.aside, exc_info=True)

    def after_in_child(self) -> None:
        for thread in self.running | self.aside:
            thread.forget()
        self.lock, self.under_way = reentrant_lock(), 0
        self.running, self.leaving, self.aside = set(), [], set()

    def let_go_on(self) -> None:
        """Start what is aside, unless a fork is under way; with the lock held."""
        while self.aside and not self.under_way:
            thread = self.aside.pop()
            try:
                thread.go_on()
            except RuntimeError:
                self.aside.add(thread)
                raise


if sys.version_info >= (3, 13):
    # There os.fork counts the threads after its hooks, which have started ours again: the warning is wrong.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)

_forks = _Forks()


def resume() -> None:
    """Start what the system gave no thread for after a fork, if it gives one now; else look again later.

    For whatever runs in a process now and then. Mostly there is nothing to do, and it costs next to nothing.
    """
    if _forks.aside:
        with contextlib.suppress(RuntimeError), _forks.lock:
            _forks.let_go_on()


os.register_at_fork(before=_forks.before, after_in_parent=_forks.after_in_parent, after_in_child=_forks.after_in_child)
