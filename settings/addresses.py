"""URLs and ARNs: what each setting accepts, and what to write instead of what it does not."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr  # noqa: TC002 - used in annotations that pydantic reads at run time

from settings.results import check_backend

QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""CreateQueue, QueueName: 1 to 80 characters, letters, digits, hyphens and underscores."""

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
_ARN = re.compile(r"arn:aws[a-z-]*:sqs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[^:/]+)")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine: 127.0.0.0/8, ::1 or localhost."""
    if not host:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def split_url(url: str, *schemes: str) -> SplitResult:
    """The parts of a URL of one of those schemes that names a host.

    Raises:
        ValueError: what is wrong with it and what to do, without any part of it.
    """
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if not url.lower().startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"not a URL that starts with {wanted}; write it as {schemes[0]}://host:port")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(
            f"not a well-formed URL; write it as {schemes[0]}://host:port, with any of / ? # @ : in a password "
            "percent-encoded"
        ) from None
    if not parts.hostname or port == 0 or any(c.isspace() for c in url):
        raise ValueError(f"a URL without a usable host and port; write it as {schemes[0]}://host:port")
    return parts


def endpoint(url: str) -> str:
    """The address of SQS's API: scheme, host, port, perhaps a path; no user, no query."""
    parts = split_url(url, "https", "http")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has a user, a query or a fragment, which SQS does not read; write it as https://host:port")
    return url.rstrip("/")


def downstream(url: str) -> str:
    """The base address of the service behind the queue."""
    parts = split_url(url, "https", "http")
    if parts.username is not None:
        raise ValueError(
            "has a user and a password, which would be sent to no one; leave them out and let your task send them "
            "as a header"
        )
    if parts.query or parts.fragment:
        raise ValueError("has a query or a fragment; give the base address only, tasks add the rest")
    return url.rstrip("/")


def control(url: SecretStr) -> SecretStr:
    """The one Valkey or Redis server for the control link and the shared state."""
    text = url.get_secret_value()
    scheme = text.partition("://")[0].lower()
    if scheme in {"valkey", "valkeys"}:
        raise ValueError(f"Valkey speaks Redis's protocol under Redis's name; write redis{scheme[6:]}:// instead")
    if "sentinel" in scheme or "cluster" in scheme:
        raise ValueError(
            "Sentinel and cluster are not supported, since the control link needs one server that sees every "
            "message; give the redis:// or rediss:// address of a single, non-cluster node"
        )
    if scheme == "unix":
        path = text.partition("://")[2].rpartition("@")[2].partition("?")[0]
        if not path.startswith("/"):
            raise ValueError("a unix:// URL without an absolute path; write it as unix:///path/to/the.sock")
        return url
    parts = split_url(text, "redis", "rediss", "unix")
    if not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError("the path of a redis:// URL is the number of the database; write it as redis://host:port/0")
    return url


_NO_RESULTS = {
    "rpc": "makes a reply queue per client, which SQS would bill and never delete",
    "amqp": "is gone from Celery and never worked beside SQS",
    "pyamqp": "is a broker, not a store of results",
    "sqs": "is a broker, not a store of results: a result would be read by whoever polls first",
}


def results(url: SecretStr) -> SecretStr:
    """Where Celery stores results."""
    text = url.get_secret_value()
    scheme = text.partition("://")[0].partition("+")[0].rstrip(":/").lower()
    if scheme in _NO_RESULTS:
        raise ValueError(
            f"{scheme} {_NO_RESULTS[scheme]}; leave results off, or give a store such as redis://host:6379/1"
        )
    if not re.match(r"[A-Za-z][A-Za-z0-9+._:-]*://", text):
        raise ValueError("not a URL; write it as Celery's result_backend, such as redis://host:6379/1")
    check_backend(text)
    return url


def region(text: str) -> str:
    """A region's name; any, since local servers have names of their own."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text):
        raise ValueError("not a region's name; write it as AWS does, such as eu-west-1")
    return text


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """What a queue's URL or ARN says of it; the region is None where the URL's host does not tell."""

    name: str
    account: str | None
    region: str | None
    host: str | None
    port: int | None
    is_encrypted: bool

    @property
    def is_amazon(self) -> bool:
        """Whether it is at AWS, and not at a server of one's own."""
        return self.host is None or self.host.endswith(_AMAZON)


def check_queue_name(name: str) -> None:
    """Raise a ValueError with the fix if SQS would not take the name."""
    if name.endswith(".fifo"):
        raise ValueError("FIFO queues are not supported yet; give a standard queue")
    if not QUEUE_NAME.fullmatch(name):
        raise ValueError("not a queue's name; SQS takes 1 to 80 letters, digits, hyphens and underscores")


def queue_address(text: str) -> QueueAddress:
    """What a queue's URL or ARN says.

    Raises:
        ValueError: it is neither; the text says how to write it.
    """
    if text.startswith("arn:"):
        match = _ARN.fullmatch(text)
        if not match:
            raise ValueError("not the ARN of an SQS queue; write it as arn:aws:sqs:REGION:ACCOUNT:NAME")
        check_queue_name(match["name"])
        return QueueAddress(match["name"], match["account"], match["region"], None, None, is_encrypted=True)
    parts = split_url(text, "https", "http")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has a user, a query or a fragment; give the queue's URL as SQS shows it")
    before, _, name = parts.path.strip("/").rpartition("/")
    account = before if re.fullmatch(r"\d{12}", before) else None  # servers of one's own put other things there
    check_queue_name(name)
    host = (parts.hostname or "").lower()
    found = next((label for label in host.split(".") if _REGION.fullmatch(label)), None)
    is_encrypted = parts.scheme.lower() == "https"
    address = QueueAddress(name, account, found, host, parts.port, is_encrypted=is_encrypted)
    if address.is_amazon and account is None:
        raise ValueError("not a queue's URL; SQS's are https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
    return address
