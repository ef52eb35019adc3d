"""What the user sees: lines, and below them one that is kept up to date."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TextIO

from app.clock import Clock, SystemClock

_CLEAR_LINE = "\r\x1b[K"


class Terminal:
    """Writes lines and a progress line: live on a terminal, every few seconds elsewhere.

    Never raises when its reader is gone (a closed terminal, a pipe to `head`): the system must still be stopped.

    Args:
        stream: where to write; None, which is what Python makes of a standard output that is closed: nowhere.
        every: seconds between progress lines when the stream is no terminal; default 5.
    """

    def __init__(self, stream: TextIO | None, *, every: float = 5.0, clock: Clock | None = None) -> None:
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._every = every
        self._clock = clock or SystemClock()
        self._shown = ""
        self._shown_at = float("-inf")

    def say(self, line: str) -> None:
        """Write a line that stays."""
        if self._live and self._shown:
            self._write(f"{_CLEAR_LINE}{line}\n{self._shown}")
        else:
            self._write(f"{line}\n")

    def progress(self, line: str) -> None:
        """Show how far things are."""
        if self._live:
            line = line[: shutil.get_terminal_size().columns - 1]
            if line != self._shown:
                self._shown = line
                self._write(f"{_CLEAR_LINE}{line}")
        elif line != self._shown and self._clock.monotonic() - self._shown_at >= self._every:
            self._shown, self._shown_at = line, self._clock.monotonic()
            self._write(f"{line}\n")

    def settle(self) -> None:
        """Leave the progress line as it is and go on below it."""
        if self._live and self._shown:
            self._write("\n")
        self._shown = ""

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # What is buffered would fail again when Python exits and change the exit status.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
