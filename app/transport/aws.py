"""SQS by boto3, for all who call it now and then: producers, commands. What a worker does all day is `calls`'.

With `account` the only modules that know boto3.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError

# At DEBUG botocore writes session tokens and whole messages, and urllib3 the addresses: not for a log that is shared.
for _name in ("botocore", "boto3", "urllib3"):
    logging.getLogger(_name).setLevel(logging.INFO)

#: Entries in one batch call, and messages in one receive.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MAX_BATCH = 10
#: Bytes of a message, its attributes included, likewise.
MAX_MESSAGE = 2**20
#: Seconds a message may be kept invisible, counted from its receive, likewise.
MAX_VISIBILITY = 43_200

#: Everything that a call to AWS raises: refused, throttled, timed out, not reachable, no credentials, not understood.
AWSError = (exceptions.ClientError, exceptions.BotoCoreError, ResponseParserError, OSError)
#: Of these, an answer that is none of SQS's.
NotUnderstood: type[Exception] = ResponseParserError

#: Of these, that nobody answers there (yet).
NotReachable = (exceptions.EndpointConnectionError, exceptions.ConnectionClosedError)

_CONNECT_TIMEOUT = 3.0
#: Seconds for an answer. The worker's one consuming thread waits for some calls, so this is short, and tried thrice.
_READ_TIMEOUT, _ATTEMPTS = 10.0, 3
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

    A call that fails for a passing reason is tried three times, and takes at most some 40 seconds in all.

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
    client = session(endpoint_url=endpoint_url, region=region).client(
        "sqs",
        endpoint_url=endpoint_url,
        config=Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            tcp_keepalive=True,
        ),
    )
    client.meta.events.register("before-parse.sqs", _check_answer)
    return client


def session(*, endpoint_url: str | None = None, region: str | None = None) -> Any:
    """A boto3 session with the credentials that belong to the endpoint, see `sqs_client`."""
    return _local_session(region) if is_loopback(endpoint_url) else boto3.Session(region_name=region)


def _local_session(region: str | None) -> Any:
    """Dummy credentials, and no look at AWS_PROFILE: a profile that is not on this machine is no fault here."""
    no_profile: dict[str, Any] = {"profile": (None, [], None, None)}
    return boto3.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - a dummy
        region_name=region or "us-east-1",
        botocore_session=botocore.session.Session(session_vars=no_profile),
    )


def _check_answer(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Refuse what is no JSON object: botocore would take it for an empty answer, and a receive for an empty queue.

    Raises:
        AWSError: it is something else. (Errors botocore tells by their status; nothing at all is what a delete gets.)
    """
    text = response_dict["body"].strip()
    if response_dict["status_code"] < 300 and text and not (text[:1] == b"{" and text[-1:] == b"}"):
        raise not_understood(operation_model.name)


def not_understood(action: str) -> Exception:
    """The error for an answer that is none of SQS's, as a proxy's error page: the call may have taken effect or not."""
    return NotUnderstood(f"{action} was answered with something else than SQS answers; is a proxy in between?")


def error_code(error: BaseException) -> str:
    """AWS's code for a refused call (`ReceiptHandleIsInvalid`, …), or the kind of exception it was."""
    if isinstance(error, exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def is_missing_queue(error: BaseException) -> bool:
    """Whether the call failed because there is no such queue (old and new spelling of the code)."""
    return error_code(error).endswith(("QueueDoesNotExist", "NonExistentQueue"))
