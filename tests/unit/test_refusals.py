"""What Celery is told and nothing would follow ends the worker at start, each in a sentence."""

from __future__ import annotations

import pytest
from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

from app import refusals
from settings import load
from settings.celery import celery_config


def configured(**told):
    """Celery's settings as ours are, with what somebody told it besides."""
    app = Celery("told", set_as_current=False)
    app.config_from_object(celery_config(load({})))
    app.conf.broker_transport_options = {"sqs": None, "control": None, "body_encoding": None}
    app.conf.sluice = load({})
    app.conf.update(told)
    return app.conf


def test_our_own_settings_are_taken():
    refusals.check(conf=configured())


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"broker_url": "redis://here"}, "broker_url has no effect on Sluice"),
        ({"result_backend": "redis://here"}, "set SLUICE_RESULT_URL instead"),
        ({"worker_eta_task_limit": 10}, "worker_eta_task_limit has no effect on Sluice.*waits in SQS"),
        ({"event_exchange": "ours"}, "event_exchange must begin with 'celeryev'"),
        ({"event_queue_prefix": "ours"}, "event_queue_prefix must begin with 'celeryev'"),
        ({"broker_use_ssl": True}, "broker_use_ssl has no effect on Sluice.*AWS_ENDPOINT_URL_SQS"),
        ({"task_queue_max_priority": 10}, "SQS has no order of priority; give what is urgent a queue"),
        ({"worker_direct": True}, "SQS has no queue for each worker"),
        ({"worker_disable_prefetch": True}, "SLUICE_PREFETCH_SECONDS=0"),
        ({"accept_content": ["json", "pickle"]}, "read JSON only"),
        ({"broker_transport_options": {"visibility_timeout": 5}}, "Sluice reads no visibility_timeout from broker_tr"),
        ({"task_queues": [Broadcast("all")]}, "The exchange 'all' is of type 'fanout', and SQS has queues only"),
        ({"task_queues": [Queue("a", Exchange("a", type="topic"))]}, "is of type 'topic'"),
    ],
)
def test_what_celery_was_told_and_cannot_be_had_is_refused(told, sentence):
    with pytest.raises(SystemExit, match=sentence):
        refusals.check(conf=configured(**told))


def test_all_that_is_refused_is_said_at_once():
    with pytest.raises(SystemExit) as refused:
        refusals.check(conf=configured(worker_direct=True, broker_use_ssl=True))
    assert len(str(refused.value).splitlines()) == 2


def test_the_worker_of_another_application_in_this_process_is_left_alone():
    stock = Celery("stock", broker="redis://here", set_as_current=False)
    refusals.check(conf=stock.conf)
