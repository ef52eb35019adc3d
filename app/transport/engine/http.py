"""HTTP for the engine: many requests in flight over curl's multi interface, each with its deadlines.

One thread drives it (`Http.turn`). `perform` and not `socket_action`: it goes through all transfers in one call, so the
interpreter's lock is given up and taken back once a turn and not once a socket. Beside a main thread that computes,
that is four times the requests (measured: 10 in flight, 10 ms each, 380 a second against 124).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pycurl
from gevent.monkey import get_original

from app.clock import Clock, SystemClock
from app.transport.engine.names import Names
from app.transport.engine.sockets import Sockets

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
#: Connections, and curl's handles, kept for the next request.
_KEPT = 64
#: Bytes of one answer: ten messages of 1 MiB, each character of them escaped.
_LONGEST_ANSWER = 64 * 2**20
#: curl's number for how long it keeps a bundle of certificates that it has read (pycurl has no name for it), and the
#: seconds: by itself it would be a day, in which a new authority in the bundle is not known.
#: https://curl.se/libcurl/c/CURLOPT_CA_CACHE_TIMEOUT.html
_CA_CACHE_TIMEOUT, _KEEPS_BUNDLE = 321, 60
#: Seconds that one wait takes at most where sockets are hidden from us.
_BLIND_WAIT = 0.02
#: Seconds by which one may wake up later than one was to, without that saying anything.
_LATE = 0.1

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
    pycurl.E_UNSUPPORTED_PROTOCOL: "that is not HTTP",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "that is not HTTP",
    pycurl.E_WRITE_ERROR: "the answer is longer than any of SQS's",
}
#: Of these, such as come before the request is sent.
_UNSENT = {
    pycurl.E_COULDNT_RESOLVE_HOST,
    pycurl.E_COULDNT_RESOLVE_PROXY,
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION,
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
    #: Whether the request may have got there.
    was_sent: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """How requests leave this machine.

    Args:
        proxy: the URL of an HTTP proxy, with its port and without a user; None: straight.
        proxy_user: who we are there: name and password.
        ca_bundle: a file of trusted certificates; None: curl's own choice.
    """

    proxy: str | None = None
    proxy_user: tuple[str, str] | None = field(default=None, repr=False)
    ca_bundle: str | None = None


class _Transfer:
    """One request on its way."""

    __slots__ = ("chunks", "curl", "done", "gives_up_at", "is_curls", "length")

    def __init__(self, curl: Any, done: Callable[[Answer], None], gives_up_at: float) -> None:
        self.curl, self.done, self.gives_up_at = curl, done, gives_up_at
        #: Whether curl has it; else its host's name is still looked up.
        self.is_curls = False
        self.chunks: list[bytes] = []
        self.length = 0

    def write(self, chunk: bytes) -> int:
        """Take a piece of the answer; any other length than its own ends the transfer."""
        self.length += len(chunk)
        if self.length > _LONGEST_ANSWER:
            return 0
        self.chunks.append(chunk)
        return len(chunk)

    def answer(self, status: int) -> Answer:
        """What came, as one; who waits for it must hear of it also where there is no memory for that."""
        try:
            return Answer(status, b"".join(self.chunks))
        except MemoryError:
            return Answer(0, b"", "there is no memory for the answer")


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
        self._multi.setopt(pycurl.M_MAXCONNECTS, _KEPT)
        self._sockets = Sockets()
        self._transfers: dict[Any, _Transfer] = {}
        #: How many of them curl has.
        self._curls = 0
        self._idle: list[Any] = []
        #: Those that curl does not get, and why; they end with the next turn.
        self._stillborn: list[tuple[_Transfer, str]] = []
        self._looked_at = self._clock.monotonic()
        #: By how many seconds an answer that ends now may have been here before; 0.0 is as good as none.
        self.late_by = 0.0

    def __repr__(self) -> str:
        return f"<Http: {len(self._transfers)} in flight>"

    def __len__(self) -> int:
        return len(self._transfers)

    def send(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Send a request; `done`, which must not raise, gets the answer in a later `turn`, always and once."""
        curl = self._idle.pop() if self._idle else self._new_curl()
        transfer = _Transfer(curl, done, self._clock.monotonic() + request.timeout + _OVERDUE)
        self._transfers[curl] = transfer
        try:
            curl.setopt(pycurl.URL, request.url)
            curl.setopt(pycurl.HTTPHEADER, [*request.headers, "Expect:"])
            curl.setopt(pycurl.POSTFIELDS, request.body)
            curl.setopt(pycurl.TIMEOUT_MS, int(request.timeout * 1000))
            curl.setopt(pycurl.WRITEFUNCTION, transfer.write)
            self._names.ask(self._route.proxy or request.url, lambda entry: self._go(transfer, entry))
        except Exception as error:  # noqa: BLE001 - whatever it is, `done` must be called
            self._stillborn.append((transfer, f"it cannot be sent ({type(error).__name__})"))

    def _go(self, transfer: _Transfer, entry: str | None) -> None:
        """The name is known, or is none that must be."""
        if self._transfers.get(transfer.curl) is not transfer:
            return  # given up meanwhile
        if entry is None:
            self._stillborn.append((transfer, "the name cannot be resolved"))
            return
        try:
            if entry:
                transfer.curl.setopt(pycurl.RESOLVE, [entry])
            self._multi.add_handle(transfer.curl)
        except pycurl.error as error:
            self._stillborn.append((transfer, f"it cannot be sent ({error})"))
            return
        transfer.is_curls = True
        self._curls += 1

    def turn(self, timeout: float, *, woken_by: int) -> bool:
        """Do what can be done, waiting for it up to `timeout` seconds or until descriptor `woken_by` is readable.

        Gives whether that is readable.
        """
        self._names.turn()
        stillborn, self._stillborn = self._stillborn, []
        for transfer, why in stillborn:
            if self._transfers.get(transfer.curl) is transfer:
                self._end(transfer, why, was_sent=False)
        if self._perform() or stillborn or self._stillborn:
            timeout = 0.0
        waiting = _poll()
        waiting.register(woken_by, _POLLIN)
        readable, writable, _ = self._multi.fdset()
        masks = dict.fromkeys(readable, _POLLIN)
        for descriptor in writable:
            masks[descriptor] = masks.get(descriptor, 0) | _POLLOUT
        for descriptor, mask in masks.items():
            waiting.register(descriptor, mask)
        if (curls := self._multi.timeout()) >= 0:
            timeout = min(timeout, curls / 1000)
        if self._curls and self._sockets.is_any_hidden:
            timeout = min(timeout, _BLIND_WAIT)
        timeout = max(0.0, timeout)
        ready = waiting.poll(timeout * 1000)
        self._perform(waited=timeout)
        return any(descriptor == woken_by for descriptor, _ in ready)

    def _perform(self, *, waited: float = 0.0) -> bool:
        """Move all transfers on, and connections to their end; whether any transfer ended.

        Args:
            waited: seconds that were to be waited since the last time.
        """
        now = self._clock.monotonic()
        since, self._looked_at = now - self._looked_at, now
        self.late_by = since if since > waited + _LATE else 0.0
        self._multi.perform()
        ended = 0
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                self._end(self._transfers[curl], None)
            for curl, number, text in bad:
                why = f"{_WORDS.get(number, 'curl')} ({text or number})"
                self._end(self._transfers[curl], why, was_sent=number not in _UNSENT)
            ended += len(good) + len(bad)
        return ended > 0

    def give_up_overdue(self) -> None:
        """End the requests that are long past their deadline: curl lost sight of them, or a name is still looked up."""
        now = self._clock.monotonic()
        for transfer in [transfer for transfer in self._transfers.values() if transfer.gives_up_at <= now]:
            why = "no answer in time" if transfer.is_curls else "the name server does not answer"
            self._end(transfer, why, was_sent=transfer.is_curls)

    def _end(self, transfer: _Transfer, failure: str | None, *, was_sent: bool = True) -> None:
        curl = transfer.curl
        del self._transfers[curl]
        answer = (
            Answer(0, b"", failure, was_sent) if failure else transfer.answer(int(curl.getinfo(pycurl.RESPONSE_CODE)))
        )
        if transfer.is_curls:
            self._multi.remove_handle(curl)
            self._curls -= 1
        if len(self._idle) < _KEPT:
            curl.setopt(pycurl.WRITEFUNCTION, _ignore)
            self._idle.append(curl)
        else:
            curl.close()
        transfer.done(answer)

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
        if self._route.proxy_user is not None:
            # Not in the URL: curl repeats that in what it says of its failures.
            curl.setopt(pycurl.PROXYUSERNAME, self._route.proxy_user[0])
            curl.setopt(pycurl.PROXYPASSWORD, self._route.proxy_user[1])
        if self._route.ca_bundle:
            curl.setopt(pycurl.CAINFO, self._route.ca_bundle)
            curl.setopt(pycurl.PROXY_CAINFO, self._route.ca_bundle)
        with contextlib.suppress(pycurl.error):  # a libcurl that has no such option keeps no bundle
            curl.setopt(_CA_CACHE_TIMEOUT, _KEEPS_BUNDLE)
        curl.setopt(pycurl.SOCKOPTFUNCTION, self._sockets.opened)
        return curl


def _ignore(chunk: bytes) -> int:
    return len(chunk)
