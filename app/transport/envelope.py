"""The envelope: what is in a message's body. Kombu's JSON, whoever wrote it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from app.errors import UndecodableMessage

#: Encodings of the inner body that kombu knows; its Redis and SQS transports write base64, ours plain text.
_BODY_ENCODINGS = (None, "utf-8", "base64")


def decode(body: str) -> dict[str, Any]:
    """The kombu payload in an SQS message's body: `body`, `content-type`, `headers`, `properties`, ….

    Stock kombu wraps the whole envelope in base64 once more; such a body is read too, so that a running system can
    move over while old messages are still queued.

    Raises:
        UndecodableMessage: it is not an envelope; the reason names the fault and never the content.
    """
    text = body if body.lstrip()[:1] == "{" else _unwrap(body)
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        raise UndecodableMessage("the body is not JSON") from None
    return _checked(payload)


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
    return payload
