"""Workers and producers where signatures are checked, keys run out and TLS is spoken: directly, and through a proxy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from harness import HERE, body, profile, python, until
from proxy import ForwardProxy

CALLS = (
    "GetQueueUrl",
    "GetQueueAttributes",
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "SendMessage",
)


@pytest.fixture
def account(strict_sqs_server, tmp_path):
    """A profile with temporary keys that a program hands out. An endpoint in a profile is nothing local to us."""
    return Account(strict_sqs_server, tmp_path)


class Account:
    def __init__(self, server, folder):
        self.server, self.keys = server, folder / "keys.json"
        self.environment = {
            **profile(server, folder, f"credential_process = cat {self.keys}"),
            "AWS_ENDPOINT_URL_SQS": None,
            "SLUICE_VISIBILITY_TIMEOUT": "3",
        }
        self.key = None
        self.hand_out_another()

    def hand_out_another(self):
        """From now on another key is good, and the one from before is not."""
        earlier, self.key = self.key, self.server.keys.issue()
        values = {
            "Version": 1,
            "AccessKeyId": self.key.id,
            "SecretAccessKey": self.key.secret,
            "SessionToken": self.key.session_token,
            "Expiration": (datetime.now(UTC) + timedelta(minutes=8)).isoformat(),
        }
        self.keys.write_text(json.dumps(values))
        if earlier is not None:
            self.server.keys.expire(earlier)


@pytest.mark.parametrize(
    ("pool", "way"),
    [
        ("gevent", "directly"),
        ("prefork", "through a proxy"),
        pytest.param("prefork", "directly", marks=pytest.mark.long),
        pytest.param("gevent", "through a proxy", marks=pytest.mark.long),
        pytest.param("gevent", "past a proxy", marks=pytest.mark.long),
    ],
)
def test_all_that_a_worker_and_a_producer_ask_of_sqs_is_signed_and_arrives(
    pool, way, start_worker, account, strict_sqs_server
):
    server = strict_sqs_server
    server.create_queue("sluice", max_receives=50)
    with ForwardProxy() as proxy:
        variables = {"through a proxy": proxy.environment(), "past a proxy": proxy.environment(no_proxy="127.0.0.1")}
        environment = {**account.environment, **variables.get(way, {})}
        worker = start_worker("-P", pool, "-c", 4, environment=environment, server=server)
        send(environment)
        put(server, "no task", body("probe.watch_lease", ["long", 2.5]), body("probe.send_another", ["sent"]))
        put(server, body("probe.end", ["again", "raise"]))
        worker.wait_for_notes("end", ["from-outside", "long", "sent", "again"])
        until(lambda: server.queues["sluice-dead"]["visible"] == 1, "dead letter")
        wait_until_empty(server)

        counts = server.counts
        assert {call: counts.of(call).errors for call in CALLS} == dict.fromkeys(CALLS, 0)
        assert all(counts.of(call).ok for call in CALLS)
        assert worker.notes("start").count("long") == 1
        assert set(proxy.tunnels) == (
            {server.endpoint_url.removeprefix("https://")} if way == "through a proxy" else set()
        )
        assert proxy.requests == []

        account.hand_out_another()
        put(server, *(body("probe.work", [f"after-{n}"]) for n in range(5)))
        worker.wait_for_notes("end", [f"after-{n}" for n in range(5)])
        wait_until_empty(server)
        assert worker.stop() == 0
    assert account.key.secret not in worker.log
    assert account.key.session_token not in worker.log


def put(server, *bodies):
    for text in bodies:
        server.fill("sluice", 1, text)


def wait_until_empty(server):
    def is_empty():
        row = server.queues["sluice"]
        return row["visible"] + row["in_flight"] + row["delayed"] == 0

    until(is_empty, lambda: f"empty queue: {server.queues}")


def send(environment):
    """`delay` in a plain program."""
    own = {name: value for name, value in environment.items() if value is not None}
    program = "import probe; probe.work.delay('from-outside')"
    done = python("-W", "ignore", "-c", program, **{"PYTHONPATH": str(HERE), **own})
    assert (done.returncode, done.stderr) == (0, "")
