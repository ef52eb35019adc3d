"""HTTP for the engine: many requests in flight over curl's multi interface, each with its deadlines.

One thread drives it (`Http.turn`). `perform` and not `socket_action`: it goes through all transfers in one call, so the
interpreter's lock is given up and taken back once a turn and not once a socket. Beside a main thread that computes,
that is four times the requests (measured: 10 in flight, 10 ms each, 380 a second against 124).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pycurl
from gevent.monkey import get_original

from app.clock import Clock, SystemClock
from app.transport.engine.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_poll = get_original("select", "poll")
_POLLIN, _POLLOUT = get_original("select", "POLLIN"), get_original("select", "POLLOUT")

#: Seconds to connect, TLS included.
_CONNECT = 5.0
#: Seconds past its deadline after which a request is given up whatever curl says of it.
_OVERDUE = 5.0
#: Seconds of silence on a connection before the system asks whether the other side is there, and between questions.
_KEEPALIVE_AFTER, _KEEPALIVE_EVERY = 20, 10
#: Connections kept for the next request.
_CONNECTIONS = 64
#: Bytes of one answer: ten messages of 1 MiB, each character of them escaped.
_LONGEST_ANSWER = 64 * 2**20
#: Seconds that one wait takes at most where a descriptor is hidden from us: `fdset` shows none above 1,023.
_BLIND_WAIT = 0.02

#: curl's numbers for what went wrong, as words for the log.
_WORDS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "the name cannot be resolved",
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's name cannot be resolved",
    pycurl.E_COULDNT_CONNECT: "nobody answers there",
    pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
    pycurl.E_GOT_NOTHING: "the connection was closed without an answer",
    pycurl.E_PARTIAL_FILE: "the answer broke off",
    pycurl.E_RECV_ERROR: "the connection broke",
    pycurl.E_SEND_ERROR: "the connection broke",
    pycurl.E_SSL_CONNECT_ERROR: "TLS could not be agreed on",
    pycurl.E_PEER_FAILED_VERIFICATION: "the server's certificate is not trusted",
    pycurl.E_WRITE_ERROR: "the answer is longer than any of SQS's",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One POST."""

    url: str
    headers: Sequence[str]
    body: bytes
    #: Seconds for all of it.
    timeout: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, or why nothing did: then `status` is 0 and `body` empty."""

    status: int
    body: bytes
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """How requests leave this machine.

    Args:
        proxy: the URL of an HTTP proxy; None: straight.
        ca_bundle: a file of trusted certificates; None: curl's own choice.
        verify: whether certificates are checked.
    """

    proxy: str | None = None
    ca_bundle: str | None = None
    verify: bool = True


class _Transfer:
    """One request on its way."""

    __slots__ = ("chunks", "curl", "done", "gives_up_at", "length", "request")

    def __init__(self, curl: Any, request: Request, done: Callable[[Answer], None], gives_up_at: float) -> None:
        self.curl, self.request, self.done, self.gives_up_at = curl, request, done, gives_up_at
        self.chunks: list[bytes] = []
        self.length = 0

    def write(self, chunk: bytes) -> int:
        """Take a piece of the answer; any other length than its own ends the transfer."""
        self.length += len(chunk)
        if self.length > _LONGEST_ANSWER:
            return 0
        self.chunks.append(chunk)
        return len(chunk)


class Http:
    """The requests in flight. Not thread-safe: all calls come from the thread that calls `turn`.

    Args:
        route: how requests leave this machine.
        names: where host names are looked up; beside curl, whose own threads for that would outlive the lookup.
    """

    def __init__(self, route: Route = Route(), *, names: Names | None = None, clock: Clock | None = None) -> None:
        self._route = route
        self._clock = clock or SystemClock()
        self._names = names or Names(clock=self._clock)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, _CONNECTIONS)
        self._transfers: dict[Any, _Transfer] = {}
        self._idle: list[Any] = []
        #: Those whose host cannot be found; they end with the next turn.
        self._nameless: list[Any] = []

    def __repr__(self) -> str:
        return f"<Http: {len(self._transfers)} in flight>"

    def __len__(self) -> int:
        return len(self._transfers)

    def send(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Send a request; `done` is called with the answer, in a later `turn`, always and once."""
        curl = self._idle.pop() if self._idle else self._new_curl()
        transfer = _Transfer(curl, request, done, self._clock.monotonic() + request.timeout + _OVERDUE)
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, [*request.headers, "Expect:"])
        curl.setopt(pycurl.POSTFIELDS, request.body)
        curl.setopt(pycurl.TIMEOUT_MS, int(request.timeout * 1000))
        curl.setopt(pycurl.WRITEFUNCTION, transfer.write)
        self._transfers[curl] = transfer
        self._names.ask(self._route.proxy or request.url, lambda entry: self._go(transfer, entry))

    def _go(self, transfer: _Transfer, entry: str | None) -> None:
        """The name is known, or is none that must be."""
        if self._transfers.get(transfer.curl) is not transfer:
            return  # given up meanwhile
        if entry is None:
            self._nameless.append(transfer.curl)
            return
        if entry:
            transfer.curl.setopt(pycurl.RESOLVE, [entry])
        self._multi.add_handle(transfer.curl)

    def turn(self, timeout: float, *, woken_by: int) -> None:
        """Do what can be done, waiting for it up to `timeout` seconds or until descriptor `woken_by` is readable."""
        self._names.turn()
        nameless, self._nameless = self._nameless, []
        for curl in nameless:
            self._end(curl, "the name cannot be resolved")
        if self._perform() or nameless:
            timeout = 0.0
        waiting = _poll()
        waiting.register(woken_by, _POLLIN)
        readable, writable, _ = self._multi.fdset()
        masks = dict.fromkeys(readable, _POLLIN)
        for descriptor in writable:
            masks[descriptor] = masks.get(descriptor, 0) | _POLLOUT
        for descriptor, mask in masks.items():
            waiting.register(descriptor, mask)
        if self._nameless:
            timeout = 0.0
        if self._transfers:
            if (curls := self._multi.timeout()) >= 0:
                timeout = min(timeout, curls / 1000)
            if len(masks) < len(self._transfers):
                timeout = min(timeout, _BLIND_WAIT)
        waiting.poll(max(0.0, timeout) * 1000)
        self._perform()

    def _perform(self) -> bool:
        """Move all transfers on; whether any ended."""
        if not self._transfers:
            return False
        self._multi.perform()
        ended = 0
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                self._end(curl, None)
            for curl, number, text in bad:
                self._end(curl, f"{_WORDS.get(number, 'curl')} ({text or number})")
            ended += len(good) + len(bad)
        return ended > 0

    def give_up_overdue(self) -> None:
        """End the requests that are long past their deadline: curl lost sight of them, or a name is still looked up."""
        now = self._clock.monotonic()
        for curl in [curl for curl, transfer in self._transfers.items() if transfer.gives_up_at <= now]:
            self._end(curl, "no answer in time")

    def _end(self, curl: Any, failure: str | None) -> None:
        transfer = self._transfers.pop(curl)
        status = int(curl.getinfo(pycurl.RESPONSE_CODE)) if failure is None else 0
        with contextlib.suppress(pycurl.error):  # it was never added: its name is still looked up
            self._multi.remove_handle(curl)
        curl.setopt(pycurl.WRITEFUNCTION, _ignore)
        self._idle.append(curl)
        transfer.done(Answer(status, b"" if failure else b"".join(transfer.chunks), failure))

    def _new_curl(self) -> Any:
        curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.BUFFERSIZE, 256 * 1024)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(_CONNECT * 1000))
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.TCP_KEEPIDLE, _KEEPALIVE_AFTER)
        curl.setopt(pycurl.TCP_KEEPINTVL, _KEEPALIVE_EVERY)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        # Else curl reads the environment's, by rules that are not quite botocore's.
        curl.setopt(pycurl.PROXY, self._route.proxy or "")
        curl.setopt(pycurl.NOPROXY, "")
        if self._route.ca_bundle:
            curl.setopt(pycurl.CAINFO, self._route.ca_bundle)
            curl.setopt(pycurl.PROXY_CAINFO, self._route.ca_bundle)
        if not self._route.verify:
            curl.setopt(pycurl.SSL_VERIFYPEER, 0)
            curl.setopt(pycurl.SSL_VERIFYHOST, 0)
        return curl


def _ignore(chunk: bytes) -> int:
    return len(chunk)
