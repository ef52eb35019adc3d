"""A certificate authority for tests, and a server's certificate from it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names that every certificate is for."""
CA_FILE = "ca.pem"
_KEY_FILE = "ca-key.pem"


class NotInstalled(Exception):
    """The library that makes certificates is not there; the message says what to do."""


def server_context(folder: Path, *names: str) -> ssl.SSLContext:
    """What a server needs to speak TLS on loopback, and under these names too.

    The authority is made when the folder has none, else used again, so that clients which trust `ca.pem` go on doing
    so when the server starts anew. `NotInstalled` without trustme, `OSError` or `ValueError` if the folder or what is
    in it cannot be used.
    """
    try:
        import trustme  # noqa: PLC0415 - only who wants TLS needs it, and it takes a while
    except ImportError:
        raise NotInstalled("TLS needs trustme: pip install trustme, or install locks/local.txt") from None
    certificate, key = folder / CA_FILE, folder / _KEY_FILE
    if certificate.exists():
        authority = trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    else:
        authority = trustme.CA(organization_name="Sluice's tests")
        folder.mkdir(parents=True, exist_ok=True)
        key.touch(mode=0o600)
        authority.private_key_pem.write_to_path(str(key))
        authority.cert_pem.write_to_path(str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*dict.fromkeys((*LOOPBACK, *names))).configure_cert(context)
    return context
