"""Delays: how long SQS is to hold a message back that is not due yet. Pure.

`countdown`, `eta` and `self.retry` write the time into the header `eta`. Stock transports send such a message at once,
and workers hold it; here SQS does, for as long as it can.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from celery.utils.time import maybe_iso8601

#: The longest DelaySeconds.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
LONGEST = 900


def seconds_until_due(headers: dict[str, Any], *, now: float) -> float:
    """Seconds from `now` (since the epoch) until the message's `eta`; 0 where it is due, has none or none that is one.

    A time without a zone is UTC, as Celery reads it, whatever its `timezone` is.
    """
    eta = headers.get("eta")
    if not isinstance(eta, str) or not eta:
        return 0.0
    try:
        due: dt.datetime = maybe_iso8601(eta)  # as Celery's workers read it
        return max(0.0, (due if due.tzinfo else due.replace(tzinfo=dt.UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0  # the worker says what is wrong with it


def delay(headers: dict[str, Any], *, now: float, longest: int = LONGEST) -> int | None:
    """The DelaySeconds to send it with: not less than it takes, so that it is due when it comes; None: none."""
    seconds = math.ceil(seconds_until_due(headers, now=now))
    return min(seconds, longest) if seconds > 0 else None
