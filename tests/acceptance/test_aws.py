"""`make test-aws`, run as it is written, with a local server in the place of AWS: what it makes, it removes again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOME = "tags or (message and travels) or (visibility and comes_back) or dead_letter_queue"


@pytest.fixture
def start():
    started = []

    def start(environment, *arguments):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICE_"))}
        process = subprocess.Popen(
            ["make", f"VENV={Path(sys.executable).parents[1]}", "test-aws", *arguments],
            cwd=ROOT,
            env={**kept, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


def as_aws(server):
    """How an SDK finds this server where it would find AWS: by the variable for all services."""
    found = dict(server.environment)
    found["AWS_ENDPOINT_URL"] = found.pop("AWS_ENDPOINT_URL_SQS")
    return found


def through_a_proxy(server):
    """The same under a name that is not this machine's: a worker then makes nothing and needs credentials."""
    region = {"AWS_REGION": server.region, "AWS_DEFAULT_REGION": server.region}
    address = {"AWS_ENDPOINT_URL": "http://sqs.elsewhere.example", "HTTP_PROXY": server.endpoint_url}
    return {**server.access_key.environment, **region, **address}


def test_without_a_prefix_nothing_is_run(start):
    process = start({})
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "PREFIX=" in said


@pytest.mark.long
def test_the_contract_suite_runs_and_leaves_no_queue(start, strict_sqs_server):
    process = start(as_aws(strict_sqs_server), "PREFIX=try", f"ARGS=-q -k '{SOME}' tests/contract")
    said, _ = process.communicate(timeout=110)
    assert process.returncode == 0, said
    assert " passed" in said
    assert "[ours]" not in said
    assert strict_sqs_server.counts.of("CreateQueue").ok > 5
    assert strict_sqs_server.queues == {}


@pytest.mark.long
def test_the_drain_suite_runs_and_leaves_no_queue(start, sqs_server):
    process = start(through_a_proxy(sqs_server), "PREFIX=try", "ARGS=-q -k killed_worker_leaves")
    said, _ = process.communicate(timeout=110)
    assert process.returncode == 0, said
    assert "1 passed" in said
    assert sqs_server.counts.of("CreateQueue").ok == 2
    assert sqs_server.queues == {}


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_it_removes_its_queues_too(number, start, strict_sqs_server):
    process = start(as_aws(strict_sqs_server), "PREFIX=try", "ARGS=-q tests/contract")
    deadline = time.monotonic() + 60
    while len(strict_sqs_server.queues) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert all(name.startswith("try-") for name in strict_sqs_server.queues)
    os.killpg(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert strict_sqs_server.queues == {}
