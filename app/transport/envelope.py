"""The envelope: what is in a message's body. Kombu's JSON, whoever wrote it."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

from celery.utils.time import maybe_iso8601
from kombu.utils import json as kombu_json

from app.errors import UndecodableMessage

#: Encodings of the inner body that kombu knows; its Redis and SQS transports write base64, ours plain text.
_BODY_ENCODINGS = (None, "utf-8", "base64")


def encode(payload: dict[str, Any]) -> str:
    """The payload as an SQS message's body. What JSON has no word for, kombu writes as an object that says its type.

    Raises:
        TypeError: kombu has none for it either.
    """
    try:
        return json.dumps(payload)
    except TypeError:
        text: str = kombu_json.dumps(payload)
        return text


def decode(body: str) -> dict[str, Any]:
    """The kombu payload in an SQS message's body: `body`, `content-type`, `headers`, `properties`, ….

    Stock kombu wraps the whole envelope in base64 once more; such a body is read too, so that a running system can
    move over while old messages are still queued.

    Raises:
        UndecodableMessage: it is not an envelope; the reason names the fault and never the content.
    """
    text = body if body.lstrip()[:1] == "{" else _unwrap(body)
    return _checked(read(text))


def read(text: str) -> Any:
    """What a text of kombu's JSON says: a datetime, UUID, Decimal or bytes in it is one again.

    Raises:
        UndecodableMessage: it is no JSON, or has a value in it that is not of the type that it says.
    """
    try:
        return (kombu_json if '"__type__"' in text else json).loads(text)
    except MemoryError:
        raise  # nothing is wrong with it
    except Exception:  # noqa: BLE001 - a type is made of what the text says, and fails with whatever it likes
        raise UndecodableMessage("the body is not kombu's JSON") from None


def checked_body(body: Any) -> Any:
    """The decoded inner body, once it is seen to be the arguments of a task.

    Celery's protocol 2 has `[args, kwargs, embed]`; the older protocol has them by name. A wrong one would fail where
    no message is settled any more.

    Raises:
        UndecodableMessage: it is something else.
    """
    if isinstance(body, dict) and "args" in body:
        args, kwargs, embed = body["args"], body.get("kwargs", {}), None
    elif isinstance(body, list) and len(body) == 3:
        args, kwargs, embed = body
    else:
        raise UndecodableMessage("the inner body is neither [args, kwargs, embed] nor an object with args")
    if not (isinstance(args, list) and isinstance(kwargs, dict) and isinstance(embed, dict | None)):
        raise UndecodableMessage("a task's args must be a list, its kwargs an object")
    if isinstance(body, dict):
        _check_headers(body)
    return body


def _unwrap(body: str) -> str:
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        raise UndecodableMessage("the body is neither a JSON object nor base64 of one") from None


def _checked(payload: Any) -> dict[str, Any]:
    """The payload, once all that kombu and Celery take for granted of it is seen to be true."""
    if not isinstance(payload, dict) or "properties" not in payload:
        raise UndecodableMessage("the body is JSON, but no Celery message (it has no 'properties')")
    properties, headers = payload["properties"], payload.setdefault("headers", {})
    if not isinstance(properties, dict) or not isinstance(headers, dict):
        raise UndecodableMessage("'properties' and 'headers' must be objects")
    if not isinstance(properties.setdefault("delivery_info", {}), dict):
        raise UndecodableMessage("'delivery_info' must be an object")
    if not isinstance(payload.get("body"), str):
        raise UndecodableMessage("the inner 'body' must be a string")
    if properties.get("body_encoding") not in _BODY_ENCODINGS:
        raise UndecodableMessage("the 'body_encoding' is unknown")
    if not all(isinstance(payload.get(name), str | None) for name in ("content-type", "content-encoding")):
        raise UndecodableMessage("'content-type' and 'content-encoding' must be strings")
    _check_headers(headers)
    return payload


def _check_headers(headers: dict[str, Any]) -> None:
    """Refuse headers that would fail in the pool, where Celery has taken a place for the task and gives none back."""
    _straighten(headers)
    for name, kinds in _HEADERS.items():
        if name in headers and not isinstance(headers[name], kinds):
            raise UndecodableMessage(f"the header {name!r} is of the wrong kind")
    if "task" in headers and "id" not in headers:
        raise UndecodableMessage("the header 'id' is missing")
    if any(name in headers and headers[name] in _NO_TIMES for name in ("eta", "expires")):
        raise UndecodableMessage("the headers 'eta' and 'expires' must be times where they are there")
    if not is_near(headers.get("eta")):
        raise UndecodableMessage("the header 'eta' is out of all bounds")
    if not all(isinstance(name, str) for name in headers.get("stamped_headers") or ()):
        raise UndecodableMessage("the header 'stamped_headers' must be names")
    limits = headers.get("timelimit")
    if limits and not (len(limits) == 2 and all(_is_limit(limit) for limit in limits)):
        raise UndecodableMessage("the header 'timelimit' must be two numbers")


def _straighten(headers: dict[str, Any]) -> None:
    """Have ids be text, and time limits numbers: stock Celery sends and takes other kinds of both."""
    for name in _IDS:
        if type(headers.get(name)) in (int, uuid.UUID):
            headers[name] = str(headers[name])
    if isinstance(limits := headers.get("timelimit"), list):
        headers["timelimit"] = [_number(limit) for limit in limits]


def is_near(eta: str | None) -> bool:
    """Whether that time can be told in every time zone. Celery rejects one that cannot, and runs its task all the same.

    What is no time at all Celery refuses by itself.
    """
    try:
        return eta is None or dt.MINYEAR < maybe_iso8601(eta).year < dt.MAXYEAR
    except ValueError:
        return True


def _number(value: Any) -> Any:
    """The number that it says, or the value itself."""
    try:
        return float(value) if isinstance(value, str | Decimal) else value
    except ValueError:
        return value


def _is_limit(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= _LONGEST_LIMIT)


#: The headers that are ids.
_IDS = ("id", "root_id", "parent_id", "group")
#: What is false for Celery and not None, where it expects a time.
_NO_TIMES = ("", 0)
#: Seconds that a time limit may have: some thirty years.
_LONGEST_LIMIT = 1e9
#: What each header may be where it is there at all (Celery's message protocol 2).
_HEADERS: dict[str, Any] = {
    "task": str,
    "id": str,
    "root_id": str | None,
    "parent_id": str | None,
    "group": str | None,
    "shadow": str | None,
    "retries": int,
    "timelimit": list | None,
    "eta": str | None,
    "expires": str | int | float | None,
    "stamped_headers": list | None,
    "stamps": dict | None,
}
