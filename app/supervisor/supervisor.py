"""The shell around the decisions: starts programs, looks after them, stops them in order."""

from __future__ import annotations

import signal
import textwrap
from typing import TYPE_CHECKING

from app.clock import Clock, SystemClock
from app.supervisor.child import Child
from app.supervisor.errors import StopRequested, SupervisionError
from app.supervisor.important import Important
from app.supervisor.restarts import Restarts
from app.supervisor.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.supervisor.guard import Guard
    from app.supervisor.program import Program
    from app.supervisor.signals import Signals
    from app.supervisor.terminal import Terminal

_TICK = 0.05
"""Seconds between two looks at what is being waited for."""

_MOST_SHOWN = 240
"""Characters of a log line on the terminal; the log has all of it."""

_LAST_PATIENCE = 5.0
"""Seconds for the kernel to end what was sent SIGKILL."""


class _Watched:
    """A child with what is remembered about it between two looks."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.important = Important()
        self.restarts = Restarts(limit=child.program.restarts or 0)
        self.tries = 0
        self.was_ready = False
        self.started_at = 0.0
        self.restart_at: float | None = None
        self.status: int | None = None


class Supervisor:
    """Runs programs in stages.

    Args:
        guard: starts the processes.
        signals: entered; tells of requests to stop.
        terminal: where to say what happened.
        logs: the folder of the logs.
        directory: the working directory of the programs.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        signals: Signals,
        terminal: Terminal,
        logs: Path,
        directory: Path,
        clock: Clock | None = None,
    ) -> None:
        self._guard = guard
        self._signals = signals
        self._terminal = terminal
        self._logs = logs
        self._directory = directory
        self._clock = clock or SystemClock()
        self._stages: list[list[_Watched]] = []

    def start(self, *programs: Program) -> list[Child]:
        """Start the programs of the next stage side by side and wait until all of them are ready.

        Raises:
            SupervisionError: if one of them, or one of an earlier stage, does not start or ends.
            StopRequested: if the wait was ended by a signal.
        """
        stage = [_Watched(Child(p, guard=self._guard, logs=self._logs, directory=self._directory)) for p in programs]
        self._stages.append(stage)
        began = self._clock.monotonic()
        for watched in stage:
            self._launch(watched)
        while waiting := [w for w in stage if not w.was_ready]:
            self.watch(_TICK)
            for watched in waiting:
                program = watched.child.program
                if not watched.was_ready and self._clock.monotonic() - began > program.start_within:
                    raise SupervisionError(
                        f"{program.name} did not come up within {program.start_within:g} s: {self._advice(watched)}"
                    )
        return [watched.child for watched in stage]

    def watch(self, seconds: float) -> None:
        """Sleep so long or until something happens; see who is ready, who has ended, who is to be started again.

        Raises:
            SupervisionError: if a program ended that must not, or ended too often.
            StopRequested: if a signal asks us to stop.
        """
        self._signals.sleep(seconds)
        if self._signals.requests:
            raise StopRequested
        for stage in self._stages:
            for watched in stage:
                self._look_at(watched)

    def status_of(self, child: Child) -> int | None:
        """The exit status of a program that ends by itself; None while it runs."""
        for stage in self._stages:
            for watched in stage:
                if watched.child is child:
                    return watched.status
        return None

    def stop(self) -> None:
        """Stop all stages, the last one first; each is gone before the one before it is asked to go.

        Another request to stop (a second Ctrl-C) makes the next, harder signal due at once.
        """
        while self._stages:
            self._stop_stage([watched.child for watched in self._stages[-1]])
            self._stages.pop()

    def _stop_stage(self, children: Sequence[Child]) -> None:
        stopping = {child: Stopping(child.program.stop) for child in children if child.pid}
        requests = self._signals.requests
        killed_at: float | None = None
        while stopping:
            now = self._clock.monotonic()
            if self._signals.requests > requests:
                requests = self._signals.requests
                for plan in stopping.values():
                    plan.hurry()
            for child, plan in stopping.items():
                number = plan.due(now)
                if number == signal.SIGKILL:
                    killed_at = now
                    self._terminal.say(f"{child.program.name} does not stop: it is killed")
                    child.kill()
                elif number is not None:
                    child.signal(number)
            self._signals.sleep(_TICK)
            stopping = {child: plan for child, plan in stopping.items() if child.ended() is None}
            if killed_at is not None and self._clock.monotonic() - killed_at > _LAST_PATIENCE:
                return  # a process that the kernel itself cannot end, as on a dead network drive

    def _launch(self, watched: _Watched) -> None:
        watched.tries += 1
        watched.restart_at = None
        watched.started_at = self._clock.monotonic()
        try:
            watched.child.start()
        except OSError as error:
            raise SupervisionError(f"{watched.child.program.name} could not be started: {error}") from error

    def _look_at(self, watched: _Watched) -> None:
        child, now = watched.child, self._clock.monotonic()
        status = child.ended()  # before the log is read: so its last words are seen
        lines = child.new_lines()
        for line in lines:
            if watched.important.sees(line, now):
                self._terminal.say(f"{child.program.name}: {textwrap.shorten(line, _MOST_SHOWN, placeholder=' …')}")
        if held := watched.important.held(now):
            self._terminal.say(f"{child.program.name}: {held} more such lines are in {child.log}")
        if child.pid is not None:
            child.look_for_readiness(lines)
            watched.was_ready = watched.was_ready or child.is_ready
        if status is not None:
            self._ended(watched, status)
        elif watched.restart_at is not None and now >= watched.restart_at:
            self._launch(watched)

    def _ended(self, watched: _Watched, status: int) -> None:
        child, program = watched.child, watched.child.program
        if program.ends:
            watched.status = status
            watched.was_ready = True
            return
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if not watched.was_ready:
            if watched.tries < program.tries:
                self._launch(watched)
                return
            raise SupervisionError(f"{program.name} {how} while it started: {self._advice(watched)}")
        pause = watched.restarts.after_exit(ran_for=self._clock.monotonic() - watched.started_at)
        if pause is None:
            again = f" once more after {watched.restarts.spent} restarts" if program.restarts else ""
            raise SupervisionError(f"{program.name} {how}{again}; its log is {child.log}{self._last_words(child)}")
        watched.restart_at = self._clock.monotonic() + pause
        self._terminal.say(
            f"{program.name} {how}: it is started again in {pause:g} s"
            f" ({watched.restarts.spent} of {watched.restarts.limit}); its log is {child.log}"
        )

    def _advice(self, watched: _Watched) -> str:
        child = watched.child
        return f"{child.program.advice} ({child.log}){self._last_words(child)}"

    @staticmethod
    def _last_words(child: Child) -> str:
        return f'; its last line: "{child.last_line}"' if child.last_line else ""
