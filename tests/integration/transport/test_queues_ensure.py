"""`celery -A app queues ensure`, run as a command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from harness import ROOT, plain_environment

from app.testing.sqs.process import LocalSQS


@pytest.fixture
def start(sqs_server):
    """Start the command; gives the process."""

    def start(*options, **environment):
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "app", "queues", "ensure", *options],
            cwd=ROOT,
            env={**plain_environment(), "AWS_ENDPOINT_URL_SQS": sqs_server.endpoint_url, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def ensure(start):
    """Run the command; gives its exit status, what it says, and what it complains of."""

    def ensure(*options, **environment):
        process = start(*options, **environment)
        said, complaints = process.communicate(timeout=60)
        return SimpleNamespace(returncode=process.returncode, stdout=said, stderr=complaints)

    return ensure


def test_it_says_what_is_missing_makes_it_and_does_nothing_the_second_time(ensure, queues):
    first = ensure(SLUICE_MAX_RECEIVES="7", SLUICE_VISIBILITY_TIMEOUT="99")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [
        "sluice-dead: missing",
        "sluice: missing",
        "making sluice-dead: a dead-letter queue, messages kept 14 days, invisible for 99 s once received",
        "making sluice: messages kept 14 days, invisible for 99 s once received, to sluice-dead after 7 receives",
    ]
    attributes = queues.client.get_queue_attributes(QueueUrl=queues.url(), AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "99"
    assert attributes["MessageRetentionPeriod"] == "1209600"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 7

    second = ensure(SLUICE_MAX_RECEIVES="8")
    assert second.returncode == 0
    assert second.stdout.splitlines() == ["sluice-dead: there", "sluice: there"]
    assert queues.server.counts.of("CreateQueue").calls == 2


def test_a_dry_run_makes_nothing(ensure, sqs_server):
    done = ensure("--dry-run")
    assert done.returncode == 0
    assert "sluice: missing" in done.stdout
    assert sqs_server.queues == {}


def test_a_queue_given_by_its_url_is_somebodys_already(ensure, sqs_server):
    done = ensure(SLUICE_QUEUE=f"{sqs_server.endpoint_url}/000000000000/theirs")
    assert done.returncode == 0
    assert sqs_server.queues == {}


def test_a_refusal_is_one_line(ensure, sqs_server):
    sqs_server.faults.add("CreateQueue:error:status=403")
    done = ensure()
    assert done.returncode == 1
    assert done.stderr.startswith("Error: SQS could not be used (AccessDenied)")
    assert "Traceback" not in done.stderr


def test_it_waits_for_a_server_that_is_still_starting(start):
    with LocalSQS() as gone:
        address = gone.endpoint_url
    process = start("--wait", "30", AWS_ENDPOINT_URL_SQS=address)
    time.sleep(2)
    with LocalSQS(port=int(address.rpartition(":")[2])) as server:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
        assert set(server.queues) == {"sluice", "sluice-dead"}


def test_without_a_wait_a_server_that_is_away_is_one_line(ensure):
    with LocalSQS() as gone:
        address = gone.endpoint_url
    done = ensure(AWS_ENDPOINT_URL_SQS=address)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: SQS could not be used (EndpointConnectionError): Could not connect")
    assert "Traceback" not in done.stderr
