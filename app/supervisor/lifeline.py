"""The guard's own process: waits for the supervisor's end, then kills every process group that is still announced.

Standard library only, and run by its path, so that it starts in milliseconds and needs nothing that could break. Its
standard input is a pipe of which the supervisor alone holds the other end: end of file means that the supervisor is
gone, however it went. A line `+ID` announces a process group, `-ID` takes it back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Read announcements until the supervisor is gone; then leave nothing of it."""
    for ignored in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # a signal to the whole job must not end its guard first
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line.startswith(b"+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left in it
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
