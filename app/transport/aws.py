"""The one module that knows boto3: it makes the SQS client, the same for all who call SQS in this process."""

from __future__ import annotations

import ipaddress
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Entries in one batch call, and messages in one receive.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MAX_BATCH = 10
#: Seconds a receive may wait, likewise.
MAX_WAIT = 20
#: Seconds a message may be kept invisible, counted from its receive, likewise.
MAX_VISIBILITY = 43_200

#: Everything that a call to AWS raises: refused, throttled, timed out, not reachable, no credentials.
AWSError = (exceptions.ClientError, exceptions.BotoCoreError, OSError)

_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = MAX_WAIT + 10.0  # a long poll must be able to end by itself
_CONNECTIONS = 32


def is_loopback(url: str | None) -> bool:
    """Whether the URL's host is this machine: `localhost` or an address of the loopback range."""
    host = urlsplit(url or "").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def sqs_client(*, endpoint_url: str | None = None, region: str | None = None) -> Any:
    """The boto3 SQS client of this process; safe to use from many threads.

    Args:
        endpoint_url: where SQS is, if not at AWS's own address (botocore's AWS_ENDPOINT_URL_SQS is honoured too).
        region: the AWS region; by default what the SDK finds in environment and profile.

    A loopback endpoint gets dummy credentials, so that a local server needs no account and never sees real ones;
    any other gets the SDK's own credential chain and nothing else.
    """
    return _client(os.getpid(), endpoint_url, region)


@lru_cache(maxsize=8)
def _client(_pid: int, endpoint_url: str | None, region: str | None) -> Any:
    """One client a process: a forked child must not share its parent's connections."""
    dummy: dict[str, Any] = {}
    if is_loopback(endpoint_url):
        dummy = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": region or "us-east-1"}
    session = boto3.Session(**dummy) if dummy else boto3.Session(region_name=region)
    return session.client(
        "sqs",
        endpoint_url=endpoint_url,
        config=Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 3},
            tcp_keepalive=True,
        ),
    )


def error_code(error: BaseException) -> str:
    """AWS's code for a refused call (`ReceiptHandleIsInvalid`, …), or the kind of exception it was."""
    if isinstance(error, exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def is_missing_queue(error: BaseException) -> bool:
    """Whether the call failed because there is no such queue (old and new spelling of the code)."""
    return error_code(error).endswith(("QueueDoesNotExist", "NonExistentQueue"))


def change_visibility(client: Any, queue_url: str, receipts: Iterable[str], seconds: int) -> list[str]:
    """Set when these deliveries become visible again, ten a call; returns the receipt handles that failed.

    Raises what boto raises when a whole call fails; later receipts are then not tried.
    """
    failed: list[str] = []
    pending = list(receipts)
    while pending:
        batch, pending = pending[:MAX_BATCH], pending[MAX_BATCH:]
        entries = [
            {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": seconds} for i, receipt in enumerate(batch)
        ]
        answer = client.change_message_visibility_batch(QueueUrl=queue_url, Entries=entries)
        failed += [batch[int(entry["Id"])] for entry in answer.get("Failed", ())]
    return failed
