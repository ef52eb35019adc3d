"""The crowd: why nothing comes, where that is because as many messages are in flight as SQS allows.

A short poll is then answered with OverLimit, a long one as if the queue were empty. So the queue is asked how many
there are: once when receives have been empty for a minute, and again every minute only while there are so many.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from app.transport.engine import Failure

if TYPE_CHECKING:
    from app.transport.engine import Engine

logger = logging.getLogger(__name__)

#: Messages of a standard queue that may be in flight, over all its consumers.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_ALLOWED = 120_000
#: The part of them from which on it may be the reason; SQS counts roughly.
_MANY = 0.95
#: Seconds of empty receives before the queue is asked, and between two questions.
_PATIENCE = 60.0
_COUNT = "ApproximateNumberOfMessagesNotVisible"


class Crowd:
    """What one queue's empty receives mean. Belongs to the engine's thread.

    Args:
        queue: the queue's name, for the log.
        engine: makes the call.
    """

    def __init__(self, queue: str, *, engine: Engine) -> None:
        self._queue = queue
        self._engine = engine
        #: When to ask; None: not before messages have come again.
        self._asks_at: float | None = engine.clock.monotonic() + _PATIENCE
        self._is_told = False

    def received(self, url: str, count: int) -> None:
        """A receive has brought so many messages."""
        now = self._engine.clock.monotonic()
        if count:
            self._asks_at, self._is_told = now + _PATIENCE, False
        elif self._asks_at is not None and now >= self._asks_at:
            self._asks_at = None
            parameters = {"QueueUrl": url, "AttributeNames": [_COUNT]}
            self._engine.calls.call("GetQueueAttributes", parameters, self._counted)

    def _counted(self, answer: dict[str, Any] | Failure) -> None:
        count = _in_flight(answer)
        if count < _ALLOWED * _MANY:
            return
        self._asks_at = self._engine.clock.monotonic() + _PATIENCE
        if not self._is_told:
            self._is_told = True
            logger.warning(
                "Queue %s: nothing comes, and some %d messages are in flight: SQS hands out none beyond %d, whoever "
                "has them. It goes on as those are deleted or handed back, or their leases end",
                self._queue,
                count,
                _ALLOWED,
            )


def _in_flight(answer: dict[str, Any] | Failure) -> int:
    """How many the answer says; 0 if it says nothing, as where the attributes may not be read."""
    if isinstance(answer, Failure):
        return 0
    try:
        return int(answer["Attributes"][_COUNT])
    except (KeyError, TypeError, ValueError):
        return 0
