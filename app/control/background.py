"""A loop beside a process's work: in a thread that steps aside at forks or, where threads are greenlets, in one."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from gevent.monkey import is_module_patched

from app.clock import Clock, SystemClock
from app.native import NativeThread

if TYPE_CHECKING:
    from collections.abc import Callable


class Background:
    """Takes turns for as long as the process lives.

    Args:
        turn: does what there is to do; it returns soon once `should_return` is true, and goes on with the next turn.
            It gives the seconds to pause before that, whatever comes, or None: there is nothing to do before `tell`.
        wake: gets a turn that waits to look at `should_return`; called from other threads, must not block.
        name: the thread's.
    """

    def __init__(
        self,
        turn: Callable[[], float | None],
        *,
        wake: Callable[[], None] = lambda: None,
        name: str,
        clock: Clock | None = None,
    ) -> None:
        self._turn = turn
        self._wake_turn = wake
        self._clock = clock or SystemClock()
        self._told = Event()
        self._pause_until = 0.0
        self._name = name
        self._greenlet: Thread | None = None
        self._thread: NativeThread | None = None
        if not is_module_patched("threading"):
            self._thread = NativeThread(self._run, wake=self._wake, name=name)

    @property
    def should_return(self) -> bool:
        """Whether the process is about to fork; a greenlet need not step aside."""
        return self._thread is not None and self._thread.should_return

    def tell(self) -> None:
        """There is something to do: take a turn, unless in a pause.

        Raises:
            RuntimeError: the system gives no thread to take it in.
        """
        self._told.set()
        if self._thread is not None:
            self._thread.start()
        elif self._greenlet is None:
            self._greenlet = Thread(target=self._run, name=self._name, daemon=True)
            self._greenlet.start()

    def _wake(self) -> None:
        self._told.set()
        self._wake_turn()

    def _run(self) -> None:
        while True:
            self._told.clear()  # before looking whether to return: it is set after that was said
            if self.should_return:
                return
            if (pause := self._pause_until - self._clock.monotonic()) > 0:
                self._told.wait(pause)
            elif (next_pause := self._turn()) is None:
                self._told.wait()
            else:
                self._pause_until = self._clock.monotonic() + next_pause
