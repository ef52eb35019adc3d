"""Signature Version 4: what a request's signature is of, and what it must be.

Written from AWS's description and not from an SDK, so that an SDK is measured by something other than itself:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.testing.http import Request

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"


class Scope(NamedTuple):
    """Whose signature it is, and for what: the `Credential` of an Authorization header."""

    key_id: str
    date: str
    region: str
    service: str
    terminator: str

    def __str__(self) -> str:
        """What is signed of it: all but whose it is."""
        return "/".join(self[1:])


def canonical_request(request: Request, signed_headers: Sequence[str]) -> str:
    """The request, written as both sides write it; a signed header that is not there counts as empty."""
    path, _, query = request.target.partition("?")
    headers = (f"{name}:{' '.join(request.header(name.encode()).split())}\n" for name in signed_headers)
    return "\n".join(
        (
            request.method,
            _path(path),
            _query(query),
            "".join(headers),
            ";".join(signed_headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def string_to_sign(canonical: str, *, signed_at: str, scope: Scope) -> str:
    """What the signature is of. `signed_at` is as in X-Amz-Date: `20260102T030405Z`."""
    # Latin-1, as Request reads headers: so the bytes are those of the wire.
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return "\n".join((ALGORITHM, signed_at, str(scope), digest))


def signature(text: str, *, secret: str, scope: Scope) -> str:
    """The signature of a string to sign, in hexadecimal."""
    key = f"AWS4{secret}".encode()
    for part in scope[1:]:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _path(path: str) -> str:
    """Without dot segments and doubled slashes; encoded once more than it came, as all services but S3 have it."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in {"", "."}:
            kept.append(quote(part, safe="~", encoding="latin-1"))
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _query(query: str) -> str:
    pairs = (item.partition("=") for item in query.split("&") if item)
    encoded = ((quote(unquote(name), safe="~"), quote(unquote(value), safe="~")) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))
