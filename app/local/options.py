"""What the user asked `up` for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLACES = {"prefork": 8, "gevent": 50, "threads": 16, "solo": 1}
"""How many tasks run at once in each pool, unless told otherwise: for a service that takes 20 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All of `up`'s options; `celery -A app up --help` explains them."""

    events: int = 20_000
    seed: int = 0
    pool: str = "prefork"
    concurrency: int | None = None
    workers: int = 1
    until_drained: bool = False
    deadline: float = 3600.0
    latency: float = 20.0
    error_rate: float = 0.0
    slow_rate: float = 0.0
    rate_limit: float | None = None
    round_trip: float = 0.0
    visibility_timeout: int | None = None
    flower: bool = True
    flower_address: str = "127.0.0.1"
    flower_port: int = 5555
    logs: Path | None = None

    @property
    def places(self) -> int:
        """Tasks that one worker runs at once."""
        return self.concurrency or PLACES[self.pool]
