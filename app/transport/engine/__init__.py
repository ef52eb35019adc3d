"""How calls get to SQS: one thread beside the worker's own, with many requests in flight, each with its deadline.

    engine -> calls (SQS's JSON protocol) -> account (botocore's signature) -> http (curl) -> names (addresses)

`Engine` is what the rest of the transport uses.
"""

from __future__ import annotations

from app.transport.engine.calls import MARGIN, Failure, Kind, failure_of, not_understood
from app.transport.engine.engine import Engine, Timer

__all__ = ["MARGIN", "Engine", "Failure", "Kind", "Timer", "failure_of", "not_understood"]
