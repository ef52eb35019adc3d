"""Whoever controls workers and listens to their events: Celery's own client, on our transport."""

from __future__ import annotations

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
