"""A small program to supervise: `dummy.py FOLDER NAME HOW…`. Says what happens to it in FOLDER/events."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

FOLDER, NAME, HOW = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]


def tell(event: str) -> None:
    """Append a line; one write, so that lines of several processes do not mix."""
    with (FOLDER / "events").open("a") as events:
        events.write(f"{event}\n")


def on_signal(number: int, _frame: object) -> None:
    name = signal.Signals(number).name
    tell(f"{name} {NAME}")
    if f"ignore-{name.removeprefix('SIG').lower()}" not in HOW:
        tell(f"ended {NAME}")
        sys.exit(0)


for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGHUP):
    signal.signal(signum, on_signal)
if "fork" in HOW and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(f"started {NAME}-child {os.getpid()}")
    while True:
        time.sleep(60)
tell(f"started {NAME} {os.getpid()}")
if "fail" in HOW:
    sys.exit("the reason why it failed")
if "succeed" in HOW:
    sys.exit(0)
if "warn" in HOW:
    for number in range(50):
        sys.stdout.write(f"[2026-01-31 12:00:00,000: WARNING/MainProcess] warning {number}\n")
if "address-file" in HOW:
    (FOLDER / f"{NAME}.address").write_text("http://127.0.0.1:1\n")
elif "silent" not in HOW:
    sys.stdout.write(f"ready at {NAME}:1\n")
sys.stdout.flush()
while True:
    time.sleep(60)
