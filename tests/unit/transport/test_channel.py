"""The channel as producers see it: what cannot be had on SQS is an error at once, and never lost without a word."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace

import pytest
from fake_engine import delivery
from kombu import Connection, Exchange, Producer, Queue
from kombu.utils import json as kombu_json

from app.control.transport import Transport
from app.errors import NotOnSQS
from app.transport.options import Options, QueueOptions

ORDERS = Queue("orders", Exchange("orders", type="direct"), routing_key="orders")


class Client:
    """Takes what is sent, and says that three messages are there."""

    def __init__(self):
        self.sent, self.purged = [], []

    def send_message(self, **call):
        self.sent.append(json.loads(call["MessageBody"]))
        return {"MessageId": "1"}

    def get_queue_attributes(self, **_):
        return {"Attributes": {"ApproximateNumberOfMessages": "3"}}

    def purge_queue(self, QueueUrl):  # noqa: N803 - the SDK's
        self.purged.append(QueueUrl)


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def channel(client, monkeypatch):
    options = Options(queues={"orders": QueueOptions(url="https://sqs/1/orders")})
    channel = Connection(
        "sqs://", transport=Transport, transport_options={"sqs": options, "body_encoding": None}
    ).channel()
    monkeypatch.setattr(channel, "sqs", lambda queue=None: client)
    return channel


def test_a_call_goes_to_its_queue_by_name_or_by_its_own_exchange(channel, client):
    Producer(channel).publish({"n": 1}, routing_key="orders")
    Producer(channel).publish({"n": 2}, exchange="orders", routing_key="orders", declare=[ORDERS])
    assert [json.loads(sent["body"]) for sent in client.sent] == [{"n": 1}, {"n": 2}]


def test_what_no_queue_would_get_is_refused(channel, client):
    with pytest.raises(NotOnSQS, match="No queue hangs on the exchange 'events' with the routing key 'orders'"):
        Producer(channel).publish({}, exchange="events", routing_key="orders", declare=[ORDERS])
    with pytest.raises(NotOnSQS, match=r"name the queue, as in apply_async\(queue=…\)"):
        Producer(channel).publish({}, exchange="orders", routing_key="orderz", declare=[ORDERS])
    assert client.sent == []


@pytest.mark.parametrize("kind", ["topic", "fanout"])
def test_an_exchange_that_copies_messages_is_refused(kind, channel, client):
    queue = Queue("orders", Exchange("events", type=kind), routing_key="#")
    with pytest.raises(NotOnSQS, match=f"'events' is of type '{kind}', and SQS has queues only"):
        Producer(channel).publish({}, exchange=queue.exchange, routing_key="orders", declare=[queue])
    assert client.sent == []


def test_celerys_own_exchanges_for_control_and_events_are_none_of_those(channel):
    for name, kind in [("celery.pidbox", "fanout"), ("reply.celery.pidbox", "direct"), ("celeryev", "topic")]:
        Exchange(name, type=kind).declare(channel=channel)


def test_what_no_worker_would_read_is_refused(channel, client):
    with pytest.raises(NotOnSQS, match="Sluice's workers read JSON only"):
        Producer(channel).publish({}, routing_key="orders", serializer="pickle")
    assert client.sent == []


def test_nor_is_what_is_due_when_no_worker_can_tell(channel, client):
    with pytest.raises(NotOnSQS, match="The eta 9999-12-31T00:00:00 is out of all bounds"):
        Producer(channel).publish({}, routing_key="orders", headers={"eta": "9999-12-31T00:00:00"})
    assert client.sent == []


def test_a_message_knows_its_delivery_also_when_that_is_handed_back_meanwhile(channel, client, engine):
    """By the engine's thread. Without, it was taken for none of SQS's: it ran, and was not deleted."""
    Producer(channel).publish({"n": 1}, routing_key="orders")
    given, made = delivery(SimpleNamespace(engine=engine), body=json.dumps(client.sent[0]), queue="orders"), []
    channel.connection._callbacks["orders"] = lambda payload: made.append(channel.Message(payload, channel=channel))
    assert channel.delivery(given.tag) is None
    channel.give(given)
    assert [message.delivery for message in made] == [given]


def test_what_is_compressed_is_sent_as_base64(channel, client):
    Producer(channel).publish({"n": 1}, routing_key="orders", compression="gzip")
    [sent] = client.sent
    assert sent["properties"]["body_encoding"] == "base64"
    assert json.loads(
        channel.Message({**sent, "properties": {**sent["properties"], "delivery_tag": "1"}}, channel).body
    )


def test_what_kombus_json_can_say_can_be_sent(channel, client):
    Producer(channel).publish({"n": 1}, routing_key="orders", headers={"tenant": uuid.UUID(int=5)})
    [sent] = client.sent
    assert sent["headers"]["tenant"] == {"__type__": "uuid", "__value__": {"hex": uuid.UUID(int=5).hex}}


@pytest.mark.parametrize("encoding", [None, "base64"])
def test_a_call_by_the_older_protocol_waits_until_it_is_due_unless_it_is_revoked(encoding, channel, monkeypatch):
    """Its id may be a UUID, as it may be elsewhere."""
    told = {"task": "t", "id": uuid.UUID(int=5), "args": [], "eta": "2999-01-01T00:00:00+00:00"}
    body, _ = channel.encode_body(kombu_json.dumps(told), encoding)
    payload = {"body": body, "headers": {}, "properties": {"body_encoding": encoding}}
    assert channel._seconds_until_due(payload) > 1e9
    monkeypatch.setattr(channel._transport, "is_revoked", {str(told["id"])}.__contains__)
    assert channel._seconds_until_due(payload) == 0


def test_a_purge_says_how_many_there_were_and_asks_once(channel, client):
    assert channel.queue_purge("orders") == 3
    assert client.purged == ["https://sqs/1/orders"]
