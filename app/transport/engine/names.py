"""Host names, looked up beside curl: its resolver's threads outlive the lookup, and no fork could wait for them.

A name's addresses are used for a minute. Then they are asked for anew, in a thread that ends with the answer, while
the old ones stay in use; they stay as long as the name server does not answer.
"""

from __future__ import annotations

import contextlib
import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gevent.monkey import get_original

from app.clock import Clock, SystemClock
from app.transport.engine.errand import run_errand

if TYPE_CHECKING:
    from collections.abc import Callable

_getaddrinfo = get_original("socket", "getaddrinfo")
_SOCK_STREAM = get_original("socket", "SOCK_STREAM")

#: Seconds for which addresses are taken as they are. AWS's own records live for a minute.
_FRESH = 60.0
#: Seconds until a name that could not be found is asked for again.
_TRY_AGAIN = 1.0
#: Addresses tried of one name.
_MOST = 8


class _Name:
    """What is known of one host and port."""

    def __init__(self) -> None:
        self.entry: str | None = None
        self.asked_at = float("-inf")
        self.waiting: list[Callable[[str | None], None]] = []
        self.is_asked = False
        #: The newest lookup's result, put here by its thread: addresses, or none.
        self.found: list[tuple[str, ...]] = []


class Names:
    """The addresses of host names. Not thread-safe: all calls come from one thread, which calls `turn` now and then.

    Args:
        look_up: host and port to addresses; may block, may raise OSError.
        wake: called from another thread when a lookup is over.
    """

    def __init__(
        self,
        *,
        look_up: Callable[[str, int], tuple[str, ...]] | None = None,
        wake: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._look_up = look_up or _addresses
        self._wake = wake
        self._clock = clock or SystemClock()
        self._known: dict[tuple[str, int], _Name] = {}

    def ask(self, url: str, then: Callable[[str | None], None]) -> None:
        """Call `then` with curl's RESOLVE entry for the URL's host, now or in a later `turn`.

        An empty one: there is nothing to tell curl, since the host is an address or this machine. None: the name cannot
        be found.
        """
        key = _name_in(url)
        if key is None:
            then("")
            return
        name = self._known.setdefault(key, _Name())
        pause = _FRESH if name.entry else _TRY_AGAIN
        if not name.is_asked and self._clock.monotonic() - name.asked_at >= pause:
            self._start(key, name)
        if name.entry is None and name.is_asked:
            name.waiting.append(then)
        else:
            then(name.entry)

    def turn(self) -> None:
        """Take in the lookups that are over."""
        for (host, port), name in list(self._known.items()):
            if not name.found:
                continue
            name.is_asked = False
            if addresses := name.found.pop():
                listed = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
                name.entry = f"{host}:{port}:{listed}"
            waiting, name.waiting = name.waiting, []
            for then in waiting:
                then(name.entry)

    def _start(self, key: tuple[str, int], name: _Name) -> None:
        def run() -> None:
            found: tuple[str, ...] = ()
            try:
                with contextlib.suppress(OSError, UnicodeError):
                    found = self._look_up(*key)
            finally:
                name.found.append(found)
                self._wake()

        name.asked_at = self._clock.monotonic()
        name.is_asked = run_errand(run, name=f"look up {key[0]}")


def _addresses(host: str, port: int) -> tuple[str, ...]:
    found = _getaddrinfo(host, port, type=_SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))[:_MOST]


@lru_cache(maxsize=64)
def _name_in(url: str) -> tuple[str, int] | None:
    """The host name and port to be looked up; None: the host is an address or this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("", "localhost"):
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host, parts.port or (80 if parts.scheme == "http" else 443)
    return None
