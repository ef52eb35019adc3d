"""Dead letters: what is not to be tried again is sent to its queue's dead-letter queue at once, with the reason.

SQS moves a message there by itself only after `maxReceiveCount` receives, and says nothing of why. So it is sent there
as it is, with one attribute more, and deleted only after SQS gave that copy a MessageId.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.resilience import backoff
from app.transport.custody import hops
from app.transport.custody.copies import copy_of
from app.transport.engine import Failure, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.custody.delivery import Delivery
    from app.transport.custody.outbox import Outbox
    from app.transport.engine import Engine

logger = logging.getLogger(__name__)

#: The name of the attribute that says why: JSON, with `reason`, `queue`, `message_id`, `receive_count` and `at`.
ATTRIBUTE = "sluice"
#: Bytes of that attribute.
_LONGEST = 4_096
#: Seconds until a queue that had no dead-letter queue, or could not be asked, is asked again.
_ASK_AGAIN = 60.0
#: How often it is asked before it counts as one that could not be, and seconds until the second time.
_ATTEMPTS, _FIRST_PAUSE = 4, 0.5
_PASSES = (Kind.PASSING, Kind.THROTTLED)


@dataclass(slots=True)
class _Place:
    """What is known of one queue's dead-letter queue."""

    url: str | None = None
    max_receives: int | None = None
    asked_at: float = float("-inf")
    is_asking: bool = False
    waiting: list[Callable[[str | None], None]] = field(default_factory=list)


class DeadLetters:
    """Sends messages to dead-letter queues. Belongs to the engine's thread.

    Args:
        engine: asks where they are.
        outbox: carries the copies.
    """

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._places: dict[str, _Place] = {}
        #: Messages on their way there.
        self.pending = 0

    def look_up(self, queue: str, url: str) -> None:
        """Ask for the queue's dead-letter queue, and say loudly if there is none."""

        def found(place: str | None) -> None:
            if place is None:
                logger.warning(
                    "Queue %s: no dead-letter queue is known (no redrive policy, or it may not be read): what cannot "
                    "be worked off comes back until its retention is over. Make one with `celery -A app queues ensure`",
                    queue,
                )

        self._find(url, found)

    def max_receives(self, url: str) -> int | None:
        """After how many receives SQS moves a message of this queue there by itself; None: never, or not known."""
        return self._places[url].max_receives if url in self._places else None

    def send(self, delivery: Delivery, reason: str, done: Callable[[bool], None]) -> None:
        """Send the message there; `done` gets whether it is there, and otherwise that was said in the log."""
        self.pending += 1

        def ended(is_there: bool) -> None:
            self.pending -= 1
            done(is_there)

        def found(place: str | None) -> None:
            if place is None:
                _say(delivery, "left to its queue's redrive policy", reason)
                ended(False)
                return
            try:
                # What it went through on its way here is over: it may be moved back, and is a new message then.
                copy = copy_of(delivery, place, note=(ATTRIBUTE, self._note(delivery, reason)), without=hops.ATTRIBUTE)
                self._outbox.send(delivery, copy, sent, until=delivery.leased_until)
            except Exception:
                logger.exception("Message %s could not be copied for its dead-letter queue", delivery.message_id)
                ended(False)

        def sent(failure: Failure | None) -> None:
            if failure is None:
                _say(delivery, "sent to its dead-letter queue", reason)
            else:
                _say(delivery, f"not taken by its dead-letter queue ({failure})", reason)
                if failure.kind is Kind.QUEUE_MISSING:
                    self._places[delivery.url].url = None  # the policy may name another one by now
            ended(failure is None)

        self._find(delivery.url, found)

    def _note(self, delivery: Delivery, reason: str) -> str:
        facts = {
            "reason": reason,
            "queue": delivery.queue,
            "message_id": delivery.message_id,
            "receive_count": delivery.receive_count,
            "at": round(self._engine.clock.time(), 3),
        }
        while len(note := json.dumps(facts)) > _LONGEST:
            facts["reason"] = str(facts["reason"])[: len(str(facts["reason"])) // 2]
        return note

    # -- where it is ----------------------------------------------------------------------------------------------

    def _find(self, url: str, then: Callable[[str | None], None]) -> None:
        """Call `then` with the URL of the queue's dead-letter queue, now or later; None: there is none that we know."""
        place = self._places.setdefault(url, _Place())
        if not place.is_asking and (place.url or self._engine.clock.monotonic() - place.asked_at < _ASK_AGAIN):
            then(place.url)
            return
        place.waiting.append(then)
        if not place.is_asking:
            place.is_asking, place.asked_at = True, self._engine.clock.monotonic()
            self._ask(place, url, attempt=1)

    def _ask(self, place: _Place, url: str, *, attempt: int) -> None:
        def answered(answer: dict[str, Any] | Failure) -> None:
            if isinstance(answer, Failure) and answer.kind in _PASSES and attempt < _ATTEMPTS:
                pause = backoff.delay(attempt, first=_FIRST_PAUSE, most=_ASK_AGAIN)
                self._engine.call_later(pause, lambda: self._ask(place, url, attempt=attempt + 1))
            else:
                self._policy(place, answer)

        self._engine.calls.call("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["RedrivePolicy"]}, answered)

    def _policy(self, place: _Place, answer: dict[str, Any] | Failure) -> None:
        arn, place.max_receives = (None, None) if isinstance(answer, Failure) else _target(answer)
        if arn is None:
            self._found(place, None)
            return
        account, name = arn.split(":")[-2:]
        parameters = {"QueueName": name, "QueueOwnerAWSAccountId": account}
        self._engine.calls.call("GetQueueUrl", parameters, lambda found: self._url(place, found))

    def _url(self, place: _Place, answer: dict[str, Any] | Failure) -> None:
        url = None if isinstance(answer, Failure) else answer.get("QueueUrl")
        self._found(place, url if isinstance(url, str) else None)

    def _found(self, place: _Place, url: str | None) -> None:
        place.url, place.is_asking = url, False
        waiting, place.waiting = place.waiting, []
        for then in waiting:
            then(url)


def _say(delivery: Delivery, what: str, reason: str) -> None:
    logger.error("Queue %s: message %s %s: %s", delivery.queue, delivery.message_id, what, reason)


def _target(answer: dict[str, Any]) -> tuple[str, int | None] | tuple[None, None]:
    """The ARN in the queue's redrive policy, if it has one, and after how many receives."""
    try:
        policy = json.loads(answer["Attributes"]["RedrivePolicy"])
        arn, receives = policy["deadLetterTargetArn"], policy.get("maxReceiveCount")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, None
    if not isinstance(arn, str) or arn.count(":") != 5:
        return None, None
    return arn, int(receives) if str(receives).isdecimal() else None
