"""Who we are at AWS and how we get there: endpoint, credentials, signature, proxy. All of it botocore's."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import gevent
from botocore import exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from gevent.monkey import is_module_patched

from app.clock import Clock, SystemClock
from app.transport import aws
from app.transport.engine.calls import first_line
from app.transport.engine.errand import run_errand
from app.transport.engine.http import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.credentials import ReadOnlyCredentials

logger = logging.getLogger(__name__)

# Its warnings have the whole of what STS says, which may repeat a request with its session token. We say it ourselves.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)

#: Seconds between two attempts to get credentials: at least, and while those at hand are still good.
_TRY_AGAIN, _TRY_EARLY_AGAIN = 5.0, 60.0
#: Seconds that a greenlet has to get credentials, before a thread tries as well.
_HUB_MAY_TAKE = 3.0
#: For a client that calls nobody.
_ANY_CREDENTIALS = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}


class Account:
    """Signs requests to SQS. What may block (the credentials' sources) is done in a thread that ends with the answer.

    Under gevent it is done in a greenlet, and if that takes long, as tasks may not yield to it, in a thread as well.

    Args:
        endpoint_url: as in `aws.sqs_client`.
        region: as in `aws.sqs_client`.
        wake: called from another thread when credentials have come, or could not be had.
    """

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        wake: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        #: Where gevent has replaced sockets and processes, they belong to a hub: the one of this thread lasts.
        self._hub = gevent.get_hub() if is_module_patched("socket") else None
        self._session: Callable[[], Any] = partial(aws.session, endpoint_url=endpoint_url, region=region)
        self._clock = clock or SystemClock()
        self._wake = wake
        # Given any credentials it looks for none, which may take long or fail for now.
        session = self._session()
        client = session.client("sqs", endpoint_url=endpoint_url, **_ANY_CREDENTIALS)
        #: Where requests go, as botocore resolves it (region, FIPS, dual stack, VPC endpoint, local server).
        self.url = _url_of(client)
        self.region = str(client.meta.region_name)
        #: How they get there.
        self.route = _route_to(self.url, session)
        #: botocore's object, which knows how to get new ones, and what it last gave.
        self._source: Any = None
        self._credentials: ReadOnlyCredentials | None = None
        self._asked_at = float("-inf")
        self._answered_at = float("-inf")
        #: Whether a thread tries as well to get those that are being got.
        self._is_hurried = False
        #: Whether credentials are being got.
        self.is_waiting = False
        #: Why there are no credentials, or no new ones.
        self.problem: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there are credentials to sign with; if not, they are being got, unless that failed just now.

        Those that are about to end, or have ended, are signed with until there are new ones: SQS knows best.
        """
        if self._credentials is None:
            self._get(anew=True, pause=_TRY_AGAIN)
        elif hasattr(self._source, "refresh_needed") and self._source.refresh_needed():
            self._get(anew=False, pause=_TRY_EARLY_AGAIN)
        return self._credentials is not None

    def sign(self, headers: dict[str, str], body: bytes) -> list[str]:
        """The headers of a POST of this body, with its signature (SigV4) among them; only when `is_ready`."""
        request = AWSRequest("POST", self.url, data=body, headers=headers)
        SigV4Auth(self._credentials, "sqs", self.region).add_auth(request)
        return [f"{name}: {value}" for name, value in request.headers.items()]

    def refused(self) -> None:
        """SQS did not take the credentials: have them got from their source anew, however long they should last."""
        self._get(anew=True, pause=_TRY_AGAIN)

    def _get(self, *, anew: bool, pause: float) -> None:
        now = self._clock.monotonic()
        if self.is_waiting:
            if self._hub is not None and not self._is_hurried and now - self._asked_at > _HUB_MAY_TAKE:
                self._is_hurried = True
                if self._may_use_a_thread():
                    run_errand(partial(self._fetch, now, anew=True), name="credentials")
            return
        if now - self._asked_at < pause:
            return
        self._asked_at, self.is_waiting, self._is_hurried = now, True, False
        fetch = partial(self._fetch, now, anew=anew)
        if self._hub is not None:
            self._hub.loop.run_callback_threadsafe(gevent.spawn, fetch)
        elif not run_errand(fetch, name="credentials"):
            self.is_waiting = False
            self.problem = "the system gives no thread to get them"

    def _may_use_a_thread(self) -> bool:
        """Whether no profile has a program that hands out credentials: only the hub's thread may run one."""
        try:
            profiles = self._session()._session.full_config["profiles"]  # noqa: SLF001 - boto3 has no other way to it
        except Exception:  # noqa: BLE001 - whatever is wrong with the profiles, the greenlet says it
            return False
        return not any("credential_process" in profile for profile in profiles.values())

    def _fetch(self, asked_at: float, *, anew: bool) -> None:
        try:
            source = self._session().get_credentials() if anew else self._source
            credentials = None if source is None else source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - whatever a source raises, the next attempt may succeed
            self._fetched(asked_at, problem=first_line(f"{type(error).__name__}: {error}"))
        else:
            self._fetched(asked_at, source, credentials)

    def _fetched(
        self,
        asked_at: float,
        source: Any = None,
        credentials: ReadOnlyCredentials | None = None,
        *,
        problem: str = "no AWS credentials were found (environment, profile, container, instance)",
    ) -> None:
        if asked_at >= self._answered_at:  # else somebody who asked later was answered before
            self._answered_at = asked_at
            if credentials is not None:
                self._source, self._credentials, self.problem = source, credentials, None
            else:
                if self._credentials is not None and problem != self.problem:
                    logger.warning("No new AWS credentials (%s): those from before stay in use", problem)
                self.problem = problem
            self.is_waiting = False
        self._wake()


def obstacle(*, endpoint_url: str | None, region: str | None) -> str | None:
    """What of the environment keeps SQS from being called at all, in a sentence with what to do; nothing is called.

    Args:
        endpoint_url: as in `aws.sqs_client`.
        region: as in `aws.sqs_client`.
    """
    try:
        Account(endpoint_url=endpoint_url, region=region)
    except exceptions.NoRegionError:
        return "No AWS region is known: set AWS_REGION, or a region in the AWS profile."
    except (ValueError, exceptions.BotoCoreError) as error:
        return f"SQS cannot be called: {first_line(str(error))}."
    return None


def _url_of(client: Any) -> str:
    """Where the client would send a call, by botocore's rules for endpoints; nothing is sent."""
    urls: list[str] = []

    def instead(params: dict[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        urls.append(params["url"])
        return AWSResponse(params["url"], 200, {}, None), {}

    client.meta.events.register_first("before-call.sqs.ListQueues", instead)
    try:
        client.list_queues()
    finally:
        client.meta.events.unregister("before-call.sqs.ListQueues", instead)
    return urls[0]


def _route_to(url: str, session: Any) -> Route:
    """The proxy and the trusted certificates, as botocore finds them in environment and profile.

    Raises:
        ValueError: the proxy's address is none.
    """
    configured = session._session.get_config_variable("ca_bundle")  # noqa: SLF001 - boto3 has no other way to it
    bundle = configured or os.environ.get("REQUESTS_CA_BUNDLE") or str(get_cert_path(True))
    bundle = str(Path(bundle).expanduser())
    address = ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url)
    if address is None:
        return Route(ca_bundle=bundle)
    try:
        proxy = urlsplit(address)
        host = f"[{proxy.hostname}]" if ":" in (proxy.hostname or "") else proxy.hostname
        port = proxy.port or (443 if proxy.scheme == "https" else 80)
        user = None if proxy.username is None else (unquote(proxy.username), unquote(proxy.password or ""))
    except ValueError:
        host = None
    if not host:
        raise ValueError("HTTPS_PROXY (or HTTP_PROXY) is not the URL of a proxy, as http://user:password@host:port")
    return Route(proxy=f"{proxy.scheme}://{host}:{port}", proxy_user=user, ca_bundle=bundle)
