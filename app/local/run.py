"""`up`, from the first server to the last: the order of it all."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app import parent
from app.clock import Clock, SystemClock
from app.local import environment, programs
from app.local.environment import Addresses, Environment
from app.local.folder import Folder
from app.local.observer import Observer
from app.local.progress import Progress
from app.local.verdict import judge
from app.supervisor.errors import StopRequested, SupervisionError
from app.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from app.local.options import Options
    from app.supervisor.child import Child
    from app.supervisor.guard import Guard
    from app.supervisor.signals import Signals
    from app.supervisor.terminal import Terminal

_LOOK_EVERY = 1.0

_PATIENCE = 420.0
"""Seconds without progress after which `--until-drained` gives up. Longer than the longest pause between two attempts
of a task (SLUICE_RETRY_BACKOFF_MAX, 300) and a lease."""

_SERVERS_UNSET = Addresses("http://127.0.0.1:1", "redis://127.0.0.1:1/0", "http://127.0.0.1:1")
"""Stand-ins while the settings are read and no server is up yet."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What `up` must know of the settings that its programs will find."""

    queues: Collection[str]
    dead_letter_queues: Collection[str]
    drain_timeout: float


class System:
    """The whole system on this machine.

    Args:
        options: what the user asked for.
        caller: the environment that `up` was started in.
        facts: reads the settings in an environment; what it raises ends everything before anything is started.
        guard, signals, terminal: see `app/supervisor`.
    """

    def __init__(
        self,
        options: Options,
        *,
        caller: Mapping[str, str],
        facts: Callable[[Mapping[str, str]], Facts],
        guard: Guard,
        signals: Signals,
        terminal: Terminal,
        clock: Clock | None = None,
    ) -> None:
        self._options = options
        self._caller = caller
        self._guard = guard
        self._signals = signals
        self._terminal = terminal
        self._clock = clock or SystemClock()
        self._flower_password = secrets.token_urlsafe(12)
        self._progress = Progress()
        self._facts = facts(self._environment(_SERVERS_UNSET).variables)

    def run(self) -> int:
        """Start everything, look after it, stop it: the exit status.

        Raises:
            FolderError: there is no folder to work in.
        """
        folder = Folder.take(self._options.logs)
        supervisor = Supervisor(
            guard=self._guard,
            signals=self._signals,
            terminal=self._terminal,
            logs=folder.path,
            directory=Path.cwd(),
            clock=self._clock,
        )
        try:
            return self._run(supervisor, folder)
        except StopRequested:
            self._terminal.settle()
            return 1 if self._options.until_drained else 0  # then it was to end by itself
        except SupervisionError as error:
            self._terminal.settle()
            self._terminal.say(f"Error: {error}")
            return 1
        finally:
            self._terminal.settle()
            self._terminal.say("Stopping: worker and Flower, then the servers …")
            supervisor.stop()
            folder.close()

    def _run(self, supervisor: Supervisor, folder: Folder) -> int:
        options, say = self._options, self._terminal.say
        before = self._environment(Addresses())
        if before.overridden:
            say(f"Not used here, since `up` brings its own: {', '.join(before.overridden)}")
        say(f"Starting the SQS server, Valkey and the downstream service (logs: {folder.path})")
        servers = supervisor.start(*programs.servers(options, folder=folder.path, environment=before.variables))
        addresses = self._addresses(supervisor, servers)
        made = self._environment(addresses)
        env_file = folder.write_private("up.env", environment.exports(made))

        say(f"Starting {self._workers_in_words()}{' and Flower' if options.flower else ''}")
        workers = programs.workers(options, drain_timeout=self._facts.drain_timeout, environment=made.variables)
        supervisor.start(*workers)
        if options.flower:  # after the workers, whom it asks for what they are as soon as it is up
            self._say_where(supervisor.start(programs.flower(options, environment=made.variables)), made)
        say(f"For another terminal: {environment.take_up(env_file)}")

        observer = Observer(
            addresses,
            queues=self._facts.queues,
            dead_letter_queues=self._facts.dead_letter_queues,
            events=programs.events_file(folder.path),
        )
        sender = None
        if options.events:
            say(f"Sending {options.events:,} events as {programs.TASK}")
            self._progress.begin(self._clock.monotonic())
            [sender] = supervisor.start(programs.sender(folder=folder.path, environment=made.variables))
        if self._watch_until_drained(supervisor, observer, sender):
            is_good = self._judge(supervisor, observer, sender)
            if not options.until_drained:
                self._stay(supervisor, observer)
        else:
            is_good = False
            self._judge(supervisor, observer, sender)
        return 0 if is_good else 1

    def _environment(self, addresses: Addresses) -> Environment:
        return environment.make(
            parent.environment_for_children(self._caller),
            addresses,
            visibility_timeout=self._options.visibility_timeout,
            flower_password=self._flower_password,
        )

    def _addresses(self, supervisor: Supervisor, children: Collection[Child]) -> Addresses:
        found = {child.program.name: child for child in children}
        if (sample := found.get("sample")) is not None and supervisor.status_of(sample):
            raise SupervisionError(f"the events could not be written: {sample.last_line or 'see'} ({sample.log})")
        return Addresses(found["sqs"].address, found["valkey"].address, found["downstream"].address)

    def _workers_in_words(self) -> str:
        count, places = self._options.workers, self._options.places
        return f"{'a worker' if count == 1 else f'{count} workers'} ({self._options.pool}, {places} at once)"

    def _say_where(self, children: Collection[Child], made: Environment) -> None:
        for child in children:
            if child.program.name == "flower":
                login = made.variables["FLOWER_BASIC_AUTH"]
                if self._caller.get("FLOWER_BASIC_AUTH"):
                    login = "the one in your FLOWER_BASIC_AUTH"
                self._terminal.say(f"Open {child.address} (login {login}) to see them work")

    def _watch_until_drained(self, supervisor: Supervisor, observer: Observer, sender: Child | None) -> bool:
        """Show progress until all is sent and the queues are empty; False if that takes too long."""
        options = self._options
        began = self._clock.monotonic()
        while True:
            self._look(supervisor, observer)
            if (sender is None or supervisor.status_of(sender) is not None) and self._progress.is_empty:
                return True
            now = self._clock.monotonic()
            if options.until_drained and now - began > options.deadline:
                self._terminal.settle()
                self._terminal.say(f"Not drained within {options.deadline:g} s (--deadline)")
                return False
            if options.until_drained and self._progress.idle(now) > _PATIENCE:
                self._terminal.settle()
                self._terminal.say(f"Nothing has moved for {_PATIENCE:g} s")
                return False

    def _stay(self, supervisor: Supervisor, observer: Observer) -> None:
        self._terminal.say("Up until Ctrl-C")
        while True:
            self._look(supervisor, observer)

    def _look(self, supervisor: Supervisor, observer: Observer) -> None:
        next_look = self._clock.monotonic() + _LOOK_EVERY
        while (left := next_look - self._clock.monotonic()) > 0:
            supervisor.watch(left)
        if (reading := observer.look(self._clock.monotonic())) is not None:
            self._progress.add(reading)
            self._terminal.progress(self._progress.line())

    def _judge(self, supervisor: Supervisor, observer: Observer, sender: Child | None) -> bool:
        sent = observer.sent_ids()
        verdict = judge(sent, observer.arrived_ids(), self._progress.latest, not_sent=self._options.events - len(sent))
        self._terminal.settle()
        for problem in verdict.problems:
            self._terminal.say(f"Error: {problem}")
        if sender is not None and (status := supervisor.status_of(sender)):
            self._terminal.say(f"Sending ended with status {status}; its log is {sender.log}")
        if verdict.is_good and sent:
            rate = self._progress.per_minute_in_all
            speed = "" if rate is None else f" ({rate:,.0f} messages/min in all)"
            self._terminal.say(f"All {len(sent):,} events have arrived and the queues are empty{speed}")
        return verdict.is_good
