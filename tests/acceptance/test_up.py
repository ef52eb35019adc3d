"""`celery -A app up` with all its processes: as a newcomer starts it, a user interrupts it, a machine kills it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def up(start, tmp_path):
    """Starts `up` with some options."""
    command = [sys.executable, "-m", "celery", "-A", "app", "up", "--logs", str(tmp_path / "run")]
    return lambda *options, **environment: start(*command, *options, **environment)


@pytest.fixture
def http():
    """Asks one of the system's servers: the status, and what its JSON says."""
    pool = urllib3.PoolManager(timeout=20.0, retries=False)

    def get(url: str, login: str = ""):
        headers = urllib3.make_headers(basic_auth=login) if login else {}
        answer = pool.request("GET", url, headers=headers)
        return answer.status, json.loads(answer.data) if answer.status == 200 else None

    yield get
    pool.clear()


def flower_of(one) -> tuple[str, str]:
    """Flower's address and login."""
    found = one.says(r"Open (http://\S+) \(login (\S+)\)")
    return found[1], found[2]


def address(tmp_path: Path, name: str) -> str:
    return (tmp_path / "run" / f"{name}.address").read_text().strip()


@pytest.mark.parametrize(
    ("pool", "load"),
    [
        ("prefork", ["--concurrency", "4", "--latency", "30"]),
        pytest.param("gevent", ["--concurrency", "50", "--latency", "250"], marks=pytest.mark.long),
    ],
)
def test_each_of_2000_events_arrives_with_errors_slow_answers_and_a_killed_worker(up, http, tmp_path, pool, load):
    # Given the whole system, a service that fails and dawdles now and then, and 2,000 events
    faults = ["--error-rate", "0.05", "--slow-rate", "0.05", "--visibility-timeout", "10"]
    one = up("--events", "2000", "--pool", pool, *load, *faults)
    flower, login = flower_of(one)
    one.says("Sending 2,000 events")
    downstream = address(tmp_path, "downstream")
    # When a worker is killed on the way
    one.until(lambda: http(f"{downstream}/stats")[1]["distinct_ids"] > 200, "first events")
    assert http(f"{downstream}/stats")[1]["distinct_ids"] < 1_500
    [worker] = one.processes(" worker ")
    worker.send_signal(signal.SIGKILL)
    one.says("worker was killed by SIGKILL: it is started again in 1 s")
    # Then, by the sets of ids, each event arrives all the same
    one.says("All 2,000 events have arrived and the queues are empty", within=200)
    sent = {json.loads(line)["id"] for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()}
    assert len(sent) == 2_000
    assert set(http(f"{downstream}/ids")[1]) == sent
    # And nothing is left in the queue or its dead-letter queue
    queues = http(f"{address(tmp_path, 'sqs')}/_sluice/queues")[1]["queues"]
    assert set(queues) == {"sluice", "sluice-dead"}
    for row in queues.values():
        assert (row["visible"], row["in_flight"], row["delayed"]) == (0, 0, 0)
    # And the service did fail
    assert http(f"{downstream}/stats")[1]["errors"] > 0
    # And Flower, for who has its login, lists the worker and the tasks that succeeded
    assert http(f"{flower}/api/workers")[0] == 401
    workers = one.until(lambda: http(f"{flower}/api/workers?refresh=true", login)[1], "worker in Flower")
    assert [name.split("@")[0] for name in workers] == ["worker"]
    tasks = http(f"{flower}/api/tasks?state=SUCCESS&limit=100", login)[1]
    assert len(tasks) == 100
    assert {task["name"] for task in tasks.values()} == {"tasks.events.post"}
    # And after Ctrl-C no process and no port is left
    assert one.end(signal.SIGINT) == 0, one.output
    one.leaves_nothing()


@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("gevent", "threads", "solo"))]
)
def test_until_drained_ends_by_itself_in_every_pool(up, pool):
    one = up("--events", "300", "--pool", pool, "--until-drained", "--no-flower", "--latency", "5")
    one.says("Sending 300 events")
    assert one.end(within=90) == 0, one.output
    assert "All 300 events have arrived and the queues are empty" in one.output
    one.leaves_nothing()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.long)])
