"""The server's own endpoint, `/_sluice/…`: what is going on, and everything that can be turned at run time.

GET    /_sluice/health
GET    /_sluice/queues                   visible, in flight, delayed and waiting polls of each queue
GET    /_sluice/stats                    the same, with the counts of every call, the clock, the faults
GET    /_sluice/clock      POST          {"set": epoch} | {"advance": seconds} | {"speed": factor}
GET    /_sluice/settings   POST          {"round_trip": s, "jitter": s, "short_receives": bool, "clock_skew": s}
GET    /_sluice/faults     POST, DELETE  a fault's description gives {"number": n}; DELETE with ?number=n, or all
POST   /_sluice/fill                     {"queue": name, "count": n, "body": "… {n} …"}
GET    /_sluice/keys       POST          {"seconds": n} gives a temporary key, {"seconds": null} one that stays
POST   /_sluice/keys/expire              {"id": key id}: its session is over now
POST   /_sluice/keys/revoke              {"id": key id}: it is taken back
POST   /_sluice/actions/NAME             an SQS action that need not be signed; its parameters, its answer
POST   /_sluice/counts                   counts begin again
POST   /_sluice/reset                    no queues, faults or counts; settings and clock as they were started with
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from app.testing.http import Request, Response
from app.testing.sqs.errors import SQSError
from app.testing.sqs.faults import Fault
from app.testing.sqs.keys import USUAL_SECONDS, Keys
from app.testing.sqs.message import draft

if TYPE_CHECKING:
    from app.testing.sqs.server import SQSServer

_FILLED_AT_ONCE = 5_000
MAX_FILL = 10_000_000
"""Messages that one `fill` makes at most."""


class Admin:
    """Answers `/_sluice/…` for one server."""

    def __init__(self, server: SQSServer) -> None:
        self._server = server
        self._started_with = (
            server.round_trip,
            server.jitter,
            server.short_receives,
            server.clock.speed,
        )
        self._routes = {
            ("GET", "health"): self._health,
            ("GET", "queues"): self._queues,
            ("GET", "stats"): self._stats,
            ("GET", "clock"): self._clock,
            ("POST", "clock"): self._set_clock,
            ("GET", "settings"): self._settings,
            ("POST", "settings"): self._set_settings,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._add_fault,
            ("GET", "keys"): self._list_keys,
            ("POST", "keys"): self._issue_key,
            ("POST", "keys/expire"): self._expire_key,
            ("POST", "keys/revoke"): self._revoke_key,
            ("POST", "counts"): self._clear_counts,
            ("POST", "reset"): self._reset,
        }

    def handle(self, request: Request) -> Any:
        """Answer one request."""
        parts = urlsplit(request.target)
        name = parts.path.removeprefix("/_sluice/").strip("/")
        action = name.removeprefix("actions/")
        if (request.method, name) == ("POST", f"actions/{action}") and action in self._server.actions.names:
            return self._server.call(request, action)
        try:
            values = _object(request.body)
            if (request.method, name) == ("DELETE", "faults"):
                return self._remove_faults(parse_qs(parts.query).get("number", []))
            if (request.method, name) == ("POST", "fill"):
                return self._fill(values)
            route = self._routes.get((request.method, name))
            if route is None:
                return _json({"error": f"there is no {request.method} {parts.path}"}, 404)
            return _json(route(values))
        except (SQSError, TypeError, ValueError) as error:
            return _json({"error": str(error)}, 400)

    def _health(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"status": "ok", "region": self._server.region, "account_id": self._server.account_id}

    def _queues(self, _: dict[str, Any]) -> dict[str, Any]:
        now = self._server.clock.time()
        polls = self._server.waiting_by_queue()
        rows = {}
        for name, queue in sorted(self._server.account.queues.items()):
            queue.advance(now)
            rows[name] = {
                "visible": queue.visible,
                "in_flight": queue.in_flight,
                "delayed": queue.delayed,
                "waiting_polls": polls.get(name, 0),
            }
        return {"queues": rows}

    def _stats(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            **self._queues({}),
            "counts": self._server.counts.as_dict(),
            "connections": self._server.http.connections,
            "clock": self._clock({}),
            "settings": self._settings({}),
            **self._faults({}),
        }

    def _clock(self, _: dict[str, Any]) -> dict[str, float]:
        return {"time": self._server.clock.time(), "speed": self._server.clock.speed}

    def _set_clock(self, values: dict[str, Any]) -> dict[str, float]:
        clock = self._server.clock
        numbers = _numbers(values, {"set", "advance", "speed"})
        if "speed" in numbers:
            clock.speed = numbers["speed"]
        if "set" in numbers:
            clock.set(numbers["set"])
        if "advance" in numbers:
            clock.advance(numbers["advance"])
        self._server.clock_changed()
        return self._clock({})

    def _settings(self, _: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        return {
            "round_trip": server.round_trip,
            "jitter": server.jitter,
            "short_receives": server.short_receives,
            "clock_skew": server.clock_skew,
        }

    def _set_settings(self, values: dict[str, Any]) -> dict[str, Any]:
        values = dict(values)
        short = values.pop("short_receives", self._server.short_receives)
        if not isinstance(short, bool):
            raise TypeError(f"short_receives is true or false, not {short!r}")
        numbers = _numbers(values, {"round_trip", "jitter", "clock_skew"})
        if min(numbers.get("round_trip", 0), numbers.get("jitter", 0)) < 0:
            raise ValueError("round_trip and jitter are seconds, 0 or more")
        self._server.short_receives = short
        self._server.round_trip = numbers.get("round_trip", self._server.round_trip)
        self._server.jitter = numbers.get("jitter", self._server.jitter)
        self._server.clock_skew = numbers.get("clock_skew", self._server.clock_skew)
        return self._settings({})

    def _faults(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "faults": [
                {"number": active.number, "hits": active.hits, **active.fault.as_dict()}
                for active in self._server.faults.active()
            ]
        }

    def _add_fault(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"number": self._server.faults.add(Fault.from_dict(values))}

    def _remove_faults(self, numbers: list[str]) -> Response:
        if not numbers:
            self._server.faults.clear()
        for number in numbers:
            self._server.faults.remove(int(number))
        return _json(self._faults({}))

    @property
    def _keys(self) -> Keys:
        if self._server.authentication is None:
            raise ValueError("this server asks for no keys: start it with --strict")
        return self._server.authentication.keys

    def _list_keys(self, _: dict[str, Any]) -> dict[str, Any]:
        rows = [{"id": key.id, "expires_at": key.expires_at, "is_revoked": key.is_revoked} for key in self._keys]
        return {"keys": rows}

    def _issue_key(self, values: dict[str, Any]) -> dict[str, Any]:
        seconds = values.get("seconds", USUAL_SECONDS)
        if seconds is not None:
            seconds = _numbers({"seconds": seconds}, {"seconds"})["seconds"]
        return self._keys.issue(self._server.clock.time(), seconds).as_dict()

    def _expire_key(self, values: dict[str, Any]) -> dict[str, Any]:
        key = self._keys.known(values.get("id"))
        if key.expires_at is None:
            raise ValueError(f"the access key {key.id} is not a temporary one: it can be revoked")
        key.expires_at = min(key.expires_at, self._server.clock.time())
        return {}

    def _revoke_key(self, values: dict[str, Any]) -> dict[str, Any]:
        self._keys.known(values.get("id")).is_revoked = True
        return {}

    def _clear_counts(self, _: dict[str, Any]) -> dict[str, Any]:
        self._server.counts.clear()
        return {}

    def _reset(self, values: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        seed = values.get("seed")
        if seed is not None and not isinstance(seed, int):
            raise TypeError(f"a seed is a whole number, not {seed!r}")
        server.round_trip, server.jitter, server.short_receives, speed = self._started_with
        server.clock.reset(speed=speed)
        server.reset(seed=seed)
        return {}

    async def _fill(self, values: dict[str, Any]) -> Response:
        try:
            return _json({"filled": await self._filled(values)})
        except (SQSError, TypeError, ValueError) as error:
            return _json({"error": str(error)}, 400)

    async def _filled(self, values: dict[str, Any]) -> int:
        if unknown := sorted(set(values) - {"queue", "count", "body"}):
            raise ValueError(f"fill takes queue, count and body, not {unknown[0]}")
        queue = self._server.account.queue(str(values.get("queue")))
        count, body = values.get("count"), values.get("body", '{"n": {n}}')
        if not isinstance(count, int) or not 0 < count <= MAX_FILL:
            raise ValueError(f"fill needs a count of 1 to {MAX_FILL}, not {count!r}")
        if not isinstance(body, str) or not body:
            raise TypeError("fill's body is text; {n} in it becomes the message's number")
        same = None if "{n}" in body else draft({"MessageBody": body})
        for first in range(0, count, _FILLED_AT_ONCE):
            now = self._server.clock.time()
            for n in range(first, min(count, first + _FILLED_AT_ONCE)):
                queue.send(now, same or draft({"MessageBody": body.replace("{n}", str(n))}))
            self._server.changed(queue)
            await asyncio.sleep(0)  # others are served in between
        return count


def _object(body: bytes) -> dict[str, Any]:
    values = json.loads(body) if body else {}
    if not isinstance(values, dict):
        raise TypeError("the body is not a JSON object")
    return values


def _numbers(values: dict[str, Any], known: set[str]) -> dict[str, float]:
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"'{name}' is not one of {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError(f"{name} is a number, not {value!r}")
    return {name: float(value) for name, value in values.items()}


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode())
