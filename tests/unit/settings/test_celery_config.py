"""What Celery is told: only settings that it has, and all of them in force."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.app.defaults import DEFAULTS
from celery.exceptions import ImproperlyConfigured, QueueNotFound

from settings import load
from settings.celery import celery_config
from settings.queue import Queue

TABLE = (Queue(name="orders"), Queue(name="mails"))


def application(environ: dict[str, str] | None = None) -> Celery:
    app = Celery("bare", set_as_current=False)
    app.config_from_object(celery_config(load(environ or {}, table=TABLE)))
    return app


def test_every_name_is_a_setting_of_celery():
    unknown = celery_config(load({}, table=())).keys() - DEFAULTS.keys()
    # Read by celery.backends.base.Backend, and missing from Celery's own table of settings.
    assert unknown == {"result_backend_thread_safe"}


def test_every_value_is_in_force():
    config = celery_config(load({}, table=TABLE))
    app = application()
    for name, value in config.items():
        if name != "task_queues":
            assert app.conf[name] == value, name
    assert app.conf.broker_url == "sqs://"
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert not app.conf.task_acks_on_failure_or_timeout
    assert app.conf.worker_prefetch_multiplier == 10
    assert (app.conf.task_time_limit, app.conf.task_soft_time_limit) == (900, 870)
    assert app.conf.imports == ("tasks",)


def test_only_json_is_read_and_written():
    conf = application().conf
    assert conf.accept_content == conf.result_accept_content == ["json"]
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}


def test_the_transport_is_the_one_that_is_named_whatever_the_url_says():
    from kombu.transport import memory

    app = application()
    assert app.conf.broker_transport == "app.control.transport:Transport"
    # Ours imports botocore, which tries out a socket; the same path with another class shows that the name counts.
    app.conf.broker_transport = "kombu.transport.memory:Transport"
    with app.connection_for_read() as connection:
        assert type(connection.transport) is memory.Transport


def test_all_queues_are_drained_and_a_task_without_a_queue_goes_to_the_default_one():
    app = application()
    assert list(app.amqp.queues.consume_from) == ["orders", "mails"]
    assert app.amqp.router.route({}, "any.task")["queue"].name == "orders"
    other = application({"SLUICE_QUEUE": "mails"})
    assert other.amqp.router.route({}, "any.task")["queue"].name == "mails"


def test_a_task_can_be_sent_to_any_queue_by_name():
    app = application()
    assert app.amqp.router.route({"queue": "mails"}, "any.task")["queue"].name == "mails"


def test_a_message_goes_to_one_queue_only():
    """On one exchange with one routing key, each message would go to all queues."""
    queues = application().amqp.queues
    assert {(queue.exchange.name, queue.exchange.type, queue.routing_key) for queue in queues.values()} == {
        ("orders", "direct", "orders"),
        ("mails", "direct", "mails"),
    }


def test_a_misspelt_queue_is_an_error_and_not_a_new_queue():
    app = application()
    with pytest.raises(QueueNotFound, match="mailz"):
        app.amqp.router.route({"queue": "mailz"}, "any.task")
    with pytest.raises((ImproperlyConfigured, KeyError), match="mailz"):
        app.amqp.queues.select(["mailz"])
    app.amqp.queues.select(["mails"])
    assert list(app.amqp.queues.consume_from) == ["mails"]


def test_without_a_store_results_are_not_stored():
    app = application()
    assert app.conf.task_ignore_result
    assert type(app.backend).__name__ == "DisabledBackend"


def test_with_a_store_results_are_kept():
    app = application({"SLUICE_RESULT_URL": "redis://:pw@127.0.0.1:1/1"})
    assert not app.conf.task_ignore_result
    assert app.conf.result_backend == "redis://:pw@127.0.0.1:1/1"


def test_the_backend_is_shared_by_all_threads():
    from threading import Thread

    app = application()
    seen = [app.backend]
    thread = Thread(target=lambda: seen.append(app.backend))
    thread.start()
    thread.join(10)
    assert len(seen) == 2
    assert seen[0] is seen[1]


def test_remote_control_is_on_where_there_is_a_control_link():
    assert not application().conf.worker_enable_remote_control
    assert application({"SLUICE_CONTROL_URL": "redis://valkey"}).conf.worker_enable_remote_control


def test_sending_gives_up_in_seconds():
    policy = application().conf.task_publish_retry_policy
    waits = [
        min(policy["interval_start"] + n * policy["interval_step"], policy["interval_max"])
        for n in range(policy["max_retries"])
    ]
    assert sum(waits) == pytest.approx(1.2)


def test_each_application_gets_queues_of_its_own():
    """Celery changes the queue objects that it is given."""
    settings = load({}, table=TABLE)
    one, other = celery_config(settings)["task_queues"], celery_config(settings)["task_queues"]
    assert not {id(queue) for queue in one} & {id(queue) for queue in other}
