"""The transport as kombu sees it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kombu import Connection

from app import native
from app.errors import CannotDelay
from app.transport import Transport
from app.transport.options import Options, QueueOptions


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        (Options(endpoint_url="http://127.0.0.1:9324"), "sqs://127.0.0.1:9324"),
        (Options(endpoint_url="https://user:secret@proxy.example/x", region="eu-west-1"), "sqs://proxy.example"),
        (Options(region="eu-west-1"), "sqs://eu-west-1"),
        (Options(), "sqs://the region that the AWS SDK finds"),
    ],
)
def test_its_address_says_where_sqs_is_and_no_secret(options, uri):
    connection = Connection("sqs://", transport=Transport, transport_options={"sqs": options})
    assert connection.as_uri() == uri
    assert connection.as_uri(include_password=True) == uri


class Timer:
    """Kombu's, as far as it is used."""

    def __init__(self, call):
        self.call, self.is_cancelled = call, False

    def cancel(self):
        self.is_cancelled = True


def test_whoever_consumes_looks_after_threads_that_were_refused_to_the_process(monkeypatch):
    looks = []
    monkeypatch.setattr(native, "resume", lambda: looks.append(1))
    transport = Connection("sqs://", transport=Transport, transport_options={"sqs": Options()}).transport
    with pytest.raises(TimeoutError):
        transport.drain_events(None, timeout=0)
    assert looks == [1]

    timers = []
    loop = SimpleNamespace(
        add_reader=lambda *_: None,
        remove=lambda *_: None,
        call_repeatedly=lambda seconds, call: timers.append(Timer(call)) or timers[-1],
    )
    transport.register_with_event_loop(None, loop)
    [timer] = timers
    timer.call()
    assert looks == [1, 1]
    transport.client.ensure_connection()
    transport.close_connection(transport.client.connection)
    assert timer.is_cancelled


def test_nothing_of_ours_deletes_a_queue():
    channel = Connection("sqs://", transport=Transport, transport_options={"sqs": Options()}).channel()
    with pytest.raises(NotImplementedError, match="Sluice does not delete queues"):
        channel._delete("orders")


class Client:
    """Takes what is sent."""

    def __init__(self):
        self.sent = []

    def send_message(self, **call):
        self.sent.append(call)
        return {"MessageId": "1"}


def put(url, *, eta=None, monkeypatch, **properties):
    options = Options(queues={"orders": QueueOptions(url=url)})
    channel = Connection("sqs://", transport=Transport, transport_options={"sqs": options}).channel()
    client = Client()
    monkeypatch.setattr(channel, "sqs", lambda queue=None: client)
    channel._put("orders", {"body": "b", "headers": {"eta": eta}, "properties": properties})
    return client.sent[0]


@pytest.mark.parametrize(
    ("eta", "properties", "delay"),
    [
        (None, {}, None),
        ("2999-01-01T00:00:00+00:00", {}, 900),
        ("1999-01-01T00:00:00+00:00", {}, None),
        ("2999-01-01T00:00:00+00:00", {"DelaySeconds": 5}, 5),
        (None, {"delay_seconds": 7}, 7),
    ],
)
def test_what_is_due_later_is_held_back_by_sqs(eta, properties, delay, monkeypatch):
    assert put("https://sqs/1/orders", eta=eta, monkeypatch=monkeypatch, **properties).get("DelaySeconds") == delay


def test_a_fifo_queue_cannot_hold_it_back_and_that_is_said_to_who_sends(monkeypatch):
    with pytest.raises(CannotDelay, match="send it without countdown and eta"):
        put("https://sqs/1/orders.fifo", eta="2999-01-01T00:00:00+00:00", monkeypatch=monkeypatch)
    assert "DelaySeconds" not in put("https://sqs/1/orders.fifo", monkeypatch=monkeypatch)
