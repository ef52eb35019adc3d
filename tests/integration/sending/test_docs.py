"""docs/sending.md, run as written: its commands in their order, its programs each by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from app.transport import aws

PAGE = Path(__file__).parents[3] / "docs" / "sending.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(sqs_server, tmp_path):
    """Run a command in an empty folder, with the server to find and the environment's `celery` first on the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def run(*command):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, **sqs_server.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def queue(sqs_server):
    return sqs_server.create_queue("sluice")


def sent(sqs_server, queue):
    client = aws.sqs_client(endpoint_url=sqs_server.endpoint_url, region="us-east-1")
    while messages := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=600).get(
        "Messages"
    ):
        yield from (message["Body"] for message in messages)


def test_the_commands_send_what_the_page_says(run, sqs_server, queue):
    for block in blocks("sh"):
        run("sh", "-e", "-c", block)
    ids = Counter(json.loads(json.loads(body)["body"])[0][0]["id"] for body in sent(sqs_server, queue))
    assert len(ids) == 2000
    assert sum(ids.values()) == 2005  # five of them once more, by standard input


@pytest.mark.parametrize("program", blocks("python"))
def test_a_program_sends_one_message_that_our_transport_reads(run, sqs_server, queue, program):
    from kombu.transport.virtual.base import Base64

    from app.transport import envelope

    run(sys.executable, "-c", program)
    (body,) = sent(sqs_server, queue)
    payload = envelope.decode(body)
    assert payload["headers"]["task"] == "tasks.events.post"
    inner = payload["body"]
    if payload["properties"].get("body_encoding") == "base64":
        inner = Base64().decode(inner)
    ((event,), _, _) = json.loads(inner)
    assert event["name"] == "Zoë"


def test_the_page_names_every_option_of_send():
    from app.cli.send import command

    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    missing = {option for option in options if option not in PAGE.read_text()}
    assert not missing
