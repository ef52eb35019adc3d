"""The example task against the example service, over real connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import urllib3

from tasks import events


class Service:
    """The example service as a process, and what has arrived there."""

    def __init__(self, *options, port=0):
        program = "from app.cli.downstream import command; command()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, "--port", str(port), *options], stdout=subprocess.PIPE, text=True
        )
        self.url = self._process.stdout.readline().strip()

    def ask(self, path):
        return json.loads(urllib3.request("GET", f"{self.url}{path}").data)

    def stop(self):
        self._process.terminate()
        assert self._process.wait(10) == 0
        self._process.stdout.close()


@pytest.fixture
def service():
    """Start a service; all are stopped."""
    started = []

    def service(*options, **more):
        started.append(Service(*options, **more))
        return started[-1]

    yield service
    for one in started:
        if one._process.poll() is None:
            one.stop()


@pytest.fixture
def post(monkeypatch):
    """Run the task's function for an event, with connections of this test's own."""
    monkeypatch.setattr(events, "_pools", {})

    def post(event_id, url, *, timeout=5.0):
        settings = SimpleNamespace(downstream_url=url, downstream_timeout=timeout, downstream_connections=4)
        monkeypatch.setitem(events.post.app.conf, "sluice", settings)
        events.post.run({"id": event_id, "name": "Zoë"})

    yield post
    for pool in events._pools.values():
        pool.clear()


def test_events_arrive_over_one_connection(post, service):
    running = service()
    for number in range(20):
        post(f"event-{number}", running.url)
    assert running.ask("/ids") == [f"event-{number}" for number in range(20)]
    (pool,) = events._pools.values()
    assert pool.connection_from_url(running.url).num_connections == 1


def test_a_service_that_does_not_answer_in_time_is_a_failure(post, service):
    running = service("--latency", "3000")
    with pytest.raises(urllib3.exceptions.ReadTimeoutError) as caught:
        post("event-1", running.url, timeout=0.2)
    assert "event-1" not in str(caught.value)


def test_an_error_of_the_service_is_a_failure_and_is_not_tried_again_at_once(post, service):
    running = service("--error-rate", "1")
    with pytest.raises(events.NotAccepted):
        post("event-1", running.url)
    assert running.ask("/stats")["requests"] == 1


def test_a_service_that_was_restarted_is_reached_over_a_new_connection(post, service):
    first = service()
    post("event-1", first.url)
    first.stop()
    second = service(port=int(first.url.rsplit(":", 1)[1]))
    post("event-2", second.url)
    assert second.ask("/ids") == ["event-2"]


def test_a_forked_child_does_not_talk_over_its_parents_connections(post, service):
    """Given a parent that has posted, when parent and child post side by side, then each answer reaches its asker."""
    running = service("--latency", "5")
    post("before", running.url)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for number in range(50):
                post(f"child-{number}", running.url)
            status = 0
        finally:
            os._exit(status)
    for number in range(50):
        post(f"parent-{number}", running.url)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(running.ask("/ids")) == 101
