"""Message in, ack out: kombu's SQS transport, thinned to its verbs, with receiving and settling in parts of our own.

`Transport` is what kombu loads. Nothing here reads settings: what it needs comes as kombu's transport options,
described in `app.transport.options`.
"""

from __future__ import annotations

from app.transport.transport import Transport

__all__ = ["Transport"]
