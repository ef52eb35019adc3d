"""An example of the service behind the queue: takes events, as slow, fragile and rate-limited as it is told to be.

    POST /events     a JSON object with an `id`; 201, or 503 and 500 at the error rate, or 429 with Retry-After
    GET  /ids        the ids that were answered 2xx, as a JSON list with one id a line
    GET  /stats      counts
    POST /reset      forget ids and counts
    GET  /settings   how it behaves; POST a JSON object with some of the same names to change that

An event counts as arrived when its 201 is written: a client that left while it waited was not answered.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from random import Random
from typing import TYPE_CHECKING, Any

from app.clock import SystemClock
from app.resilience.token_bucket import TokenBucket
from app.testing.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.clock import Clock
    from app.testing.http import Request

MAX_ID = 256
"""Characters of an event's id."""
MAX_IDS = 5_000_000
"""Ids that are remembered; an event beyond is answered 507."""

_INTERNAL_ERROR_SHARE = 0.2  # of the errors: 500s, the others are 503s


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the service behaves.

    Raises:
        ValueError: a value that makes no sense; the sentence names it.
    """

    #: Milliseconds until the answer to an event.
    latency_ms: float = 0.0
    #: The share of events (0 to 1) that takes `slow_latency_ms` instead.
    slow_rate: float = 0.0
    #: Milliseconds until the answer to a slow one.
    slow_latency_ms: float = 1000.0
    #: The share of events (0 to 1) that is answered 503, or 500 one time in five, and not taken.
    error_rate: float = 0.0
    #: Events a second, one second's worth at once; more are answered 429 at once. 0: no limit.
    rate_limit: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} must be a number of 0 or more, not {value!r}")
            if field.name in {"slow_rate", "error_rate"} and value > 1:
                raise ValueError(f"{field.name} is a share between 0 and 1, not {value!r}")


@dataclass(slots=True)
class Counts:
    """What happened so far: each of the `requests` to /events is counted in one of the next five once it has ended."""

    requests: int = 0
    #: Answered 201, a duplicate included.
    accepted: int = 0
    #: Answered 500 or 503, as told.
    errors: int = 0
    #: Answered 429.
    limited: int = 0
    #: Answered 400, 405 or 507: nothing that could be taken.
    refused: int = 0
    #: Not answered: the client left first.
    abandoned: int = 0
    #: Accepted although the id had been accepted before.
    duplicates: int = 0


class Downstream:
    """The service, as a handler for `app.testing.http.HTTPServer`.

    Args:
        behaviour: how slow, fragile and limited it is.
        seed: makes the sequence of slow answers and errors the same again; by default it differs.
        clock: what the rate limit reads.
    """

    def __init__(
        self, behaviour: Behaviour | None = None, *, seed: int | None = None, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._random = Random(seed)  # noqa: S311 - chance, not secrecy
        self.counts = Counts()
        self.ids: dict[str, None] = {}  # a set that keeps the order of arrival
        self.behave(behaviour or Behaviour())

    def behave(self, behaviour: Behaviour) -> None:
        """Behave like this from now on; what is waiting for its answer is answered as it was decided."""
        self.behaviour = behaviour
        limit = behaviour.rate_limit
        self._bucket = TokenBucket(limit, burst=max(1.0, limit), now=self._clock.monotonic()) if limit else None

    def reset(self) -> None:
        """Forget ids and counts."""
        self.counts = Counts()
        self.ids = {}

    def stats(self) -> dict[str, int]:
        """The counts, and how many different ids have arrived."""
        return {**asdict(self.counts), "distinct_ids": len(self.ids)}

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one request."""
        path = request.target.partition("?")[0]
        if path == "/events":
            return self._event(request)
        return self._beside(request.method, path, request.body)

    # --- events: decide, wait, answer

    def _event(self, request: Request) -> Response | Awaitable[Response]:
        self.counts.requests += 1
        if request.method != "POST":
            self.counts.refused += 1
            return _problem(405, "events are POSTed", ("Allow", "POST"))
        if self._bucket is not None and (wait := self._bucket.take(1, now=self._clock.monotonic())):
            self.counts.limited += 1
            return _problem(429, "too many events", ("Retry-After", str(math.ceil(wait))))
        event_id = _id_of(request.body)
        if event_id is None:
            self.counts.refused += 1
            return _problem(400, f"an event is a JSON object with an id, a string of 1 to {MAX_ID} characters")
        status, latency = self.decide()
        if latency <= 0:
            return self._answer(request, event_id, status)
        # A timer, not a task: it costs a tenth, and the loop serves the others meanwhile.
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()
        loop.call_later(latency, self._answer_later, answer, request, event_id, status)
        return answer

    def decide(self) -> tuple[int, float]:
        """By chance: the status of the next answer, and the seconds until it."""
        # Both dice are cast every time, so that one rate's setting does not shift the other's sequence.
        slow, error = self._random.random(), self._random.random()
        told = self.behaviour
        latency = told.slow_latency_ms if slow < told.slow_rate else told.latency_ms
        if error >= told.error_rate:
            return 201, latency / 1000
        return (500 if error < told.error_rate * _INTERNAL_ERROR_SHARE else 503), latency / 1000

    def _answer_later(self, answer: asyncio.Future[Response], request: Request, event_id: str, status: int) -> None:
        if not answer.done():
            answer.set_result(self._answer(request, event_id, status))

    def _answer(self, request: Request, event_id: str, status: int) -> Response:
        counts = self.counts
        if request.is_gone:
            counts.abandoned += 1
        elif status != 201:
            counts.errors += 1
            return _problem(status, "this happens, as it was told to")
        elif event_id not in self.ids and len(self.ids) >= MAX_IDS:
            counts.refused += 1
            return _problem(507, f"{MAX_IDS} ids are remembered and no more: POST /reset")
        else:
            counts.accepted += 1
            counts.duplicates += event_id in self.ids
            self.ids[event_id] = None
        return _TAKEN  # to who has gone it is not sent

    # --- beside the events: what happened, and how to behave

    def _beside(self, method: str, path: str, body: bytes) -> Response:
        pages: dict[tuple[str, str], Callable[[], Response]] = {
            ("GET", "/"): lambda: Response(200, (__doc__ or "").encode(), content_type="text/plain; charset=utf-8"),
            ("GET", "/stats"): lambda: _json(self.stats()),
            ("GET", "/ids"): lambda: Response(200, json.dumps(list(self.ids), separators=(",\n", ":")).encode()),
            ("GET", "/settings"): lambda: _json(asdict(self.behaviour)),
            ("POST", "/settings"): lambda: self._change(body),
            ("POST", "/reset"): self._reset,
        }
        page = pages.get((method, path))
        return page() if page else _problem(404, "GET / says what there is")

    def _reset(self) -> Response:
        self.reset()
        return Response(204)

    def _change(self, body: bytes) -> Response:
        try:
            changes = json.loads(body)
            self.behave(replace(self.behaviour, **changes))
        except (TypeError, ValueError) as error:
            names = ", ".join(field.name for field in fields(Behaviour))
            return _problem(400, f"a JSON object with some of {names} is wanted: {error}")
        return _json(asdict(self.behaviour))


def _id_of(body: bytes) -> str | None:
    try:
        event: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    event_id = event.get("id") if isinstance(event, dict) else None
    return event_id if isinstance(event_id, str) and 0 < len(event_id) <= MAX_ID else None


_TAKEN = Response(201)


def _json(value: Any) -> Response:
    return Response(200, json.dumps(value).encode() + b"\n")


def _problem(status: int, message: str, *headers: tuple[str, str]) -> Response:
    return Response(status, json.dumps({"message": message}).encode() + b"\n", headers=headers)
