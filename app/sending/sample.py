"""Realistic user events: the same for the same seed, on any machine and any Python."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FIRST_NAMES = (
    "Ada", "Alan", "Amara", "Anaïs", "Björn", "Chiara", "Dmitri", "Émile", "Fatima", "Grace", "Håkon", "Ines",
    "İpek", "Jürgen", "Katarzyna", "Łukasz", "María", "Nikola", "Noor", "Oluwaseun", "Priya", "Quentin", "Rosa",
    "Søren", "Tomáš", "Uma", "Władysław", "Xiulan", "Yusuf", "Zoë", "健太", "Олена",
)  # fmt: skip
LAST_NAMES = (
    "Abara", "Bergström", "Chen", "Díaz", "Eriksen", "Fournier", "García", "Hopper", "Ivanova", "Jansen", "Kowalski",
    "Lovelace", "Müller", "Novák", "O’Brien", "Peña", "Quispe", "Rossi", "Sánchez", "Tanaka", "Ünal", "Vega",
    "Weiß", "Xu", "Yıldız", "Zhou", "山田", "Шевченко",
)  # fmt: skip
STREETS = ("Rue de l’Église", "Hauptstraße", "Calle Mayor", "High Street", "Via Roma", "Storgatan", "Długa", "桜通り")
CITIES = (("Lyon", "FR"), ("Köln", "DE"), ("Málaga", "ES"), ("Leeds", "GB"), ("Forlì", "IT"), ("Malmö", "SE"),
          ("Łódź", "PL"), ("大阪", "JP"))  # fmt: skip
DOMAINS = ("example.com", "example.org", "example.net")
OPERATIONS = (("register", 40), ("update", 35), ("verify-mail", 12), ("disable", 8), ("delete", 5))
LANGUAGES = ("en", "de", "es", "fr", "ja", "pl", "sv", "uk")
GROUPS = ("customers", "editors", "partners", "staff", "trial", "überprüft")

_START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
_OPERATION_OF_A_HUNDRED = tuple(name for name, weight in OPERATIONS for _ in range(weight))


def events(*, seed: int = 0) -> Iterator[dict[str, Any]]:
    """User events without end; a longer run begins with the shorter one's.

    Args:
        seed: which of the many possible runs.
    """
    # Of Python's generator only `random()` is promised to give the same numbers in every version, so nothing else
    # of it is used (https://docs.python.org/3/library/random.html#notes-on-reproducibility).
    chance = Random(seed).random  # noqa: S311 - sample data, not a secret
    at = _START
    number = 0
    while True:
        number += 1
        at += timedelta(milliseconds=1 + int(chance() * 2000))
        yield _event(seed, number, at, chance)


def _event(seed: int, number: int, at: datetime, chance: Callable[[], float]) -> dict[str, Any]:
    def one_of(words: Sequence[Any]) -> Any:
        return words[int(chance() * len(words))]

    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    first, last = one_of(FIRST_NAMES), one_of(LAST_NAMES)
    username = f"user{digest[16]:03d}{digest[17]:03d}-{number}"
    operation = one_of(_OPERATION_OF_A_HUNDRED)
    city, country = one_of(CITIES)
    return {
        "id": str(uuid.UUID(bytes=digest[:16], version=4)),
        "operation": operation,
        "username": username,
        "name": f"{first} {last}",
        "mail": f"{username}@{one_of(DOMAINS)}",
        "enabled": operation not in {"disable", "delete"},
        "occurred_at": _iso(at),
        "created_at": _iso(at if operation == "register" else at - timedelta(days=1 + int(chance() * 900))),
        "profile": {
            "language": one_of(LANGUAGES),
            "groups": [group for group in GROUPS if chance() < 0.3],
            "address": {"street": f"{one_of(STREETS)} {1 + int(chance() * 180)}", "city": city, "country": country},
            "newsletter": chance() < 0.4,
        },
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_line(event: dict[str, Any]) -> bytes:
    """One event as a line of JSON Lines: UTF-8, its newline included."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
