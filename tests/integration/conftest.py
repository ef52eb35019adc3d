"""Real workers, against the local SQS server and the embedded Valkey."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Where `harness` and `probe` are, and `environments`: test folders are no packages.
sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import aws
from harness import AccountQueues, Queues, Valkey, Worker, end, environment_of

if aws.PREFIX:  # `make test-aws`: the tests' server is an account

    @pytest.fixture(scope="session")
    def aws_account():
        yield from aws.account()

    @pytest.fixture
    def sqs_server(aws_account):
        return aws.Server(aws_account)


@pytest.fixture
def queues(sqs_server):
    return (AccountQueues if aws.PREFIX else Queues)(sqs_server)


@pytest.fixture
def start_worker(sqs_server, tmp_path):
    """Starts workers; gives each as soon as it is ready, or at once with `wait=False`."""
    started = []

    def start(*options, wait=True, environment=None, server=sqs_server):
        folder = tmp_path / f"worker-{len(started)}"
        folder.mkdir()
        settings = {**environment_of(server), **(environment or {})}
        settings = {name: value for name, value in settings.items() if value is not None}
        worker = Worker(folder, settings, *(str(option) for option in options))
        started.append(worker.start())
        return worker.ready() if wait else worker

    yield start
    end(started)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory):
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()
