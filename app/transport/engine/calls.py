"""Calls to SQS's API (its JSON protocol) by way of the engine, and what their failures mean.

The protocol: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-json.html
"""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from app.clock import Clock, SystemClock
from app.transport.engine.http import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.transport.engine.account import Account
    from app.transport.engine.http import Http

logger = logging.getLogger(__name__)

#: Seconds that an answer may be later than the receive's own wait, or than any other call.
MARGIN = 10.0
#: Characters that are kept of SQS's own words, and of its codes.
_LONGEST_DETAIL, _LONGEST_CODE = 300, 80


class Kind(Enum):
    """What a failure asks for."""

    #: Try again: the service or the way there has trouble.
    PASSING = "passing"
    #: Try again, later: we ask too much.
    THROTTLED = "throttled"
    #: New credentials may help.
    CREDENTIALS = "credentials"
    #: There is no such queue (yet).
    QUEUE_MISSING = "queue missing"
    #: The receipt handle is no longer good: the lease was lost, or the message is gone.
    RECEIPT = "receipt"
    #: The same again would fail again.
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed, or one entry of a batch."""

    kind: Kind
    code: str
    detail: str = ""
    #: Whether the call may have taken effect all the same: it was sent, and nothing of what SQS says came back.
    is_unsure: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed later."""
        return self.kind in (Kind.PASSING, Kind.THROTTLED, Kind.CREDENTIALS, Kind.QUEUE_MISSING)


_THROTTLING = frozenset({
    "RequestThrottled", "Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException",
    "RequestLimitExceeded", "SlowDown", "OverLimit", "KmsThrottled", "RequestThrottledException",
    "LimitExceededException",
})  # fmt: skip
_CREDENTIALS = frozenset({
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
    "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "RequestExpired", "AccessDenied",
    "AccessDeniedException", "InvalidAccessKeyId", "NotAuthorized", "OptInRequired", "InvalidSecurity",
    "RequestTimeTooSkewed", "RequestInTheFuture", "InvalidSignature", "AuthFailure",
})  # fmt: skip
_MISSING = frozenset({"QueueDoesNotExist", "NonExistentQueue"})
_RECEIPT = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidIdFormat"})
#: Answers of a load balancer or proxy in between, rather than of SQS.
_PASSING_STATUSES = frozenset({408, 425, 429})


def failure_of(status: int, code: str, detail: str = "") -> Failure:
    """What an error answer means: by its code, which comes with and without a prefix, else by its status.

    Of the detail the first line is kept: what follows may repeat the request, the session's token included.
    """
    short = code.rpartition("#")[2].rpartition(".")[2]
    if not (short.isascii() and short.isalnum() and len(short) <= _LONGEST_CODE):
        short = ""
    if short in _THROTTLING:
        kind = Kind.THROTTLED
    elif short in _CREDENTIALS:
        kind = Kind.CREDENTIALS
    elif short in _MISSING:
        kind = Kind.QUEUE_MISSING
    elif short in _RECEIPT or (
        short in ("InvalidParameterValue", "InvalidParameterValueException") and "eceipt" in detail
    ):
        kind = Kind.RECEIPT
    elif status >= 500 or status in _PASSING_STATUSES or not short:
        kind = Kind.PASSING
    else:
        kind = Kind.PERMANENT
    return Failure(kind, short or f"HTTP {status}", first_line(detail), is_unsure=not short)


def not_understood(action: str) -> Failure:
    """The failure that an answer is which is none of SQS's, as a proxy's page."""
    what = f"{action} was answered with something else than SQS answers"
    return Failure(Kind.PASSING, "NotUnderstood", what, is_unsure=True)


def _not_sent(error: Exception) -> Failure:
    return Failure(Kind.PASSING, "NotSent", type(error).__name__)


