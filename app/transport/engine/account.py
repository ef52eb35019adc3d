"""Who we are at AWS and how we get there: endpoint, credentials, signature, proxy. All of it botocore's."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from app.clock import Clock, SystemClock
from app.native import NativeThread
from app.transport import aws
from app.transport.engine.http import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.credentials import ReadOnlyCredentials

#: Seconds before their end at which temporary credentials are asked for anew: botocore's own (15 minutes) and a bit,
#: so that it is our thread that waits for them and not a call.
_REFRESH_BEFORE = 16 * 60
#: Seconds between two attempts to get credentials, at least.
_TRY_AGAIN = 5.0


class Account:
    """Signs requests to SQS. What may block (the credentials' sources) is done in a thread that ends with the answer.

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
        self._session: Callable[[], Any] = partial(aws.session, endpoint_url=endpoint_url, region=region)
        self._clock = clock or SystemClock()
        self._wake = wake
        client = aws.sqs_client(endpoint_url=endpoint_url, region=region)
        #: Where requests go, as botocore resolves it (region, FIPS, dual stack, VPC endpoint, local server).
        self.url = str(client.meta.endpoint_url).rstrip("/") + "/"
        self.region = str(client.meta.region_name)
        #: How they get there.
        self.route = self._route()
        #: botocore's object, which knows how to get new ones, and what it last gave.
        self._source: Any = None
        self._credentials: ReadOnlyCredentials | None = None
        self._thread: NativeThread | None = None
        self._asked_at = float("-inf")
        #: Why there are no credentials.
        self.problem: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there are credentials to sign with; if not, they are being got, unless that failed just now."""
        self._look_after_credentials()
        return self._credentials is not None

    def sign(self, headers: dict[str, str], body: bytes) -> list[str]:
        """The headers of a POST of this body, with its signature (SigV4) among them; only when `is_ready`."""
        request = AWSRequest("POST", self.url, data=body, headers=headers)
        SigV4Auth(self._credentials, "sqs", self.region).add_auth(request)
        return [f"{name}: {value}" for name, value in request.headers.items()]

    def refused(self) -> None:
        """SQS did not take the credentials: have them got from their source anew, however long they should last."""
        self._get(anew=True)

    @property
    def is_waiting(self) -> bool:
        """Whether credentials are being got."""
        return self._thread is not None and self._thread.is_running

    def _look_after_credentials(self) -> None:
        source = self._source
        if source is None or self._credentials is None:
            self._get(anew=source is None)
        elif hasattr(source, "refresh_needed") and source.refresh_needed(_REFRESH_BEFORE):
            self._get(anew=False)

    def _get(self, *, anew: bool) -> None:
        now = self._clock.monotonic()
        if self.is_waiting or now - self._asked_at < _TRY_AGAIN:
            return
        self._asked_at = now
        asked = False

        def run() -> None:
            nonlocal asked
            if asked:  # a fork came in between, and threads are started again after it
                return
            asked = True
            try:
                self._fetch(anew=anew)
            finally:
                self._wake()

        self._thread = NativeThread(run, wake=lambda: None, name="credentials")
        self._thread.start()

    def _fetch(self, *, anew: bool) -> None:
        try:
            source = self._session().get_credentials() if anew or self._source is None else self._source
            frozen = None if source is None else source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - whatever a source raises, the next attempt may succeed
            self.problem = f"{type(error).__name__}: {error}"
            if hasattr(self._source, "refresh_needed") and self._source.refresh_needed(0):
                self._credentials = None
            return
        if frozen is None:
            self.problem = "no AWS credentials were found (environment, profile, container, instance)"
            return
        self._source, self._credentials, self.problem = source, frozen, None

    def _route(self) -> Route:
        """The proxy and the trusted certificates, as botocore finds them in the environment."""
        scheme = self.url.partition(":")[0]
        bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
        return Route(proxy=get_environ_proxies(self.url).get(scheme), ca_bundle=bundle or str(get_cert_path(True)))
