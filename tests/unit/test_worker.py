"""What a worker refuses, and what it writes into the log."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from celery.concurrency.base import BasePool

from app import worker
from app.consumer import Consumer
from app.pools import prefork, solo, threads
from settings import load
from settings.celery import celery_config


def check(**options):
    conf = SimpleNamespace(task_queues=[SimpleNamespace(name="orders"), SimpleNamespace(name="mails")])
    worker._check_options(options=options, conf=conf)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool": prefork.TaskPool, "autoscale": "4,1"},
        {"pool": solo.TaskPool},
        {"queues": ["orders", "mails"]},
        {"queues": "orders,mails"},
        {"exclude_queues": ["mails"]},
    ],
)
def test_what_can_work_is_taken(options):
    check(**options)


def test_celery_is_told_of_our_consumer_by_its_name():
    assert celery_config(load({}))["worker_consumer"] == f"{Consumer.__module__}:{Consumer.__name__}"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pool": worker.RefusedPool}, "this pool is not supported"),
        ({"pool": threads.TaskPool, "autoscale": "4,1"}, "The threads pool cannot grow"),
        ({"pool": solo.TaskPool, "autoscale": "4,1"}, "The solo pool cannot grow"),
        ({"queues": ["orders", "slice"]}, "no queue slice to consume from: the settings describe orders, mails"),
        ({"exclude_queues": "slice"}, "no queue slice"),
        ({"time_limit": 5.0}, "Set SLUICE_TASK_TIME_LIMIT in place of --time-limit"),
        ({"soft_time_limit": 5.0}, "Set SLUICE_TASK_SOFT_TIME_LIMIT in place of --soft-time-limit"),
    ],
)
def test_what_cannot_is_refused_by_an_exit_since_celery_logs_other_exceptions_and_goes_on(options, sentence):
    with pytest.raises(SystemExit, match=sentence):
        check(**options)


@pytest.mark.parametrize(
    ("pool", "lines"),
    [
        (prefork.TaskPool, []),
        (
            threads.TaskPool,
            ["soft_time_limit of warned is not kept: use -P prefork.", "time_limit of killed is not kept"],
        ),
    ],
)
def test_time_limits_that_the_pool_does_not_keep_are_told(pool, lines, caplog):
    conf = SimpleNamespace(task_soft_time_limit=870.0, task_time_limit=900.0)
    defaults = {"soft_time_limit": conf.task_soft_time_limit, "time_limit": conf.task_time_limit}
    tasks = [
        SimpleNamespace(name="plain", **defaults),
        SimpleNamespace(name="warned", **{**defaults, "soft_time_limit": 5}),
        SimpleNamespace(name="killed", **{**defaults, "time_limit": 5}),
        SimpleNamespace(name="unbound", soft_time_limit=None, time_limit=None),
    ]
    app = SimpleNamespace(tasks={task.name: task for task in tasks})
    worker._warn_of_limits(instance=SimpleNamespace(pool_cls=pool, app=app), conf=conf)
    assert len(caplog.messages) == len(lines)
    assert all(line in message for line, message in zip(lines, caplog.messages, strict=True))


def test_the_stand_in_is_a_pool():
    """Or `-P processes` would end in Celery's own traceback."""
    assert issubclass(worker.RefusedPool, BasePool)


@pytest.mark.parametrize(("log_tasks", "level"), [(False, logging.WARNING), (True, logging.NOTSET)])
def test_the_lines_of_each_task_are_kept_out_of_the_log_unless_asked_for(log_tasks, level, monkeypatch):
    for name in worker._TASK_LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    worker._Quiet(log_tasks=log_tasks)()
    assert {logging.getLogger(name).level for name in worker._TASK_LOGGERS} == {level}


@pytest.mark.parametrize(("url", "lines"), [(None, 1), ("redis://here", 0)])
def test_a_missing_control_link_is_told_once(url, lines, caplog):
    worker._Greeting(SimpleNamespace(control_url=url))()
    assert len(caplog.records) == lines


class Delivery:
    def __init__(self):
        self.outcomes = []

    def settle(self, outcome):
        self.outcomes.append(outcome)


class Message:
    headers = {"task": "unknown.task", "id": "1", "argsrepr": "secret"}  # noqa: RUF012 - a stand-in
    delivery_info = {"routing_key": "orders", "sqs_message_id": "m-1"}  # noqa: RUF012

    def __init__(self, delivery):
        self.delivery = delivery
        self.fate = []

    def ack_log_error(self, *_):
        self.fate.append("ack")

    def reject_log_error(self, *_, requeue):
        self.fate.append("requeue" if requeue else "reject")


HANDLERS = pytest.mark.parametrize(
    ("handler", "arguments", "reason"),
    [
        (Consumer.on_unknown_message, lambda m: ("secret", m), "it names no task"),
        (Consumer.on_unknown_task, lambda m: ("secret", m, KeyError("unknown.task")), "has a task 'unknown.task'"),
        (Consumer.on_invalid_task, lambda m: ("secret", m, ValueError("bad eta")), "no valid call of a task (bad eta)"),
        (Consumer.on_decode_error, lambda m: (m, ValueError("secret")), "cannot be decoded (ValueError)"),
    ],
)


@HANDLERS
def test_what_celery_can_make_nothing_of_is_rejected_and_not_shown(handler, arguments, reason, caplog):
    message, consumer = Message(Delivery()), object.__new__(Consumer)
    consumer.connection_errors = ()
    handler(consumer, *arguments(message))
    [outcome] = message.delivery.outcomes
    # Another worker may know the task, in the middle of a deployment.
    assert outcome.kind == ("retry" if handler is Consumer.on_unknown_task else "reject")
    assert reason in outcome.reason
    assert "secret" not in f"{outcome} {caplog.text}"
    assert message.fate == []


@HANDLERS
def test_what_comes_by_another_transport_is_settled_by_it(handler, arguments, reason):
    message, consumer = Message(None), object.__new__(Consumer)
    consumer.connection_errors = ()
    handler(consumer, *arguments(message))
    assert message.fate == ["requeue" if handler is Consumer.on_unknown_task else "reject"]
