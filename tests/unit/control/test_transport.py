"""What a channel does with what the link brings."""

from __future__ import annotations

import json

import pytest
from kombu import Connection

from app.control.link import LinkOptions
from app.transport.options import Options

TOPIC = "celery.pidbox"


class Link:
    def __init__(self):
        self.sinks, self.handed_on = {}, []

    def subscribe(self, topic, sink):
        self.sinks[topic] = sink

    def unsubscribe(self, topic, sink):
        pass

    def hand_on(self, topic, payload):
        self.handed_on.append((topic, payload))


@pytest.fixture
def link(monkeypatch):
    link = Link()
    monkeypatch.setattr("app.control.transport.control_link", lambda _: link)
    return link


@pytest.fixture
def channel(link):
    options = {"control": LinkOptions("redis://here"), "sqs": Options(endpoint_url="http://here", region="us-east-1")}
    connection = Connection(transport="app.control.transport:Transport", transport_options=options)
    channel = connection.channel()
    channel.queue_bind(f"worker.{TOPIC}", TOPIC)
    return channel


def test_what_was_not_read_when_it_closes_is_for_who_has_taken_over(channel, link):
    read = []
    transport = channel.connection
    transport._callbacks[f"worker.{TOPIC}"] = read.append
    for number in range(3):
        link.sinks[TOPIC](json.dumps(number))
    transport.inbox.run()
    channel.close()
    while transport.inbox.run():
        pass
    assert read == [0]
    assert link.handed_on == [(TOPIC, "1"), (TOPIC, "2")]
