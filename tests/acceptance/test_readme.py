"""README.md, run as written: its task, its two producers, its commands for AWS (with a local server in AWS's place)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
WITHIN = 60.0

pytestmark = pytest.mark.timeout(240)


class MailService(ThreadingHTTPServer):
    """What the README's task calls."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mails: list[dict] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: MailService

    def do_POST(self) -> None:
        self.server.mails.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mails():
    with MailService() as service:
        yield service
        service.shutdown()


@pytest.fixture
def checkout(tmp_path, mails):
    """The checkout with the README's task put where the README says."""
    for name in ("app", "settings", "eventlet.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks")
    source, address = PYTHON[0], f"http://127.0.0.1:{mails.server_port}"
    assert source.startswith("# tasks/mails.py\n")
    assert "http://mails.internal" in source
    (tmp_path / "tasks" / "mails.py").write_text(source.replace("http://mails.internal", address))
    line = re.search(r"`(from tasks import events, mails)`", README)[1]
    (tmp_path / "tasks" / "__init__.py").write_text(f"{line}\n")
    return tmp_path


@pytest.fixture
def environment(checkout, sqs_server, free_port):
    """A shell of somebody who has an AWS account, but for the address of SQS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_", "FLOWER_"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "AWS_ENDPOINT_URL_SQS": sqs_server.endpoint_url,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "somebody's",
        "FLOWER_PORT": str(free_port),
    }


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def commands() -> tuple[str, list[str]]:
    """The block for AWS: what it exports, and its commands."""
    block = next(block for block in SHELL if "queues ensure" in block)
    lines = [line.partition("  #")[0].strip() for line in block.splitlines()]
    exports = [line for line in lines if line.startswith("export ")]
    return "; ".join(exports), [line for line in lines if line not in exports]


def test_the_task_the_producers_and_the_commands_for_aws(checkout, environment, mails, free_port, tmp_path):
    exports, (ensure, worker, flower) = commands()

    # Given the queues, made as the README says
    made = run(f"{exports}; {ensure}", checkout, environment)
    assert "making orders-dead" in made
    assert "making orders:" in made

    with (tmp_path / "log").open("wb") as log:
        running = [start(f"{exports}; {line}", checkout, environment, log) for line in (worker, flower)]
        try:
            until(lambda: " ready." in (tmp_path / "log").read_text(), tmp_path / "log")
            # When both producers of the README send
            delay, send_task = PYTHON[1:]
            run(f"{exports}; exec {sys.executable} -c '{delay}'", checkout, environment)
            run(f"exec {sys.executable} -c '{send_task}'", Path("/"), {**environment, "PYTHONPATH": ""})
            # Then the service behind the queue has had both mails
            until(lambda: len(mails.mails) == 2, tmp_path / "log")
            assert mails.mails == [{"to": "ada@example.com", "subject": "Welcome"}] * 2
            # And Flower listens, and asks who is there
            until(lambda: status(free_port), tmp_path / "log")
            assert status(free_port) == 401
        finally:
            for process in running:
                os.killpg(process.pid, signal.SIGTERM)
            for process in running:
                process.wait(timeout=WITHIN)


def test_the_commands_for_make_are_options_that_up_has():
    block = next(block for block in SHELL if "--until-drained" in block)
    arguments = re.search(r'ARGS="(--events[^"]*)"', block)[1].split()
    from app.cli.up import command

    command.make_context("up", arguments)


def run(line: str, folder: Path, environment: dict[str, str]) -> str:
    answer = subprocess.run(
        ["sh", "-ec", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=WITHIN, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def start(line: str, folder: Path, environment: dict[str, str], log) -> subprocess.Popen:
    return subprocess.Popen(
        ["sh", "-ec", line], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def until(condition, log: Path) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def status(port: int) -> int:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/api/workers", retries=False, timeout=10).status
    except urllib3.exceptions.HTTPError:
        return 0
