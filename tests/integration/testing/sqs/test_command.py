"""`celery -A app sqs` as users start it: a real process, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from app.testing.sqs.process import Admin, LocalSQS, LocalSQSError

COMMAND = [sys.executable, "-m", "app.cli.sqs"]


def refused(*options: str) -> str:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    "command", [COMMAND, [str(Path(sys.executable).with_name("celery")), "-A", "app", "sqs"]], ids=["module", "celery"]
)
def test_it_says_where_it_listens_and_ends_with_status_0(tmp_path, command, signum):
    address = tmp_path / "address"
    options = ["--port", "0", "--queue", "orders", "--max-receives", "7", "--address-file", str(address)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        assert address.read_text() == url + "\n"
        admin = Admin(url)
        queue = admin.action("GetQueueUrl", QueueName="orders")["QueueUrl"]
        policy = admin.action("GetQueueAttributes", QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]
        assert json.loads(policy["RedrivePolicy"]) == {
            "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:orders-dead",
            "maxReceiveCount": 7,
        }
        process.send_signal(signum)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""


def test_a_taken_port_is_one_line_that_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = refused("--port", str(taken.getsockname()[1]))
    assert "cannot listen on 127.0.0.1:" in error
    assert "choose another --port" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::"])
def test_a_host_that_others_can_reach_needs_to_be_meant(host):
    assert "--allow-remote" in refused("--host", host, "--port", "0")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--fault", "ReceiveMessage:explode"], "there is no fault 'explode'"),
        (["--fault", "Explode:drop"], "there is no action 'Explode'"),
        (["--queue", "no spaces"], "alphanumeric"),
        (["--queue", "a.fifo"], "no FIFO queues"),
        (["--clock-speed", "-1"], "-1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(options, says):
    assert says in refused("--port", "0", *options)


def test_every_option_reaches_the_server():
    options = "--round-trip 20 --jitter 5 --short-receives --clock-speed 60 --seed 3"
    options += " --region eu-west-1 --account 123456789012"
    faults = ["--fault", "SendMessage:drop:count=1", "--fault", "ReceiveMessage:error:code=503:probability=0.05"]
    with LocalSQS(options=(*options.split(), *faults)) as sqs:
        admin = Admin(sqs.endpoint_url)
        stats = admin.call("GET", "stats")
        assert stats["settings"] == {"round_trip": 0.02, "jitter": 0.005, "short_receives": True, "clock_skew": 0}
        assert stats["clock"]["speed"] == 60
        assert [fault["kind"] for fault in stats["faults"]] == ["drop", "error"]
        assert sqs.create_queue("q").endswith("/123456789012/q")
        assert admin.call("GET", "health")["region"] == "eu-west-1"


def test_ipv6_loopback_is_loopback():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with subprocess.Popen([*COMMAND, "--host", "::1", "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        assert url.startswith("http://[::1]:")
        with urllib.request.urlopen(f"{url}/_sluice/health", timeout=10) as answer:
            assert json.load(answer)["status"] == "ok"
        process.terminate()


def test_importing_the_command_imports_no_client_library():
    """`make up` starts several of these: each must be up in a fraction of a second."""
    libraries = {"celery", "kombu", "boto3", "botocore", "gevent", "trustme"}
    code = f"import app.cli.sqs, sys; print(sorted({libraries} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


# --- the handle that tests use


def test_a_server_that_does_not_start_says_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = LocalSQS(port=taken.getsockname()[1])
        with pytest.raises(LocalSQSError, match="did not start"):
            server.start()
        assert not server.is_running


def test_it_leaves_no_process_behind():
    server = LocalSQS()
    server.start()
    pid = server._process.pid
    server.stop()
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_is_refused_is_an_error_with_the_reason(sqs_server):
    with pytest.raises(LocalSQSError, match="no FIFO queues"):
        sqs_server.create_queue("a.fifo")
    with pytest.raises(LocalSQSError, match="does not exist"):
        sqs_server.fill("missing", 1)


def test_the_fixture_turns_everything(sqs_server):
    sqs_server.create_queue("orders", max_receives=3, attributes={"VisibilityTimeout": "5"})
    sqs_server.fill("orders", 3, "no {n}")
    assert sqs_server.queues["orders"] == {"visible": 3, "in_flight": 0, "delayed": 0, "waiting_polls": 0}
    assert set(sqs_server.queues) == {"orders", "orders-dead"}
    number = sqs_server.faults.add("SendMessage:error:code=503")
    [active] = sqs_server.faults.active()
    assert (active.number, active.hits, active.fault.status) == (number, 0, 503)
    sqs_server.faults.remove(number)
    sqs_server.faults.clear()
    sqs_server.clock.speed = 0
    sqs_server.clock.set(1000)
    sqs_server.clock.advance(5)
    assert (sqs_server.clock.time(), sqs_server.clock.speed) == (1005, 0)
    sqs_server.configure(round_trip=0.001, jitter=0.001, short_receives=True)
    assert sqs_server.counts.of("CreateQueue").ok == 2
    sqs_server.clear_counts()
    assert sqs_server.counts.of("CreateQueue").calls == 0


def test_the_next_test_finds_it_empty(sqs_server):
    assert sqs_server.queues == {}
    assert sqs_server.clock.speed == 1
    assert sqs_server.faults.active() == []


def test_a_million_messages_wait_and_ten_of_them_are_taken_at_once(sqs_server):
    sqs_server.create_queue("big")
    sqs_server.fill("big", 1_000_000, "x")
    admin = Admin(sqs_server.endpoint_url)
    queue = admin.action("GetQueueUrl", QueueName="big")["QueueUrl"]
    for _ in range(100):
        messages = admin.action("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        assert len(admin.action("DeleteMessageBatch", QueueUrl=queue, Entries=entries)["Successful"]) == 10
    assert sqs_server.queues["big"]["visible"] == 999_000
