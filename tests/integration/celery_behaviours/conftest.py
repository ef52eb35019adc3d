"""Two brokers, each with a worker that has the same tasks and with a producer: stock Celery on Redis, and Sluice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import redis

sys.path.append(str(Path(__file__).parent))  # where `behaviours` and `stock` are

import stock
from celery import Celery
from harness import Events, Queues, Valkey, Worker, end, until

from app.control.link import LinkOptions
from app.testing.sqs.process import LocalSQS
from app.transport.options import Options
from settings import load
from settings.celery import celery_config

HERE = Path(__file__).parent


class StockWorker(Worker):
    """`celery -A stock worker …`."""

    celery, application = (sys.executable, "-m", "celery"), "stock"


class Producer(Celery):
    """What Sluice's own application is, beside the settings of this process's environment."""

    task_cls = "app.base_task:Task"


class Broker:
    """A broker, its worker, and an application that sends to it."""

    #: What SQS has handed out that often goes to the dead-letter queue instead.
    receives = 2

    def __init__(self, name, app, worker):
        self.name, self.app, self.worker = name, app, worker
        app.loader.import_default_modules()
        app.finalize()

    @property
    def is_sluice(self):
        return self.name == "sluice"

    def task(self, name):
        return self.app.tasks[f"behaviours.{name}"]

    def runs(self, result):
        """How often the task of that result has begun."""
        return self.worker.notes("run").count(result.id)

    def lines(self, kind, name):
        """What follows that kind of note and that name, line by line."""
        noted = self.worker.notes_file.read_text().splitlines() if self.worker.notes_file.exists() else []
        return [line.split(maxsplit=2)[2] for line in noted if line.startswith(f"{kind} {name} ")]

    def settled(self):
        """Wait until nothing is left in the queue or in work."""
        until(lambda: self.left() == 0, lambda: f"settling: {self.left()} left; {self.worker.log[-4000:]}")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory):
    """Of its own: the workers here live as long as the test process, and other tests must not see them."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


def database(valkey, number):
    return f"{valkey.url.removesuffix('/0')}/{number}"


def close(app, worker):
    app.backend.result_consumer.stop()
    # Results that are collected later would connect anew, to say that they are no longer waited for.
    app.backend.remove_pending_result = lambda _: None
    app.backend.client.connection_pool.disconnect()
    app.close()
    end([worker])


@pytest.fixture(scope="session")
def redis_broker(valkey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("redis")
    addresses = {"STOCK_BROKER": database(valkey, 1), "STOCK_RESULTS": database(valkey, 2)}
    environment = {**addresses, "PYTHONPATH": str(HERE)}
    worker = StockWorker(folder, environment, "-P", "prefork", "-c", "4", "-E", "-n", "worker@redis").start()
    app = stock.application(*addresses.values())
    broker = Broker("redis", app, worker)

    client = redis.Redis.from_url(addresses["STOCK_BROKER"])

    def left():
        return client.llen("sluice") + client.hlen("unacked")

    broker.left = left
    broker.polls = lambda: client.info("clients")["blocked_clients"]
    broker.worker.ready()
    yield broker
    close(app, worker)
    client.close()


@pytest.fixture(scope="session")
def sluice_broker(valkey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sluice")
    with LocalSQS() as server:  # not the session's, which other tests empty while this worker is there
        server.create_queue("sluice", max_receives=Broker.receives)
        settings = {
            "AWS_ENDPOINT_URL_SQS": server.endpoint_url,
            "AWS_REGION": "us-east-1",
            "SLUICE_CONTROL_URL": valkey.url,
            "SLUICE_RESULT_URL": database(valkey, 3),
        }
        more = {"SLUICE_TASK_MODULES": "behaviours", "SLUICE_RETRY_BACKOFF": "0.5", "PYTHONPATH": str(HERE)}
        options = ("-P", "prefork", "-c", "4", "-E", "-n", "worker@sluice")
        worker = Worker(folder, {**settings, **more}, *options).start()
        app = Producer("producer", set_as_current=False)
        app.config_from_object(celery_config(load({**settings, "SLUICE_TASK_MODULES": "behaviours"})))
        app.conf.broker_transport_options = {
            "sqs": Options(endpoint_url=server.endpoint_url, region="us-east-1"),
            "control": LinkOptions(valkey.url),
            "body_encoding": None,
        }
        broker = Broker("sluice", app, worker)
        broker.queues = Queues(server)
        broker.left = broker.queues.left
        broker.polls = lambda: server.queues["sluice"]["waiting_polls"]
        broker.worker.ready()
        yield broker
        close(app, worker)


@pytest.fixture(params=["redis", "sluice"])
def broker(request):
    """Each test runs once on each."""
    return request.getfixturevalue(f"{request.param}_broker")


@pytest.fixture
def sluice(sluice_broker):
    """Only Sluice: what it refuses."""
    return sluice_broker


@pytest.fixture
def events(broker):
    with Events(broker.app) as events:
        yield events
