"""What an answer of SendMessageBatch, or the lack of one, means for each message in the call."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.sending.entries import Entry


class Fate(Enum):
    """What became of a call that failed as a whole."""

    #: Nothing of it was done; the same call may succeed later.
    NOT_DONE = "not done"
    #: It may have been done: SQS may have the messages.
    UNCERTAIN = "uncertain"
    #: It was refused, and would be again.
    REFUSED = "refused"


class CallFailed(Exception):
    """A whole call failed. `code` is AWS's or the kind of failure; `detail` says more, never about the messages."""

    def __init__(self, fate: Fate, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.fate = fate
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """Each entry of a call by its line's number; what is in none of the three is uncertain."""

    #: SQS has them: it gave each a message id.
    accepted: frozenset[int] = frozenset()
    #: Not taken, and a later call may succeed; with the reason.
    failed: Mapping[int, str] = field(default_factory=dict)
    #: Not taken, and would not be again; with the reason.
    refused: Mapping[int, str] = field(default_factory=dict)
    #: Whether the SDK called more than once for this, so that messages may be there twice.
    was_repeated: bool = False


def entries_for(batch: Sequence[Entry]) -> list[dict[str, Any]]:
    """The `Entries` of the call: an entry's Id is its line's number."""
    return [{"Id": str(entry.number), **entry.message} for entry in batch]


def read_answer(response: Mapping[str, Any]) -> Answer:
    """Read boto3's answer to `send_message_batch`. A success without a message id is none: it is uncertain."""
    failed: dict[int, str] = {}
    refused: dict[int, str] = {}
    for entry in response.get("Failed") or ():
        code = str(entry.get("Code", "no code"))
        # KMS throttling is the sender's fault too, to AWS; it passes nevertheless.
        hopeless = entry.get("SenderFault", False) and not _is_throttling(code)
        (refused if hopeless else failed)[int(entry["Id"])] = code
    return Answer(
        accepted=frozenset(int(entry["Id"]) for entry in response.get("Successful") or () if entry.get("MessageId")),
        failed=failed,
        refused=refused,
        was_repeated=response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0,
    )


#: Failures of botocore's own before anything was sent. Names, since only `app.transport.aws` imports botocore.
_NEVER_SENT = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "ConnectionRefusedError"}
)
#: Failures of botocore's own while sending or waiting: the call may have arrived.
_LOST = frozenset({
    "ReadTimeoutError", "ConnectionClosedError", "ConnectionError", "HTTPClientError", "ResponseStreamingError",
    "IncompleteReadError", "ResponseParserError", "ConnectionResetError", "BrokenPipeError", "TimeoutError",
    "ChecksumError", "OSError", "SSLError",
})  # fmt: skip
#: Credentials that are renewed by themselves may be between two lives.
_PASSING = frozenset({"CredentialRetrievalError", "MetadataRetrievalError", "ExpiredToken", "ExpiredTokenException"})


def fate_of(code: str, status: int | None) -> Fate:
    """What a failed call's code and HTTP status (None: no answer came) say about its effect."""
    if code in _NEVER_SENT or code in _PASSING or _is_throttling(code):
        return Fate.NOT_DONE
    if code in _LOST or (status is not None and status >= 500):
        return Fate.UNCERTAIN  # a 5xx may be a broken answer to work that was done
    return Fate.REFUSED


def _is_throttling(code: str) -> bool:
    return "throttl" in code.lower() or code in {
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "OverLimit",
    }
