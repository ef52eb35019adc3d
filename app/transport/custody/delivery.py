"""A delivery: one receipt of a message, from its receive to its settling."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from app.lease import leases

if TYPE_CHECKING:
    from app.outcome import Outcome
    from app.transport.custody.custody import Custody
    from app.transport.intake import Intake

_numbers = itertools.count(1)


class Delivery:
    """A message in our hands.

    Two threads know it: the engine's, which keeps its lease, and the worker's, which runs it. What both may want to do
    first (start it, hand it back; settle it, give it up) is decided by `claim` and `close`, which succeed once: taking
    an item out of a list is one step for the interpreter, whichever thread does it.

    Args:
        message: as SQS sent it.
        queue: the queue's name in Celery.
        url: its URL.
        visibility: seconds of lease that were asked for.
        now: on the monotonic clock, not later than the lease began.
        custody: keeps its lease and carries its outcome out.
        intake: has a slot for it.
    """

    __slots__ = (
        "_is_lost",
        "_is_open",
        "_is_unclaimed",
        "_leased_until",
        "_place",
        "attributes",
        "body",
        "custody",
        "ends_at",
        "intake",
        "is_in_pool",
        "message_attributes",
        "message_id",
        "queue",
        "rate_limited_at",
        "receipt",
        "received_at",
        "runs_on",
        "size",
        "started_at",
        "tag",
        "url",
        "visibility",
    )

    def __init__(
        self,
        message: dict[str, Any],
        *,
        queue: str,
        url: str,
        visibility: int,
        now: float,
        custody: Custody,
        intake: Intake,
    ) -> None:
        self.message_id: str = message["MessageId"]
        #: The newest; it changes when SQS delivers the message once more while we have it.
        self.receipt: str = message["ReceiptHandle"]
        self.body: str = message["Body"]
        #: In bytes; what JSON writes is ASCII as a rule, and then nothing is copied to be counted.
        self.size = len(self.body) if self.body.isascii() else len(self.body.encode(errors="surrogatepass"))
        self.attributes: dict[str, Any] = message.get("Attributes") or {}
        self.message_attributes: dict[str, Any] = message.get("MessageAttributes") or {}
        self.queue = queue
        self.url = url
        self.visibility = visibility
        #: Names this delivery and no other: a message that comes again is another delivery.
        self.tag = str(next(_numbers))
        self.received_at = now
        self._place: tuple[int, int] | None = None
        self._leased_until = now + visibility
        #: When its task began, None before that; and when that must have ended.
        self.started_at: float | None = None
        self.ends_at: float | None = None
        self._is_lost = False
        #: Whether it is settled while its task runs on: done with when it began, or revoked and not dead yet.
        self.runs_on = False
        #: Whether the pool has it.
        self.is_in_pool = False
        #: Since when the rate limit of its task holds it back, or held it back.
        self.rate_limited_at: float | None = None
        self.custody = custody
        self.intake = intake
        self._is_unclaimed = [True]
        self._is_open = [True]

    def __repr__(self) -> str:
        state = "settled" if not self._is_open else "waiting" if self._is_unclaimed else "in work"
        return f"<Delivery {self.message_id} of {self.queue}: {state}{', lease lost' if self.is_lost else ''}>"

    @property
    def receive_count(self) -> int:
        """How often SQS has handed this message out, this time included."""
        return int(self._number("ApproximateReceiveCount", 1))

    @property
    def sent_at(self) -> float:
        """When it was sent, in seconds since the epoch (SQS gives milliseconds); infinite when that is not known."""
        return self._number("SentTimestamp", float("inf")) / 1000

    def _number(self, name: str, default: float) -> float:
        """A system attribute; the default where it is missing or no number, since a message is worth more than that."""
        try:
            return int(self.attributes[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            return default

    @property
    def is_claimed(self) -> bool:
        """Whether it was started or handed back."""
        return not self._is_unclaimed

    @property
    def is_settled(self) -> bool:
        """Whether its outcome is known."""
        return not self._is_open

    def claim(self) -> bool:
        """Start it, or hand it back: True for whoever comes first."""
        return _take(self._is_unclaimed)

    def close(self) -> bool:
        """Settle it: True for whoever comes first."""
        return _take(self._is_open)

    def receive_again(self, newer: Delivery) -> None:
        """SQS has handed the message out once more, to us: the older receipt is no longer good."""
        self.url, self.receipt, self.attributes = newer.url, newer.receipt, newer.attributes
        self.visibility, self.received_at = newer.visibility, newer.received_at
        self.leased_until, self.is_lost = newer.leased_until, False

    def enter_pool(self, *, limit: float | None) -> bool:
        """The pool gets it. False: too late, it was handed back or its lease is over.

        Args:
            limit: seconds that its task may take; None: any time.
        """
        now = self.custody.engine.clock.monotonic()
        if self._is_lost or now >= self.leased_until or not self.claim():
            return False
        self.ends_at = None if limit is None else now + limit
        self._place = leases.open(self._leased_until)
        if self._place is not None:
            self._show_lease(self._place)
        self.is_in_pool = True
        self.intake.entered(self)
        return True

    def _show_lease(self, place: tuple[int, int]) -> None:
        """Once more: until just now the engine's thread, which renews it and loses it, knew no place for that."""
        until = None
        while until != self._leased_until:
            until = self._leased_until
            leases.write(place, until)
            if self._is_lost:
                leases.lose(place)

    @property
    def is_too_late(self) -> bool:
        """Whether its task must not begin, though the pool has it: its worker drains, or somebody else may have it."""
        return self.intake.is_draining or self.custody.engine.clock.monotonic() >= self.leased_until

    def limit_rate(self) -> None:
        """The rate limit of its task holds it back: it takes no place of the pool's meanwhile."""
        self.rate_limited_at = self.custody.engine.clock.monotonic()
        self.intake.rate_limited(self)

    @property
    def place(self) -> tuple[int, int] | None:
        """Where the end of its lease stands for the process that runs it, see `app.lease`."""
        return self._place

    @property
    def leased_until(self) -> float:
        """Until then SQS shows it to nobody else, as far as we know; on the monotonic clock."""
        return self._leased_until

    @leased_until.setter
    def leased_until(self, until: float) -> None:
        self._leased_until = until
        if self._place is not None:
            leases.write(self._place, until)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else may have it now."""
        return self._is_lost

    @is_lost.setter
    def is_lost(self, is_lost: bool) -> None:
        self._is_lost = is_lost
        if is_lost and self._place is not None:
            leases.lose(self._place)

    def started(self, *, limit: float | None) -> None:
        """Its task begins: the limit counts from now."""
        now = self.custody.engine.clock.monotonic()
        self.ends_at = None if limit is None else now + limit
        self.started_at = now
        self.custody.leases.started(self)

    def settle(self, outcome: Outcome) -> None:
        """Carry the outcome out; from any thread. Only the first one counts."""
        self._is_unclaimed.clear()  # first: what is settled is never started
        if self.close():
            try:
                if self._place is not None:
                    leases.close(self._place)
                self.intake.left(self)
            finally:
                self.custody.settle(self, outcome)


def _take(token: list[bool]) -> bool:
    try:
        return token.pop()
    except IndexError:
        return False
