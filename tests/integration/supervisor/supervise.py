"""Supervises small programs: `supervise.py SCENARIO FOLDER`. Run by the tests, in a process of its own.

Every program appends what happens to it to FOLDER/events: `started NAME PID`, `SIGTERM NAME`, `ended NAME`.
"""

from __future__ import annotations

import fcntl
import re
import signal
import sys
import termios
from pathlib import Path

from app.supervisor.errors import StopRequested, SupervisionError
from app.supervisor.guard import Guard
from app.supervisor.program import AddressFile, LogLine, Program
from app.supervisor.signals import Signals
from app.supervisor.stopping import Step
from app.supervisor.supervisor import Supervisor
from app.supervisor.terminal import Terminal

PROGRAM = Path(__file__).with_name("dummy.py")
SCENARIO, FOLDER = sys.argv[1], Path(sys.argv[2])


def dummy(name: str, *how: str, **options: object) -> Program:
    """A program of the tests; `how` is what it does (see dummy.py)."""
    given = {"ready": LogLine(re.compile(r"^ready at (\S+)")), "start_within": 15.0, **options}
    return Program(
        name=name,
        command=lambda: [sys.executable, "-S", str(PROGRAM), str(FOLDER), name, *how],
        environment={"ONLY": "this"},
        **given,
    )


STAGES = {
    "three": [
        [dummy("server", "address-file", ready=AddressFile(FOLDER / "server.address"))],
        [dummy("worker", "fork", restarts=2), dummy("web", restarts=2)],
        [dummy("sender")],
    ],
    "stubborn": [
        [dummy("server")],
        [dummy("worker", "ignore-term", stop=(Step(signal.SIGTERM, 60.0), Step(signal.SIGQUIT, 60.0)))],
    ],
    "deaf": [
        [dummy("worker", "ignore-term", "ignore-quit", stop=(Step(signal.SIGTERM, 1.5), Step(signal.SIGQUIT, 1.5)))]
    ],
    "never-ready": [[dummy("server")], [dummy("late", "silent", start_within=1.0, advice="give it more time")]],
    "dies-at-start": [[dummy("server")], [dummy("broken", "fail", tries=2)]],
    "missing": [[dummy("server")], [Program(name="gone", command=lambda: ["/nowhere/gone"], environment={})]],
    "noisy": [[dummy("noisy", "warn")]],
    "job": [[dummy("server")], [dummy("job", "succeed", ends=True)]],
}


def main() -> int:
    """Run the scenario until a signal or an error."""
    if "--terminal" in sys.argv:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # what a window does for the shell in it
    terminal = Terminal(sys.stdout)
    with Guard() as guard, Signals() as signals:
        supervisor = Supervisor(guard=guard, signals=signals, terminal=terminal, logs=FOLDER, directory=FOLDER)
        try:
            for stage in STAGES[SCENARIO]:
                for child in supervisor.start(*stage):
                    terminal.say(f"{child.program.name} is ready at {child.address or 'no address'}")
                    if child.program.ends:
                        terminal.say(f"{child.program.name} ended with {supervisor.status_of(child)}")
            with (FOLDER / "events").open("a") as events:
                events.write("all ready\n")
            while True:
                supervisor.watch(0.5)
        except StopRequested:
            return 0
        except SupervisionError as error:
            terminal.say(f"error: {error}")
            return 1
        finally:
            supervisor.stop()
            terminal.say("stopped")


if __name__ == "__main__":
    sys.exit(main())
