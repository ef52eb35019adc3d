"""Task ids that a line has by itself, so that sending it again is sending the same."""

from __future__ import annotations

import hashlib
import uuid

NAMESPACE = uuid.UUID("6f0a2f3e-6a0d-5f0e-9a53-2f9f0c1b7a44")
"""The namespace of our version 5 UUIDs (RFC 9562, 5.5). Never to change: ids on record would."""


def task_id(run_id: str, number: int, content: bytes) -> uuid.UUID:
    """The id of a line's task: by the run, the line's number and what is in it; the same text twice has two ids."""
    # What uuid.uuid5 does, which takes bytes only from Python 3.12 on.
    name = b"%s\n%d\n%s" % (run_id.encode(), number, content)
    digest = hashlib.sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()
    return uuid.UUID(bytes=digest[:16], version=5)
