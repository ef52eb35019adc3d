"""The example downstream service as a process: how it starts, answers many at a time, and ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

PROGRAM = [sys.executable, "-c", "from app.cli.downstream import command; command()"]


@pytest.fixture
def start():
    """Start the service with options; gives the process, once ready, and its URL."""
    started = []

    def start(*options):
        process = subprocess.Popen([*PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


@pytest.fixture
def http():
    with urllib3.PoolManager(maxsize=64, retries=False, timeout=20) as pool:
        yield pool


def test_events_arrive_and_are_counted(start, http):
    _, url = start("--error-rate", "0.2", "--seed", "4")
    answered = {}
    for number in range(200):
        answer = http.request("POST", f"{url}/events", json={"id": f"event-{number}"})
        answered[f"event-{number}"] = answer.status
    taken = [event_id for event_id, status in answered.items() if status == 201]
    assert http.request("GET", f"{url}/ids").json() == taken
    stats = http.request("GET", f"{url}/stats").json()
    assert (stats["requests"], stats["accepted"], stats["errors"]) == (200, len(taken), 200 - len(taken))
    assert 0 < stats["errors"] < 100


def test_latency_does_not_queue_requests_behind_each_other(start, http):
    """Given 400 ms an answer, when 40 ask at once, then they do not take 16 s."""
    _, url = start("--latency", "400")
    began = time.monotonic()
    with ThreadPoolExecutor(40) as threads:
        statuses = list(
            threads.map(lambda n: http.request("POST", f"{url}/events", json={"id": str(n)}).status, range(40))
        )
    took = time.monotonic() - began
    assert statuses == [201] * 40
    assert 0.4 <= took < 8


def test_a_limit_is_told_with_a_time_to_come_back(start, http):
    _, url = start("--rate-limit", "60/m")
    answers = [http.request("POST", f"{url}/events", json={"id": str(n)}) for n in range(10)]
    assert answers[0].status == 201
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["Retry-After"] == "1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_ends_when_told_to(start, http, number):
    """Given a client that keeps its connection open, when told to stop, then it exits 0 and the port is free."""
    process, url = start()
    assert http.request("GET", f"{url}/stats").status == 200
    process.send_signal(number)
    assert process.wait(10) == 0
    assert process.stderr.read() == ""
    with pytest.raises(urllib3.exceptions.HTTPError):
        http.request("GET", f"{url}/stats")


def test_it_does_not_outlive_its_parent(http):
    """Given a service started with --exit-with-parent, when its parent is killed, then it ends."""
    program = (
        "import subprocess, sys, time; from app.parent import environment_for_children;"
        f"subprocess.Popen({PROGRAM!r} + ['--exit-with-parent'], env=environment_for_children()); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        url = parent.stdout.readline().strip()
        assert http.request("GET", f"{url}/stats").status == 200
        parent.kill()
        assert parent.wait(10) == -signal.SIGKILL
        # The service holds the other end of our pipe: its end is the end of the file.
        assert parent.stdout.read() == ""
    with pytest.raises(urllib3.exceptions.HTTPError):
        http.request("GET", f"{url}/stats")


def test_the_address_file_has_what_the_terminal_shows(start, tmp_path):
    file = tmp_path / "address"
    _, url = start("--address-file", str(file))
    deadline = time.monotonic() + 10
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert file.read_text() == f"{url}\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_taken_port_is_one_sentence(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process, shown = start("--port", str(taken.getsockname()[1]))
        assert shown == ""
        assert process.wait(10) == 1
        (sentence,) = process.stderr.read().splitlines()
    assert "cannot listen on 127.0.0.1" in sentence
    assert "--port" in sentence


def test_many_ids_come_back_whole(start, http):
    """In one answer that is larger than the socket's buffers."""
    _, url = start()
    host, port = url.removeprefix("http://").split(":")
    wanted = [f"{number:036d}" for number in range(20_000)]
    with socket.create_connection((host, int(port))) as client, client.makefile("rb") as answers:
        for first in range(0, len(wanted), 10):
            bodies = [json.dumps({"id": event_id}).encode() for event_id in wanted[first : first + 10]]
            client.sendall(
                b"".join(
                    b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                    for body in bodies
                )
            )
            for _ in bodies:
                while answers.readline() != b"\r\n":
                    pass
    assert http.request("GET", f"{url}/ids").json() == wanted
