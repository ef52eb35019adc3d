"""Flower, unmodified: it counts exactly, and lets nobody in who should not."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from harness import ROOT, body, plain_environment, until

LOGIN = "me:a-password"


class Flower:
    def __init__(self, log_file, environment, *options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log_file = log_file
        with log_file.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "app", "flower", f"--port={self.port}", *options],
                cwd=ROOT,
                env={**plain_environment(), **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def get(self, path, login=None):
        """Status and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if login:
            request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def ready(self):
        until(lambda: self.get("/healthcheck")[0] == 200, lambda: f"Flower: {self.log_file.read_text()}")
        return self


@pytest.fixture
def start_flower(tmp_path, sqs_server, valkey):
    started = []

    def start(*options, **environment):
        settings = {"AWS_ENDPOINT_URL_SQS": sqs_server.endpoint_url, "SLUICE_CONTROL_URL": valkey.url, **environment}
        settings = {name: value for name, value in settings.items() if value is not None}
        started.append(Flower(tmp_path / f"flower-{len(started)}", settings, *options))
        return started[-1]

    yield start
    for flower in started:
        flower.process.kill()
        flower.process.wait()


def listens_on(port):
    """The addresses, of this machine, on which something listens at the port (Linux)."""
    found = set()
    for address in {
        "127.0.0.1",
        *(info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)),
    }:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((address, port)) == 0:
                found.add(address)
    return found


def test_flower_counts_every_task_of_both_pools_behind_its_login(start_flower, start_worker, queues, valkey):
    queues.server.create_queue("sluice")
    flower = start_flower(FLOWER_BASIC_AUTH=LOGIN)
    flower.ready()
    for pool in ("prefork", "gevent"):
        options = ("-P", pool, "-c", 4, "-E", "-n", f"{pool}@here")
        start_worker(*options, environment={"SLUICE_CONTROL_URL": valkey.url})

    def rows():
        return {row["hostname"]: row for row in json.loads(flower.get("/workers?json=1", LOGIN)[1])["data"]}

    until(lambda: sum(row["status"] for row in rows().values()) == 2, rows)
    queues.send(*(body("probe.work", [n]) for n in range(200)))
    queues.wait_until_empty()
    until(lambda: sum(row.get("task-succeeded", 0) for row in rows().values()) == 200, rows)

    assert sum(row["task-received"] for row in rows().values()) == 200
    assert all(row["task-succeeded"] > 0 for row in rows().values())
    assert flower.get("/api/workers")[0] == 401
    assert flower.get("/api/workers", "me:guess")[0] == 401
    assert len(json.loads(flower.get("/api/tasks?limit=1000&state=SUCCESS", LOGIN)[1])) == 200
    both = {"prefork@here", "gevent@here"}
    until(lambda: set(json.loads(flower.get("/api/workers?refresh=1", LOGIN)[1])) == both, "answer of both workers")
    assert listens_on(flower.port) == {"127.0.0.1"}


@pytest.mark.parametrize("options", [[], ["--address="], ["--conf=/dev/null"]])
def test_without_a_login_it_listens_here_only_and_its_api_is_closed(start_flower, options):
    flower = start_flower(*options).ready()
    assert listens_on(flower.port) == {"127.0.0.1"}
    assert flower.get("/api/workers")[0] == 401


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        (["--address=0.0.0.0"], {}, "Flower does not listen on 0.0.0.0 without a login"),
        ([], {"FLOWER_ADDRESS": "0.0.0.0"}, "Flower does not listen on 0.0.0.0 without a login"),
        (["--conf=/dev/null", "--address=::"], {}, "Flower does not listen on :: without a login"),
        ([], {"SLUICE_CONTROL_URL": None}, "set SLUICE_CONTROL_URL"),
    ],
)
def test_what_is_unsafe_or_blind_is_refused_in_a_sentence(options, environment, sentence, start_flower):
    flower = start_flower(*options, **environment)
    assert flower.process.wait(30) != 0
    assert sentence in flower.log_file.read_text()
    assert "Traceback" not in flower.log_file.read_text()
