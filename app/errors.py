"""What can go wrong, as exceptions: each says what happened and what to do about it."""

from __future__ import annotations


class SluiceError(Exception):
    """The root of all errors of ours."""


class QueueMissing(SluiceError):
    """A queue is not there and nothing of ours makes queues unasked."""

    def __init__(self, queue: str) -> None:
        super().__init__(
            f"The queue {queue!r} does not exist here. Make it with `celery -A app queues ensure`, "
            f"or correct its name, AWS_REGION or the account in use."
        )
        self.queue = queue


class CannotDelay(SluiceError):
    """A message that is due later was sent to a queue that delays none of its own."""

    def __init__(self, queue: str) -> None:
        super().__init__(
            f"The queue {queue!r} is a FIFO queue, and SQS delays no single message of such a queue: send it without "
            "countdown and eta, or to a standard queue."
        )
        self.queue = queue


class NotOnSQS(SluiceError):
    """Something of Celery's was asked for that SQS has not, or that Sluice's workers do not take."""


class UndecodableMessage(SluiceError):
    """A message body that no Celery producer sent; the reason says why, without the body."""


class ControlLinkDown(SluiceError):
    """A control command could not be sent."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The control link is down ({why}): check SLUICE_CONTROL_URL and the server behind it.")
