"""`delay` in uWSGI as it starts by default: without threads, forked after the import. In an environment of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sysconfig
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from environments import python_environment
from harness import HERE, ROOT, plain_environment, until

WEB = Path(__file__).parent / "web.py"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def start(sqs_server, tmp_path):
    """Starts uWSGI with two processes; gives its address."""
    sqs_server.create_queue("sluice")
    program = python_environment("uwsgi") / "bin" / "uwsgi"
    started = []

    def start(*options, **environment):
        address = f"127.0.0.1:{free_port()}"
        options = ("--master", "--processes", 2, "--die-on-term", "--need-app", *options)
        command = [program, "--http-socket", address, "--wsgi-file", WEB, *options]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT,
                env={
                    **plain_environment(),
                    "PYTHONPATH": f"{ROOT}:{HERE}:{WEB.parent}:{sysconfig.get_path('purelib')}",
                    "AWS_ENDPOINT_URL_SQS": sqs_server.endpoint_url,
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)

        def said():
            text = (tmp_path / "log").read_text()
            assert process.poll() is None, text
            return text.count("spawned uWSGI worker") == 2

        until(said, "two workers")
        return f"http://{address}"

    yield start
    for process in started:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.long
@pytest.mark.parametrize("before", ["", "yes"], ids=["nothing sent before the fork", "one sent before the fork"])
def test_a_request_in_uwsgi_sends_without_a_thread(before, start, queues):
    url = start(SENT_BEFORE_THE_FORK=before)
    names = [f"request-{number}" for number in range(40)]
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda name: get(f"{url}/{name}"), names))
    for answer in answers:
        assert (len(answer["threads"]), answer["native threads"], answer["engines"]) == (1, 1, 0)
    sent = [json.loads(json.loads(body)["body"])[0][0] for body in queues.bodies("sluice")]
    assert sorted(sent) == sorted([*names, *["before the fork"] * bool(before)])
