"""What is wrong with the settings, said so that it can be put right, and without giving a secret away."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_SHOWN = 200
_HARMLESS_PATH = re.compile(r"[A-Za-z0-9_./-]*")
_CANNOT_BE_SECRET = re.compile(r"[0-9.]{1,6}|true|false|yes|no|on|off", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: whose value, which value (already fit to be shown), what is wrong, what to do."""

    name: str
    value: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}" if self.value is None else f"{self.name}={self.value!r}: {self.text}"


class SettingsError(ValueError):
    """The settings do not hold: one problem per line, `NAME='value': what is wrong; what to do`.

    Attributes:
        problems: the same, one by one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def masked(url: str) -> str:
    """A URL without what may be secret in it: user, password, query, fragment; for logs and reports.

    Of what does not parse as a URL only the scheme is left: a slip in writing must not print the password.
    """
    scheme, found, rest = url.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "***"
    nothing_sure = f"{scheme}://***"
    try:
        parts = urlsplit(f"http://{rest}")  # read every scheme by the rules of the best known one
        port = parts.port  # raises on what is no port, such as a password whose host was forgotten
    except ValueError:
        return nothing_sure
    _credentials, at, place = parts.netloc.rpartition("@")
    # A slash, question mark or hash inside a password moves the rest of it, and the @, behind the host.
    if "@" in parts.path + parts.query + parts.fragment or (port is not None and not parts.hostname):
        return nothing_sure
    path = parts.path if _HARMLESS_PATH.fullmatch(parts.path) else "/***"
    query = "?***" if parts.query else ""
    fragment = "#***" if parts.fragment else ""
    return f"{scheme}://{'***@' if at else ''}{place}{path}{query}{fragment}"


def shown(value: object, *, secret: bool = False) -> str:
    """A value as an error may show it: URLs masked, secrets masked whatever they look like, cut when long."""
    text = str(value)
    if secret or "://" in text or "@" in text:
        text = masked(text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def shown_of_unknown(value: str) -> str:
    """The value of a name that we do not know, which may be a misspelt password: shown only if it cannot be one."""
    return value if _CANNOT_BE_SECRET.fullmatch(value) else "***"
