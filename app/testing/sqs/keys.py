"""The access keys that a strict server knows: the one it was started with, and those that it issued."""

from __future__ import annotations

import base64
import math
import string
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

MAX_KEYS = 10_000
"""Keys that can be issued until they are forgotten by a reset."""
USUAL_SECONDS = 3600.0
"""How long issued credentials last when nobody says: an hour, as those of an assumed role do.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
_ID_LETTERS = string.ascii_uppercase + "234567"


@dataclass(slots=True)
class AccessKey:
    """An access key. Its secret and token are in no `repr`.

    Args:
        id: `AKIA…` when it stays, `ASIA…` when it is temporary.
        secret: what requests are signed with.
        session_token: what a temporary key's requests carry beside the signature; `None` for a key that stays.
        expires_at: seconds since the epoch by the server's clock; `None` for never.
        is_revoked: whether it was taken back.
    """

    id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    is_revoked: bool = False

    @classmethod
    def parse(cls, text: str) -> AccessKey:
        """Read `ID:SECRET`; `ValueError` if it is not that."""
        key_id, _, secret = text.partition(":")
        if not key_id.isalnum() or not secret:
            raise ValueError("an access key is its id (letters and digits), a colon and its secret: ID:SECRET")
        return cls(key_id, secret)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which an SDK finds this key."""
        found = {"AWS_ACCESS_KEY_ID": self.id, "AWS_SECRET_ACCESS_KEY": self.secret}
        return found if self.session_token is None else {**found, "AWS_SESSION_TOKEN": self.session_token}

    def as_dict(self) -> dict[str, Any]:
        """For JSON, secrets included."""
        return asdict(self)


EXAMPLE_KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
"""The key that AWS's documentation uses in its examples; nobody's, and no scanner takes it for a leak.
https://docs.aws.amazon.com/IAM/latest/UserGuide/security-creds-programmatic-access.html"""


class Keys:
    """The keys there are.

    Args:
        first: the key that is there from the beginning.
        random_source: where ids, secrets and tokens come from; nothing here protects anything.
    """

    def __init__(self, first: AccessKey, *, random_source: random.Random) -> None:
        self._random = random_source
        self._by_id = {first.id: AccessKey(first.id, first.secret, first.session_token)}

    def find(self, key_id: str) -> AccessKey | None:
        """The key with this id, also when it has expired or was revoked."""
        return self._by_id.get(key_id)

    def known(self, key_id: Any) -> AccessKey:
        """The key with this id; `ValueError` if there is none."""
        key = self._by_id.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise ValueError(f"there is no access key {key_id!r}")
        return key

    def __iter__(self) -> Any:
        return iter(self._by_id.values())

    def issue(self, now: float, seconds: float | None = USUAL_SECONDS) -> AccessKey:
        """A new temporary key that lasts so many seconds, or with `None` one that stays."""
        if len(self._by_id) >= MAX_KEYS:
            raise ValueError(f"{MAX_KEYS} keys were issued: reset the server to forget them")
        if seconds is None:
            key = AccessKey(self._id("AKIA"), self._text(30))
        elif 0 < seconds < math.inf:
            key = AccessKey(self._id("ASIA"), self._text(30), self._text(360), now + seconds)
        else:
            raise ValueError(f"credentials last more than 0 seconds, not {seconds}")
        self._by_id[key.id] = key
        return key

    def _id(self, prefix: str) -> str:
        return prefix + "".join(self._random.choices(_ID_LETTERS, k=16))

    def _text(self, size: int) -> str:
        return base64.b64encode(self._random.randbytes(size)).decode()