def test_a_signal_stops_everything_in_the_middle_of_the_work(up, number):
    one = up("--events", "5000", "--latency", "50", "--concurrency", "4")
    one.says(r"done [1-9]")
    assert one.end(number) == 0, one.output
    assert one.output.endswith("Stopping: worker and Flower, then the servers …\n")
    one.leaves_nothing()


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.long)])
def test_sigkill_of_up_leaves_nothing(up, pool):
    one = up("--events", "5000", "--latency", "50", "--pool", pool, "--concurrency", "4", "--workers", "2")
    one.says(r"done [1-9]")
    one.end(signal.SIGKILL)
    one.leaves_nothing()


@pytest.mark.parametrize("when", ["Starting the SQS server", "Starting a worker", "Open http"])
def test_sigkill_of_up_while_it_starts_leaves_nothing(up, tmp_path, when):
    one = up("--events", "10")
    one.says(when)
    if when == "Starting the SQS server":
        one.until((tmp_path / "run" / "sqs.address").exists, "the first server")
    one.end(signal.SIGKILL)
    one.leaves_nothing()


@pytest.mark.long
def test_what_is_missing_is_told_when_the_deadline_has_passed(up, tmp_path):
    one = up("--events", "20", "--error-rate", "1", "--until-drained", "--deadline", "6", "--no-flower")
    one.says("Sending 20 events")
    assert one.end(within=90) == 1
    ids = [json.loads(line)["id"] for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert "Not drained within 6 s (--deadline)\n" in one.output
    missing = f"Error: 20 of 20 events are missing downstream: {', '.join(ids[:10])} and 10 more\n"
    assert missing in one.output
    assert "Error: the queue is not empty: " in one.output
    one.leaves_nothing()


@pytest.mark.long
def test_flower_takes_the_next_port_and_the_callers_own_servers_are_left_alone(up, http):
    # Given a port that is taken, a login of the caller's own, and an environment for AWS
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        own = {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9", "SLUICE_CONTROL_URL": "redis://127.0.0.1:9/0"}
        one = up("--events", "0", "--flower-port", str(port), FLOWER_BASIC_AUTH="me:mine", **own)
        # When it is up
        found = one.says(r"Open http://127.0.0.1:(\d+) \(login the one in your FLOWER_BASIC_AUTH\)")
    # Then Flower is beside that port, and has that login
    assert port < int(found[1]) < port + 100
    one.until(lambda: http(f"http://127.0.0.1:{found[1]}/api/workers", "me:mine")[1], "worker in Flower")
    assert "mine" not in one.output
    # And the other servers are not used, which is said
    assert "Not used here, since `up` brings its own: AWS_ENDPOINT_URL_SQS, SLUICE_CONTROL_URL\n" in one.output
    one.says("Up until Ctrl-C")
    assert one.end(signal.SIGTERM) == 0
    one.leaves_nothing()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SLUICE_DRAIN_TIMEOUT", "soon", "SLUICE_DRAIN_TIMEOUT='soon'"),
        (
            "SLUICE_QUEUE",
            "https://sqs.us-east-1.amazonaws.com/123456789012/orders",
            "`up` runs on queues of its own, but orders is given by its URL or ARN: unset that for `up` (SLUICE_QUEUE,",
        ),
    ],
)
def test_settings_that_cannot_be_are_told_before_anything_is_started(up, name, value, told):
    one = up(**{name: value})
    assert one.end() == 1
    assert told in one.output
    assert "Starting" not in one.output
    assert "Traceback" not in one.output


def test_an_address_that_is_not_of_this_machine_is_told_before_anything_is_started(up, tmp_path):
    one = up("--flower-address", "192.0.2.1")  # RFC 5737: no machine has it
    assert one.end() == 1
    assert re.fullmatch(r"Error: Flower cannot listen on 192\.0\.2\.1 \(.+\): .+ --flower-address\n", one.output)
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_another_terminal_can_talk_to_it(up, tmp_path):
    one = up("--events", "0", "--no-flower")
    one.says("Up until Ctrl-C")
    answer = subprocess.run(
        ["/bin/sh", "-c", f'. {tmp_path}/run/up.env; exec "$0" -m celery -A app inspect ping', sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert re.search(r"worker@\S+: OK", answer.stdout), answer.stdout + answer.stderr
    assert one.end(signal.SIGTERM) == 0


def test_make_up_runs_this_command_in_the_environment_that_it_has_set_up():
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "up", "ARGS=--events 5 --until-drained"],
        cwd=ROOT,
        # Not as part of the make that may have started the tests.
        env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    setup, run = done.stdout.splitlines()
    assert setup.startswith("scripts/setup .venv ")
    assert run == "exec .venv/bin/celery -A app up --events 5 --until-drained"
