"""Events for the service behind the queue: each is POSTed once it is received, and done when that answers 2xx."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import urllib3

from app import task


class DownstreamNotSet(Exception):
    """SLUICE_DOWNSTREAM_URL is not set, so there is nowhere to send events to; set it to the service's base address."""

    def __str__(self) -> str:
        return str(self.__doc__)


class NotAccepted(Exception):
    """The service answered something else than 2xx; neither the event nor the answer's text is shown."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    def __str__(self) -> str:
        return f"the service behind the queue answered {self.status} to an event"


@task(bind=True)
def post(self: Any, event: dict[str, Any]) -> None:
    """POST one event to `/events` of the service at SLUICE_DOWNSTREAM_URL.

    The event's `id` goes along as Idempotency-Key: SQS delivers at least once, so the service sees some twice.

    Raises:
        ValueError: this is no event.
        DownstreamNotSet: there is no service.
        NotAccepted: the service answered, but not 2xx.
        urllib3.exceptions.HTTPError: the service could not be reached or did not answer in time.
    """
    if not isinstance(event, dict) or not event.get("id"):
        raise ValueError("an event is a JSON object with an id")
    settings = self.app.conf.sluice
    if not settings.downstream_url:
        raise DownstreamNotSet
    answer = _pool(settings.downstream_connections).request(
        "POST",
        f"{settings.downstream_url.rstrip('/')}/events",
        body=json.dumps(event, separators=(",", ":")).encode(),
        # Quoted: an id is somebody else's text, and a header holds neither line breaks nor all of Unicode.
        headers={"Content-Type": "application/json", "Idempotency-Key": quote(str(event["id"]), safe="")},
        timeout=urllib3.Timeout(total=settings.downstream_timeout),
        pool_timeout=settings.downstream_timeout,
        retries=False,  # the queue repeats what failed, later and under the task's own rules
    )
    if not 200 <= answer.status < 300:
        raise NotAccepted(answer.status)


_pools: dict[int, urllib3.PoolManager] = {}


def _pool(connections: int) -> urllib3.PoolManager:
    """This process's connections, made when the first task runs.

    By process, because a forked pool process must not talk over the connections of the one it was forked from; made
    late, because under gevent the sockets must be the patched ones.
    """
    pid = os.getpid()
    pool = _pools.get(pid)
    if pool is None:
        # Two threads may both come here: setdefault lets one of the pools win and both use it.
        pool = _pools.setdefault(pid, urllib3.PoolManager(maxsize=connections, block=True))
    return pool