def first_line(text: str) -> str:
    """As much of what others say as goes into a log."""
    return text.strip().partition("\n")[0][:_LONGEST_DETAIL]


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that is not signed yet."""

    action: str
    body: bytes
    done: Callable[[dict[str, Any] | Failure], None]
    timeout: float
    give_up_at: float


class Calls:
    """Sends calls to SQS. Used by the engine's thread only, which calls `turn` in each of its rounds.

    Args:
        http: carries them.
        account: signs them.
    """

    def __init__(self, http: Http, account: Account, *, clock: Clock | None = None) -> None:
        self._http = http
        self._account = account
        self._clock = clock or SystemClock()
        self._unsigned: deque[_Call] = deque()
        #: What could not even be sent, and why: told in the next turn.
        self._unsent: deque[tuple[_Call, Failure]] = deque()

    def call(
        self,
        action: str,
        parameters: dict[str, Any],
        done: Callable[[dict[str, Any] | Failure], None],
        *,
        wait: float = 0.0,
        within: float | None = None,
    ) -> None:
        """Call SQS; `done` gets the answer or why there is none, in a later turn and once.

        Args:
            action: as `ReceiveMessage`.
            parameters: of the call.
            done: takes the answer.
            wait: seconds that SQS itself may take over it.
            within: seconds that all else may take; by default `MARGIN`.
        """
        within = MARGIN if within is None else within
        give_up_at = self._clock.monotonic() + within
        try:
            body = json.dumps(parameters).encode()
        except MemoryError as error:
            self._unsent.append((_Call(action, b"", done, 0.0, give_up_at), _not_sent(error)))
            return
        call = _Call(action, body, done, wait + within, give_up_at)
        if self._is_ready():
            self._send(call)
        else:
            self._unsigned.append(call)

    def turn(self) -> None:
        """Send what waited for credentials, or say that there are none, and what could not be sent."""
        for _ in range(len(self._unsent)):
            self._tell(*self._unsent.popleft())
        for _ in range(len(self._unsigned)):
            if self._is_ready():
                self._send(self._unsigned.popleft())
            elif self._account.is_waiting and self._clock.monotonic() < self._unsigned[0].give_up_at:
                return
            else:
                problem = self._account.problem or "their source does not answer"
                self._tell(self._unsigned.popleft(), Failure(Kind.CREDENTIALS, "NoCredentials", problem))

    def _is_ready(self) -> bool:
        try:
            return self._account.is_ready
        except Exception:
            logger.exception("Whether there are credentials cannot be told")
            return True  # then it is seen whether they can be signed with

    def _send(self, call: _Call) -> None:
        headers = {"X-Amz-Target": f"AmazonSQS.{call.action}", "Content-Type": "application/x-amz-json-1.0"}
        try:
            signed = self._account.sign(headers, call.body)
        except Exception as error:  # noqa: BLE001 - credentials come from others, and may be anything
            self._account.refused()
            problem = f"nothing can be signed with them ({type(error).__name__})"  # the error's words may be theirs
            self._unsent.append((call, Failure(Kind.CREDENTIALS, "OddCredentials", problem)))
            return
        request = Request(self._account.url, signed, call.body, call.timeout)
        try:
            self._http.send(request, lambda answer: self._answered(call, answer))
        except Exception as error:
            logger.exception("%s could not be sent", call.action)
            self._unsent.append((call, _not_sent(error)))

    def _answered(self, call: _Call, answer: Answer) -> None:
        try:
            content = self._read(call.action, answer)
        except Exception as error:  # as where there is no memory for it
            logger.exception("What %s was answered could not be read", call.action)
            content = Failure(Kind.PASSING, "NotRead", type(error).__name__, is_unsure=True)
        self._tell(call, content)

    @staticmethod
    def _tell(call: _Call, answer: dict[str, Any] | Failure) -> None:
        """Whatever goes wrong with one answer, the others must get to where they are expected."""
        try:
            call.done(answer)
        except Exception:
            logger.exception("What %s was answered could not be taken in", call.action)

    def _read(self, action: str, answer: Answer) -> dict[str, Any] | Failure:
        if answer.failure is not None:
            return Failure(Kind.PASSING, "NoAnswer", answer.failure, is_unsure=answer.was_sent)
        content = _object(answer.body)
        if answer.status == 200 and content is not None:
            return content
        if answer.status == 200:
            # The call may have taken effect or not.
            return not_understood(action)
        content = content or {}
        detail = content.get("message") or content.get("Message") or ""
        failure = failure_of(answer.status, str(content.get("__type", "")), str(detail))
        if failure.kind is Kind.CREDENTIALS:
            self._account.refused()
        return failure


def _object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that the body is. No body is none either: to all that is called here SQS says at least `{}`."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
