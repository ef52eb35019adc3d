"""docs/iam.md: each role does its work with the rights that stand there and no other, and uses each of them."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from harness import HERE, ROOT, body, python, until

from app.testing.sqs.faults import Fault

PAGE = ROOT / "docs" / "iam.md"
#: SQS counts a batch as its single action.
BATCHES = {"SendMessage", "DeleteMessage", "ChangeMessageVisibility"}


def rights(title):
    """What the policy of a section allows: (action, queue)."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    [policy] = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    found = set()
    for statement in json.loads(policy)["Statement"]:
        assert statement["Effect"] == "Allow"
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            queue = resource.removeprefix("arn:aws:sqs:REGION:ACCOUNT:")
            found |= {(action.removeprefix("sqs:"), queue) for action in statement["Action"]}
    return found


class Guard:
    """The server with a policy in force: what it does not allow is denied, and what is used of it is counted."""

    def __init__(self, server, allowed):
        self._server = server
        self._rights = {}
        for action, queue in sorted(allowed):
            # A call that moves messages names a queue's ARN, by which the server knows no faults.
            at = None if action == "StartMessageMoveTask" else queue
            for name in [action, f"{action}Batch"] if action in BATCHES else [action]:
                passing = Fault(action=name, kind="slow", seconds=0.0, queue=at)
                self._rights[server.faults.add(passing)] = action, queue
        self._rest = server.faults.add(Fault(action="*", kind="error", code="AccessDenied"))

    @property
    def _hits(self):
        return {active.number: active.hits for active in self._server.faults.active()}

    @property
    def unused(self):
        hits = self._hits
        return set(self._rights.values()) - {right for number, right in self._rights.items() if hits[number]}

    @property
    def denied(self):
        return self._hits[self._rest]


def run(command, server):
    environment = {"PYTHONPATH": str(HERE), "AWS_ENDPOINT_URL_SQS": server.endpoint_url, "SLUICE_QUEUE": "orders"}
    done = python("-W", "ignore", *command, **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_worker_does_all_of_its_work_with_its_rights_and_uses_each(sqs_server, queues, start_worker):
    sqs_server.create_queue("orders", max_receives=20)
    guard = Guard(sqs_server, rights("A worker"))
    worker = start_worker("-c", 2, environment={"SLUICE_QUEUE": "orders", "SLUICE_VISIBILITY_TIMEOUT": "2"})
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    for text in (
        body("probe.work", ["renewed", 3.0]),
        body("probe.end", ["fails", "raise"]),
        body("probe.end", ["is rejected", "reject"]),
        body("probe.end", ["retried", "retry"]),
        body("probe.work", ["far away"], headers={"eta": later}),
    ):
        sqs_server.fill("orders", 1, text)
    worker.wait_for_notes("end", ["renewed", "fails", "retried"])
    until(lambda: queues.left("orders-dead") == 1, "dead letter")
    until(lambda: queues.left("orders") == 1, "empty queue but for what is far away")
    assert worker.stop() == 0
    assert worker.notes("start").count("renewed") == 1
    assert (guard.denied, guard.unused) == (0, set())


def test_a_producer_needs_two_rights(sqs_server, queues):
    sqs_server.create_queue("orders")
    guard = Guard(sqs_server, rights("A producer"))
    run(["-c", "from probe import work; work.delay('a'); work.apply_async(['b'], countdown=900)"], sqs_server)
    assert queues.left("orders") == 2
    assert (guard.denied, guard.unused) == (0, set())


def test_queues_are_made_with_their_rights(sqs_server):
    guard = Guard(sqs_server, rights("Making the queues"))
    run(["-m", "celery", "-A", "app", "queues", "ensure"], sqs_server)
    assert sorted(sqs_server.queues) == ["orders", "orders-dead"]
    assert (guard.denied, guard.unused) == (0, set())


def test_dead_letters_are_moved_back_as_the_page_says(sqs_server, queues):
    sqs_server.create_queue("orders", max_receives=20)
    sqs_server.fill("orders-dead", 3)
    allowed = rights("Moving dead letters back")
    guard = Guard(sqs_server, allowed)
    [command] = re.findall(r"```sh\naws sqs (start-message-move-task .*?)```", PAGE.read_text(), re.DOTALL)
    arns = {
        name: arn.replace("REGION", "us-east-1").replace("ACCOUNT", "000000000000")
        for name, arn in re.findall(r"--(source|destination)-arn (\S+)", command)
    }
    queues.client.start_message_move_task(SourceArn=arns["source"], DestinationArn=arns["destination"])
    until(lambda: queues.left("orders") == 3, "moved messages")
    assert guard.denied == 0
    # The rest SQS does itself, with these rights.
    assert allowed - guard.unused == {("StartMessageMoveTask", "orders-dead")}


def test_what_is_not_allowed_is_denied(sqs_server, queues):
    """Or the others would prove nothing."""
    sqs_server.create_queue("orders")
    guard = Guard(sqs_server, rights("A producer"))
    with pytest.raises(queues.client.exceptions.ClientError, match="AccessDenied"):
        queues.client.list_queues()
    assert guard.denied == 1
    assert guard.unused == {("GetQueueUrl", "orders"), ("SendMessage", "orders")}
