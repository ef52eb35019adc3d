"""The signals that end a supervised system, and sleeping that they end."""

from __future__ import annotations

import select
import signal
import socket
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Counts the requests to stop; `sleep` ends early at such a request, and when a child ends. For the main thread."""

    def __init__(self) -> None:
        self.requests = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _STOP:
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` asked for that
                self._before[number] = signal.signal(number, self._requested)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes `sleep`
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def sleep(self, seconds: float) -> None:
        """Wait, at most so long, for a signal."""
        select.select([self._reader], [], [], max(0.0, seconds))
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _requested(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1
