"""A message made here against what `.delay()` and stock kombu put on the wire."""

from __future__ import annotations

import base64
import json
import uuid

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound
from kombu import Queue
from kombu.transport import SQS

from app.sending.message import Messages, NotCallable, UnknownTask, message_body
from app.transport import aws
from app.transport.options import Options

EVENT = {"id": "a", "name": "Zoë", "nested": {"n": [1, None, 2.5]}}


class FakeSQS:
    """Keeps what is sent."""

    def __init__(self):
        self.sent = []

    def get_queue_url(self, QueueName, **_):  # noqa: N803 - boto3's name
        return {"QueueUrl": f"https://sqs.test/1/{QueueName}"}

    def send_message(self, **call):
        self.sent.append(call)
        return {"MessageId": "m"}


@pytest.fixture
def sqs(monkeypatch):
    client = FakeSQS()
    monkeypatch.setattr(aws, "sqs_client", lambda **_: client)
    return client


@pytest.fixture
def app():
    made = Celery("test", task_cls="app.base_task:Task", set_as_current=False)
    made.conf.update(
        broker_url="sqs://",
        broker_transport="app.control.transport:Transport",
        broker_transport_options={"sqs": Options(), "body_encoding": "utf-8"},
        task_default_queue="sluice",
        task_queues=[Queue("sluice"), Queue("other")],
        task_create_missing_queues=False,
        task_routes={"tasks.routed": {"queue": "other"}},
    )

    @made.task(name="tasks.post", time_limit=30, expires=3600)
    def post(event):
        pass

    @made.task(name="tasks.routed", ignore_result=True)
    def routed(event):
        pass

    @made.task(name="tasks.two")
    def two(one, other):
        pass

    made.finalize()
    yield made
    made.close()


def without_what_differs(body):
    """The message, but for what is new each time and says nothing: tag, process, and the moment of expiry."""
    message = json.loads(body)
    del message["properties"]["delivery_tag"]
    uuid.UUID(message["properties"].pop("reply_to"))
    if message["headers"]["expires"]:
        message["headers"]["expires"] = "set"
    return message


@pytest.mark.parametrize("name", ["tasks.post", "tasks.routed"])
@pytest.mark.parametrize("event", [EVENT, None, "text", [1, 2]], ids=repr)
def test_a_message_is_what_delay_sends(app, sqs, name, event):
    sent_with = str(uuid.uuid4())
    app.tasks[name].apply_async((event,), task_id=sent_with)
    (call,) = sqs.sent
    messages = Messages(app, name)
    made = messages(event, sent_with)
    assert without_what_differs(made["MessageBody"]) == without_what_differs(call["MessageBody"])
    assert set(made) | {"QueueUrl"} == set(call)
    assert call["QueueUrl"].endswith(f"/{messages.queue}")
    assert len(sqs.sent) == 1  # making one sent none


def test_the_body_is_json_in_json_and_hides_nothing_twice(app):
    body = message_body(app, "tasks.post", EVENT, "an-id")
    message = json.loads(body)
    assert json.loads(message["body"])[0] == [EVENT]
    assert (
        message["headers"]["id"] == message["headers"]["root_id"] == message["properties"]["correlation_id"] == "an-id"
    )
    assert body.count("Zo") == 1  # the event is in the body and not, for monitors to read, in the headers
    assert body.isascii()


def test_another_body_encoding_of_the_application_is_followed(app):
    del app.conf.broker_transport_options["body_encoding"]
    message = json.loads(message_body(app, "tasks.post", EVENT, "an-id"))
    assert json.loads(base64.b64decode(message["body"]))[0] == [EVENT]


def test_stock_kombu_reads_it(app):
    channel = object.__new__(SQS.Channel)
    body = message_body(app, "tasks.post", EVENT, "an-id")
    payload = json.loads(channel._decode_python_message_body(body))
    assert channel.Message(payload | {"properties": payload["properties"] | {"delivery_tag": "t"}}, channel=channel)
    assert channel.decode_body(payload["body"], payload["properties"]["body_encoding"]) == payload["body"]


def test_a_queue_that_is_asked_for_wins_over_the_route(app):
    assert Messages(app, "tasks.post").queue == "sluice"
    assert Messages(app, "tasks.routed").queue == "other"
    messages = Messages(app, "tasks.routed", queue="sluice")
    assert messages.queue == "sluice"
    assert json.loads(messages(1, "id")["MessageBody"])["properties"]["delivery_info"]["routing_key"] == "sluice"


def test_an_unknown_queue_is_refused(app):
    with pytest.raises(QueueNotFound):
        Messages(app, "tasks.post", queue="nowhere")


def test_an_unknown_task_is_refused_unless_workers_elsewhere_have_it(app, sqs):
    with pytest.raises(UnknownTask):
        Messages(app, "tasks.elsewhere")
    made = Messages(app, "tasks.elsewhere", only_registered=False)(EVENT, "an-id")
    app.send_task("tasks.elsewhere", (EVENT,), task_id="an-id", argsrepr="hidden", kwargsrepr="hidden")
    assert without_what_differs(made["MessageBody"]) == without_what_differs(sqs.sent[0]["MessageBody"])
    assert "tasks.elsewhere" not in app.tasks


def test_a_task_that_does_not_take_one_argument_says_so(app):
    with pytest.raises(NotCallable, match="missing 1 required positional argument"):
        Messages(app, "tasks.two")(EVENT, "an-id")


def test_nothing_subscribes_to_results(app, monkeypatch):
    """Given a result backend that listens for each result, when messages are made, then it is not asked to."""
    from celery.backends.redis import RedisBackend

    asked = []
    monkeypatch.setattr("celery.backends.redis.ResultConsumer.consume_from", lambda _, task_id: asked.append(task_id))
    app.conf.result_backend = "redis://localhost:1/0"
    assert isinstance(app.backend, RedisBackend)
    Messages(app, "tasks.post")(EVENT, "an-id")
    assert asked == []
