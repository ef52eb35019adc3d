"""`celery -A app send` as a process, against the local SQS server and its faults.

The claim behind all of these: whatever happens, each line is in the queue in the end, and what is there twice is there
under the same task id, because a call with it was not answered.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from app.sending.ids import task_id
from app.transport import aws


class Queue:
    """What is in the queue: for each message its task id and its event."""

    def __init__(self, server):
        self._client = aws.sqs_client(endpoint_url=server.endpoint_url, region="us-east-1")
        self._url = server.create_queue("sluice")

    def received(self):
        found = []
        while messages := self._client.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, VisibilityTimeout=600
        ).get("Messages"):
            for message in messages:
                envelope = json.loads(message["Body"])
                ((event,), _, _) = json.loads(envelope["body"])
                found.append((envelope["headers"]["id"], event))
        return found


@pytest.fixture
def queue(sqs_server):
    return Queue(sqs_server)


@pytest.fixture
def file(tmp_path):
    """A file of so many events."""

    def file(count):
        path = tmp_path / "events.jsonl"
        path.write_text("".join(f'{{"id":"event-{n}"}}\n' for n in range(1, count + 1)))
        return path

    return file


@pytest.fixture
def start(sqs_server):
    """Start a send; gives the process."""
    started = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_"))}

    def start(*arguments, task="tasks.events.post"):
        command = [sys.executable, "-m", "celery", "-A", "app", "send", *map(str, arguments), "--task", task]
        started.append(
            subprocess.Popen(
                command,
                env={**environment, **sqs_server.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


@pytest.fixture
def send(start):
    """Send and wait; gives the exit status and what was shown."""

    def send(*arguments, given="", **options):
        process = start(*arguments, **options)
        shown = process.communicate(given, timeout=90)
        return process.returncode, "".join(shown)

    return send


def wait_for_lines_on_record(path, count):
    record = path.with_name(f"{path.name}.sent")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if record.exists() and record.read_bytes().count(b"\n") > count:
            return
        time.sleep(0.02)
    pytest.fail("nothing was sent")


def check_complete(received, count, run_id, *, twice_at_most):
    """Each event is there under its own id; at most so many are there twice."""
    assert {event["id"] for _, event in received} == {f"event-{n}" for n in range(1, count + 1)}
    for found_id, event in received:
        number = int(event["id"].removeprefix("event-"))
        assert found_id == str(task_id(run_id, number, b'{"id":"event-%d"}' % number))
    twice = sum(times - 1 for times in Counter(found_id for found_id, _ in received).values())
    assert twice <= twice_at_most
    return twice


def test_a_file_is_sent_once_ten_to_a_call(send, file, queue, sqs_server):
    path = file(205)
    status, shown = send(path, "--run-id", "r1")
    assert status == 0, shown
    assert re.fullmatch(r"205 sent, [\d,]+ a second, 0 bad \(run r1\)", shown.splitlines()[-1])
    assert sqs_server.counts.of("SendMessageBatch").calls == 21
    check_complete(queue.received(), 205, "r1", twice_at_most=0)


def test_a_second_time_needs_a_word(send, file, queue):
    path = file(30)
    assert send(path)[0] == 0
    status, shown = send(path)
    assert status == 1
    assert "30 lines are on record" in shown
    assert "--resume" in shown
    status, shown = send(path, "--resume")
    assert (status, shown.splitlines()[-1].split(",")[0]) == (0, "0 sent")
    with path.open("a") as more:
        more.write('{"id":"event-31"}\n')
    assert send(path, "--resume")[0] == 0
    assert len(queue.received()) == 31


def test_bad_lines_are_named_and_the_rest_is_sent(send, queue, tmp_path):
    path = tmp_path / "mixed.jsonl"
    large = json.dumps({"id": "large", "text": "x" * 1_100_000})
    nearly = json.dumps({"id": "nearly", "text": "x" * 1_048_500})
    path.write_bytes(
        b"\n".join([b'{"id":"event-1"}', b'{"id":', large.encode(), b"", b"\xff", nearly.encode(), b'{"id":"event-7"}'])
    )
    status, shown = send(path)
    assert status == 1
    named = dict(re.findall(r"^line (\d+): (.*)$", shown, re.MULTILINE))
    assert named["2"].startswith("it is not JSON")
    assert named["3"].startswith("it is longer than 1,048,576 bytes")
    assert named["5"] == "it is not UTF-8 (byte 1)"
    assert re.fullmatch(r"its message has 1,04\d,\d{3} bytes; SQS takes 1,048,576", named["6"])
    assert len(named) == 4
    assert sorted(event["id"] for _, event in queue.received()) == ["event-1", "event-7"]


def test_large_messages_share_a_call_only_as_far_as_sqs_takes_them(send, queue, tmp_path):
    path = tmp_path / "large.jsonl"
    path.write_text("".join(json.dumps({"id": f"event-{n}", "text": "x" * 400_000}) + "\n" for n in range(7)))
    status, shown = send(path)
    assert status == 0, shown
    assert len(queue.received()) == 7


def test_standard_input_is_sent_and_cannot_be_resumed(send, queue):
    status, shown = send("-", "--run-id", "r2", given='{"id":"event-1"}\n{"id":"event-2"}')
    assert status == 0, shown
    check_complete(queue.received(), 2, "r2", twice_at_most=0)
    status, shown = send("-", "--resume", given="{}\n")
    assert status == 2
    assert "cannot be resumed" in shown


def test_a_slow_pipe_need_not_fill_a_batch(start, queue):
    """Given a writer that goes on, when it pauses after three lines, then these are sent without waiting for more."""
    process = start("-")
    process.stdin.write('{"id":"event-1"}\n{"id":"event-2"}\n{"id":"event-3"}\n')
    process.stdin.flush()
    deadline, found = time.monotonic() + 30, []
    while len(found) < 3 and time.monotonic() < deadline:
        found += queue.received()
        time.sleep(0.1)
    assert len(found) == 3
    assert process.poll() is None


def test_a_lost_answer_is_sent_again_under_the_same_ids_and_counted(send, file, queue, sqs_server):
    sqs_server.faults.add("SendMessageBatch:answer-lost:count=1")
    status, shown = send(file(100), "--run-id", "r3")
    assert status == 0, shown
    assert "100 sent" in shown
    assert "1 uncertain call" in shown
    assert check_complete(queue.received(), 100, "r3", twice_at_most=10) == 10


@pytest.mark.parametrize(
    ("fault", "twice_at_most"),
    [
        ("throttle:probability=0.3", 0),
        ("drop:probability=0.2", 0),
        ("error:status=503:probability=0.3", 0),
        ("answer-lost:probability=0.15", 500),
        ("garbage:probability=0.15", 500),
    ],
    ids=["throttle", "drop", "error", "answer-lost", "garbage"],
)
def test_every_line_arrives_whatever_goes_wrong(*, send, file, queue, sqs_server, fault, twice_at_most):
    sqs_server.faults.add(f"SendMessageBatch:{fault}")
    path = file(500)
    status, shown = send(path, "--run-id", "r4")
    assert status == 0, shown
    check_complete(queue.received(), 500, "r4", twice_at_most=twice_at_most)


def test_a_refused_call_stops_at_once_and_says_how_to_go_on(send, file, queue, sqs_server):
    sqs_server.faults.add("SendMessageBatch:error:code=AccessDeniedException")
    path = file(500)
    status, shown = send(path, "--run-id", "r5")
    assert status == 1
    # Of the four calls that were under way, whichever was answered first.
    assert re.search(r"Stopped: line (1|11|21|31): AccessDenied", shown), shown
    assert "--resume" in shown
    sqs_server.faults.clear()
    assert send(path, "--resume")[0] == 0
    check_complete(queue.received(), 500, "r5", twice_at_most=0)


def test_a_queue_that_stays_away_ends_the_run_and_resuming_completes_it(send, file, queue, sqs_server):
    path = file(200)
    sqs_server.faults.add("SendMessageBatch:error:status=503")
    status, shown = send(path, "--run-id", "r6", "--retry-for", "0.5")
    assert status == 1
    assert "SQS did not take it within 0.5 s" in shown
    sqs_server.faults.clear()
    assert send(path, "--resume")[0] == 0
    check_complete(queue.received(), 200, "r6", twice_at_most=0)


@pytest.mark.parametrize("again", [1, 2])
def test_a_kill_in_the_middle_loses_nothing_and_repeats_only_what_was_in_flight(start, send, file, queue, again):
    """Given a sender that is killed while it sends, once or twice, when it is resumed, then each line is there."""
    path = file(3000)
    resume = []
    for _ in range(again):
        process = start(path, "--run-id", "r7", "--rate", "200/s", *resume)
        wait_for_lines_on_record(path, 50 if not resume else 120)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
        resume = ["--resume"]
    status, shown = send(path, "--resume")
    assert status == 0, shown
    assert 0 < int(shown.splitlines()[-1].split()[0].replace(",", "")) < 3000
    check_complete(queue.received(), 3000, "r7", twice_at_most=again * 4 * 10)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_cleanly_and_resuming_sends_nothing_twice(*, start, send, file, queue, number, status):
    path = file(2000)
    process = start(path, "--run-id", "r8", "--rate", "200/s")
    wait_for_lines_on_record(path, 20)
    process.send_signal(number)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == status, shown
    assert "Traceback" not in shown
    assert "To send the rest, run the same command with --resume." in shown
    assert send(path, "--resume")[0] == 0
    check_complete(queue.received(), 2000, "r8", twice_at_most=0)


def test_a_changed_file_is_not_resumed(start, send, file, queue):
    path = file(2000)
    process = start(path, "--rate", "800/s")
    wait_for_lines_on_record(path, 20)
    process.kill()
    process.wait(10)
    path.write_text(path.read_text().replace('"event-5"', '"event-five"'))
    status, shown = send(path, "--resume")
    assert status == 1
    assert "has changed since it was sent" in shown


@pytest.mark.parametrize(
    ("arguments", "task", "sentence"),
    [
        ([], "tasks.event.post", "No task here is called 'tasks.event.post'. Did you mean tasks.events.post?"),
        (["--queue", "nowhere"], "tasks.events.post", "No queue is called 'nowhere'; the settings have sluice."),
        (["--rate", "fast"], "tasks.events.post", "'fast' is not a rate"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_leaves_nothing(send, file, arguments, task, sentence):
    path = file(1)
    status, shown = send(path, *arguments, task=task)
    assert status in {1, 2}
    assert sentence in shown
    assert "Traceback" not in shown
    assert [found.name for found in path.parent.iterdir()] == ["events.jsonl"]


def test_a_task_of_workers_elsewhere_is_sent_when_asked_for(send, file, queue):
    status, shown = send(file(3), "--run-id", "r9", "--unregistered", task="theirs.post")
    assert status == 0, shown
    check_complete(queue.received(), 3, "r9", twice_at_most=0)
