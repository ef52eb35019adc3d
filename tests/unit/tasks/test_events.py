from __future__ import annotations

import json
import os
import pickle
import threading
from types import SimpleNamespace

import pytest

from tasks import events

EVENT = {"id": "5f3a", "name": "Zoë", "secret": "hunter2"}


class Service:
    """Answers like a pool of connections to the service."""

    def __init__(self, status=201):
        self.status = status
        self.asked = []

    def request(self, method, url, **options):
        self.asked.append((method, url, options))
        return SimpleNamespace(status=self.status)


@pytest.fixture
def post(monkeypatch):
    """Run the task's function with these settings and that service."""

    def post(event, *, service, url="http://service.test/base/"):
        settings = SimpleNamespace(downstream_url=url, downstream_timeout=3.0, downstream_connections=7)
        monkeypatch.setitem(events.post.app.conf, "sluice", settings)
        monkeypatch.setattr(events, "_pool", lambda _: service)
        return events.post.run(event)

    return post


def test_the_task_is_known_by_the_name_that_producers_use():
    assert events.post.name == "tasks.events.post"


def test_an_event_is_posted_with_its_id_as_idempotency_key(post):
    service = Service()
    assert post(EVENT, service=service) is None
    ((method, url, options),) = service.asked
    assert (method, url) == ("POST", "http://service.test/base/events")
    assert json.loads(options["body"]) == EVENT
    assert options["headers"] == {"Content-Type": "application/json", "Idempotency-Key": "5f3a"}
    assert options["timeout"].connect_timeout == 3.0
    assert options["timeout"].total == 3.0
    assert options["retries"] is False


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_a_success(post, status):
    post(EVENT, service=Service(status))


@pytest.mark.parametrize("status", [301, 304, 400, 404, 409, 429, 500, 503])
def test_anything_else_is_a_failure_that_shows_the_status_and_nothing_of_the_event(post, status):
    with pytest.raises(events.NotAccepted) as caught:
        post(EVENT, service=Service(status))
    assert caught.value.status == status
    assert str(status) in str(caught.value)
    assert not any(part in str(caught.value) for part in ("5f3a", "Zoë", "hunter2"))


def test_a_failure_crosses_processes_whole():
    """Prefork pickles what a task raises."""
    error = pickle.loads(pickle.dumps(events.NotAccepted(503)))
    assert (error.status, str(error)) == (503, str(events.NotAccepted(503)))
    assert str(pickle.loads(pickle.dumps(events.DownstreamNotSet()))) == str(events.DownstreamNotSet())


def test_without_a_service_the_error_says_what_to_set(post):
    with pytest.raises(events.DownstreamNotSet, match="SLUICE_DOWNSTREAM_URL is not set"):
        post(EVENT, service=Service(), url=None)


@pytest.mark.parametrize("event", [None, [], "hunter2", {}, {"id": ""}, {"name": "hunter2"}])
def test_what_is_no_event_is_refused_unseen(post, event):
    service = Service()
    with pytest.raises(ValueError, match="an event is a JSON object with an id") as caught:
        post(event, service=service)
    assert "hunter2" not in str(caught.value)
    assert service.asked == []


@pytest.mark.parametrize(
    ("event_id", "key"), [("a\r\nX-Evil: 1", "a%0D%0AX-Evil%3A%201"), ("Zoë", "Zo%C3%AB"), (42, "42"), ("a/b", "a%2Fb")]
)
def test_an_id_that_no_header_can_hold_is_quoted(post, event_id, key):
    service = Service()
    post({"id": event_id}, service=service)
    assert service.asked[0][2]["headers"]["Idempotency-Key"] == key


def test_each_process_has_connections_of_its_own(monkeypatch):
    """Given a pool in the parent, when the process id is another, as in a forked child, then the pool is another."""
    monkeypatch.setattr(events, "_pools", {})
    parents = events._pool(5)
    assert events._pool(5) is parents
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert events._pool(5) is not parents


def test_threads_that_come_first_at_once_share_one_pool(monkeypatch):
    monkeypatch.setattr(events, "_pools", {})
    together, found = threading.Barrier(8), []

    def first():
        together.wait(10)
        found.append(events._pool(5))

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len({id(pool) for pool in found}) == 1
