"""Whoever controls workers and listens to their events: Celery's own client, on our transport."""

from __future__ import annotations

import threading

import pytest
from celery import Celery
from harness import Valkey

from app.control.link import LinkOptions
from app.transport.options import Options


class OwnValkey:
    """A server that can be stopped, and started again where it was."""

    def __init__(self, folder):
        self._folder = folder
        self.server = Valkey(folder)

    def again(self):
        self.server = Valkey(self._folder, "--port", self.server.port, "--password", self.server.password)


@pytest.fixture
def own_valkey(tmp_path):
    """A Valkey server of this test alone, to be stopped and frozen."""
    own = OwnValkey(tmp_path)
    yield own
    own.server.stop()


@pytest.fixture
def controller(sqs_server):
    """Makes a Celery application that reaches the workers over that Valkey."""

    def controller(valkey):
        app = Celery("controller", set_as_current=False)
        app.conf.update(
            broker_url="sqs://",
            broker_transport="app.control.transport:Transport",
            broker_transport_options={
                "sqs": Options(endpoint_url=sqs_server.endpoint_url, region="us-east-1"),
                "control": LinkOptions(valkey.url),
            },
            task_queues=[],
            result_backend=None,
            event_serializer="json",
        )
        return app

    return controller


class Listener:
    """Collects events in a thread of its own."""

    def __init__(self, app):
        self._app, self.events = app, []
        self._stop = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _run(self):
        with self._app.connection() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self.events.append})
            with receiver.consumer_context() as (listening, _, _):
                self._listening.set()
                while not self._stop.is_set():
                    try:
                        listening.drain_events(timeout=0.2)
                    except TimeoutError:
                        continue

    def of(self, kind):
        return [event for event in list(self.events) if event["type"] == kind]


@pytest.fixture
def listener():
    return Listener
