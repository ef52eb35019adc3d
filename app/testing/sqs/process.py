"""The local SQS server as a process of its own, and the handle by which tests turn it.

A process rather than a thread: it survives gevent's patching of the test process, and a test may fork (a prefork
worker, multiprocessing) without a live server thread beside it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from app.parent import environment_for_children
from app.testing.sqs.counts import Count, Counts
from app.testing.sqs.faults import ActiveFault, Fault
from app.testing.sqs.keys import EXAMPLE_KEY, USUAL_SECONDS, AccessKey
from app.testing.tls import CA_FILE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

START_TIMEOUT = 20.0
"""Seconds that the server may take to listen; it takes a fraction of one."""
STOP_TIMEOUT = 5.0
CALL_TIMEOUT = 60.0
"""Seconds that one admin call may take: filling a queue with a million messages takes some."""
_ROOT = Path(__file__).resolve().parents[3]


class LocalSQSError(Exception):
    """The local SQS server did not start, or refused what it was told; the message says why."""


class Admin:
    """Calls to a running server, wherever it runs.

    Args:
        endpoint_url: where it listens.
        ca_file: the certificate authority to trust when that is `https://`.
    """

    def __init__(self, endpoint_url: str, *, ca_file: Path | None = None) -> None:
        self.endpoint_url = endpoint_url
        self.ca_file = ca_file
        self._tls: ssl.SSLContext | None = None

    def call(self, method: str, name: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call `/_sluice/NAME`; `LocalSQSError` if it is refused."""
        with contextlib.closing(self._connection()) as connection:
            connection.request(method, f"/_sluice/{name}", None if values is None else json.dumps(values))
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            raise LocalSQSError(str(answer.get("error") or answer.get("message") or answer))
        return answer

    def action(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Call an SQS action, without an SDK or a signature; `LocalSQSError` if it fails."""
        return self.call("POST", f"actions/{action}", parameters)

    def _connection(self) -> http.client.HTTPConnection:
        scheme, _, host = self.endpoint_url.partition("://")
        if scheme == "http":
            return http.client.HTTPConnection(host, timeout=CALL_TIMEOUT)
        if self._tls is None:
            import ssl  # noqa: PLC0415 - only who speaks TLS needs it; gevent wants it imported late

            self._tls = ssl.create_default_context(cafile=self.ca_file)
        return http.client.HTTPSConnection(host, timeout=CALL_TIMEOUT, context=self._tls)


class RemoteClock:
    """The server's clock: delays, visibility, retention and the 12 hours go by it; long polls wake as it moves."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def time(self) -> float:
        """Seconds since the epoch, as the server has it."""
        return float(self._admin.call("GET", "clock")["time"])

    def advance(self, seconds: float) -> None:
        """Jump ahead by this many seconds."""
        self._admin.call("POST", "clock", {"advance": seconds})

    def set(self, now: float) -> None:
        """Put the clock to this time (seconds since the epoch)."""
        self._admin.call("POST", "clock", {"set": now})

    @property
    def speed(self) -> float:
        """Seconds that pass in a real one."""
        return float(self._admin.call("GET", "clock")["speed"])

    @speed.setter
    def speed(self, factor: float) -> None:
        self._admin.call("POST", "clock", {"speed": factor})


class RemoteFaults:
    """The server's faults."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def add(self, fault: Fault | str) -> int:
        """Turn a fault on, given as a `Fault` or as `ReceiveMessage:drop:count=1`; the number turns it off again."""
        described = Fault.parse(fault) if isinstance(fault, str) else fault
        return int(self._admin.call("POST", "faults", described.as_dict())["number"])

    def active(self) -> list[ActiveFault]:
        """What is on, and how often each has hit."""
        rows = self._admin.call("GET", "faults")["faults"]
        return [ActiveFault(row.pop("number"), hits=row.pop("hits"), fault=Fault.from_dict(row)) for row in rows]

    def remove(self, number: int) -> None:
        """Turn one off."""
        self._admin.call("DELETE", f"faults?number={number}")

    def clear(self) -> None:
        """Turn all off."""
        self._admin.call("DELETE", "faults")


class RemoteKeys:
    """The access keys that a strict server knows."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def issue(self, seconds: float | None = USUAL_SECONDS) -> AccessKey:
        """A new temporary key that lasts so many seconds by the server's clock, or with `None` one that stays."""
        return AccessKey(**self._admin.call("POST", "keys", {"seconds": seconds}))

    def expire(self, key: AccessKey) -> None:
        """End a temporary key's session now: `ExpiredToken` from here on."""
        self._admin.call("POST", "keys/expire", {"id": key.id})

    def revoke(self, key: AccessKey) -> None:
        """Take a key back: a temporary one is denied everything from here on, one that stays is not known."""
        self._admin.call("POST", "keys/revoke", {"id": key.id})


class LocalSQS:
    """A local SQS server for tests: `with LocalSQS() as sqs: … sqs.endpoint_url`.

    Args:
        port: where to listen on loopback; 0 takes a free one.
        options: more options of `celery -A app sqs`, as `("--round-trip", "20", "--seed", "7")`.
        strict: check each request's signature.
        access_key: the key that a strict server knows from the beginning.
        tls: speak TLS, with a certificate authority of its own in this folder.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        options: tuple[str, ...] = (),
        strict: bool = False,
        access_key: AccessKey = EXAMPLE_KEY,
        tls: Path | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "app.cli.sqs", "--port", str(port), "--exit-with-parent", *options]
        if strict:
            self._command += ["--strict", "--access-key", f"{access_key.id}:{access_key.secret}"]
        if tls is not None:
            self._command += ["--tls", str(tls)]
        self.access_key = access_key if strict else AccessKey("local", "local")
        self.ca_file = None if tls is None else tls / CA_FILE
        self.region = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._admin = Admin("", ca_file=self.ca_file)
        self.clock = RemoteClock(self._admin)
        self.faults = RemoteFaults(self._admin)
        self.keys = RemoteKeys(self._admin)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return once it listens; `LocalSQSError` if it does not."""
        environment = environment_for_children()
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = str(_ROOT) if not path else f"{_ROOT}{os.pathsep}{path}"
        process = subprocess.Popen(  # noqa: S603 - our own command
            self._command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
        )
        self._process = process
        line = _first_line(process)
        if not line.startswith(("http://", "https://")):
            self.stop()
            raise LocalSQSError("the local SQS server did not start: the reason is on standard error")
        self._admin.endpoint_url = line
        self.region = self._admin.call("GET", "health")["region"]

    def stop(self) -> None:
        """End it; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT)
        if process.stdout is not None:
            process.stdout.close()

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def endpoint_url(self) -> str:
        """What to give a client as its endpoint."""
        return self._admin.endpoint_url

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables by which boto3, and so Celery, finds this server, past any proxy, with no account.

        A profile that AWS_PROFILE names is looked up nevertheless: the fixture `sqs_environment` removes it.
        """
        return {
            "AWS_ENDPOINT_URL_SQS": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            **self.access_key.environment,
            **({} if self.ca_file is None else {"AWS_CA_BUNDLE": str(self.ca_file)}),
            # Both spellings: the lower one wins where it is set.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def create_queue(
        self, name: str, *, max_receives: int | None = None, attributes: dict[str, str] | None = None
    ) -> str:
        """Make a queue and give its URL; with `max_receives` also its dead-letter queue, NAME-dead."""
        attributes = dict(attributes or {})
        if max_receives is not None:
            dead = self._admin.action("CreateQueue", QueueName=f"{name}-dead")["QueueUrl"]
            wanted = self._admin.action("GetQueueAttributes", QueueUrl=dead, AttributeNames=["QueueArn"])
            policy = {"deadLetterTargetArn": wanted["Attributes"]["QueueArn"], "maxReceiveCount": max_receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        return str(self._admin.action("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"])

    def fill(self, queue: str, count: int, body: str = '{"n": {n}}') -> None:
        """Put `count` messages into a queue (by name) without sending them; `{n}` becomes each one's number."""
        self._admin.call("POST", "fill", {"queue": queue, "count": count, "body": body})

    @property
    def queues(self) -> dict[str, dict[str, int]]:
        """Each queue's visible, in_flight and delayed messages and its waiting_polls."""
        rows: dict[str, dict[str, int]] = self._admin.call("GET", "queues")["queues"]
        return rows

    @property
    def counts(self) -> Counts:
        """The calls so far: `sqs.counts.of("ReceiveMessage").empty`."""
        rows = self._admin.call("GET", "stats")["counts"]
        return Counts({action: Count(**row) for action, row in rows.items()})

    def configure(
        self,
        *,
        round_trip: float | None = None,
        jitter: float | None = None,
        short_receives: bool | None = None,
        clock_skew: float | None = None,
    ) -> None:
        """Change the round trip and its jitter (seconds), or whether receives are short; `None` leaves as it is.

        `clock_skew` is by how many seconds the clock that signatures and the Date header go by is ahead of this
        machine's. Nothing else goes by it: not `clock`, and so no message and no session.
        """
        values = {
            "round_trip": round_trip,
            "jitter": jitter,
            "short_receives": short_receives,
            "clock_skew": clock_skew,
        }
        self._admin.call("POST", "settings", {name: value for name, value in values.items() if value is not None})

    def clear_counts(self) -> None:
        """Counts begin again at zero."""
        self._admin.call("POST", "counts")

    def reset(self, *, seed: int | None = None) -> None:
        """Forget all queues, faults, counts and issued keys; settings and clock are as they were started with."""
        self._admin.call("POST", "reset", {} if seed is None else {"seed": seed})


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """The first line that a process prints; what there is of it when the process ends or the time is up."""
    if process.stdout is None:
        return ""
    return b"".join(_bytes_of_line(process.stdout.fileno())).decode().strip()


def _bytes_of_line(descriptor: int) -> Iterator[bytes]:
    deadline = time.monotonic() + START_TIMEOUT
    while (left := deadline - time.monotonic()) > 0 and select.select([descriptor], [], [], left)[0]:
        data = os.read(descriptor, 4096)
        if not data:
            return
        yield data
        if b"\n" in data:
            return
