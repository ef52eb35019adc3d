"""The sockets of a process's requests, of which a child that is forked lets go.

They are the parent's. A child that ended its copy of a TLS connection, if only by collecting garbage, would say
good-bye to the server in the parent's name; and while it holds one, the server does not see that the parent closed it.
"""

from __future__ import annotations

import os
from weakref import WeakSet

import pycurl

#: Descriptors below this are in the sets of bits that `fdset` fills.
_SHOWN = 1_024


class Sockets:
    """What curl has opened. Its `opened` is curl's SOCKOPTFUNCTION."""

    def __init__(self) -> None:
        #: By descriptor the inode, since the number of one that was closed is given to others.
        self._inodes: dict[int, int] = {}
        #: Whether there was one that curl's `fdset` does not show: it shows none above 1,023.
        self.is_any_hidden = False
        _all.add(self)

    def opened(self, descriptor: int, _purpose: int) -> int:
        """Take note of a new one."""
        self.is_any_hidden |= descriptor >= _SHOWN
        self._inodes[descriptor] = os.fstat(descriptor).st_ino
        return int(pycurl.SOCKOPT_OK)

    def let_go(self) -> None:
        """In a forked child: have curl's copies lead nowhere. They stay open, so that their numbers stay curl's."""
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor, inode in self._inodes.items():
            try:
                is_ours = os.fstat(descriptor).st_ino == inode
            except OSError:
                continue  # it is closed
            if is_ours:
                os.dup2(nowhere, descriptor, inheritable=False)
        os.close(nowhere)
        self._inodes.clear()


_all: WeakSet[Sockets] = WeakSet()


def _let_go_in_child() -> None:
    for sockets in _all:
        sockets.let_go()


os.register_at_fork(after_in_child=_let_go_in_child)
