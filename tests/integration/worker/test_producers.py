"""Whoever sends: a plain program with our tasks, and stock Celery that knows nothing of us."""

from __future__ import annotations

import json

from harness import HERE, python

STOCK = """
import sys
from celery import Celery
host, url = sys.argv[1:]
app = Celery(broker=f"sqs://local:local@{host}//")
app.conf.broker_transport_options = {
    "region": "us-east-1",
    "predefined_queues": {"sluice": {"url": url, "access_key_id": "local", "secret_access_key": "local"}},
}
app.send_task("probe.work", ["from-stock"], queue="sluice")
app.send_task("probe.work", ["from-stock-late"], queue="sluice", countdown=1)
"""


def run(code, *arguments, **environment):
    return python("-W", "ignore", "-c", code, *arguments, **{"PYTHONPATH": str(HERE), **environment})


def test_delay_in_a_plain_program_makes_the_missing_queue_here_and_sends(sqs_server, queues):
    done = run(
        "import tasks; tasks.events.post.delay({'id': 'e1', 'mail': 'private'})",
        AWS_ENDPOINT_URL_SQS=sqs_server.endpoint_url,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(sqs_server.queues) == ["sluice", "sluice-dead"]
    [sent] = queues.bodies("sluice")
    envelope = json.loads(sent)
    assert json.loads(envelope["body"])[0] == [{"id": "e1", "mail": "private"}]
    assert envelope["headers"]["argsrepr"] == "hidden"


def test_delay_to_a_missing_queue_elsewhere_says_what_to_do(sqs_server):
    done = run(
        "import tasks; tasks.events.post.delay({'id': 'e1'})",
        AWS_ENDPOINT_URL_SQS="http://sqs.elsewhere.example",
        HTTP_PROXY=sqs_server.endpoint_url,
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="somebody",
        AWS_SECRET_ACCESS_KEY="secret-key",
    )
    assert done.returncode == 1
    assert "The queue 'sluice' does not exist here" in done.stderr.splitlines()[-1]
    assert "secret-key" not in done.stderr
    assert sqs_server.queues == {}


def test_what_stock_celery_and_kombu_send_is_read(start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "prefork", "-c", 1)
    done = run(STOCK, queues.server.endpoint_url.removeprefix("http://"), queues.url())
    assert done.returncode == 0, done.stderr
    worker.wait_for_notes("end", ["from-stock", "from-stock-late"])
    queues.wait_until_empty()
    assert worker.is_alive


def test_many_lost_and_bad_answers_to_a_send_lose_nothing(sqs_server, queues):
    sqs_server.create_queue("sluice")
    for fault in ("answer-lost:count=1", "garbage:count=1", "error:status=503:count=1"):
        sqs_server.faults.add(f"SendMessage:{fault}")
    done = run("import tasks; tasks.events.post.delay({'id': 'e1'})", AWS_ENDPOINT_URL_SQS=sqs_server.endpoint_url)
    assert done.returncode == 0, done.stderr
    ids = {json.loads(sent)["headers"]["id"] for sent in queues.bodies("sluice")}
    assert len(ids) == 1  # what was sent again has the same id
