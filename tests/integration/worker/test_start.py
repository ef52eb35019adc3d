"""Starting where not all is well: what cannot work is refused in one line, what may pass is waited for."""

from __future__ import annotations

import pytest
from harness import HERE, Queues, body, elsewhere, table_of_queues, until

from app.testing.sqs.process import LocalSQS

MISSING = "Queue {0}: receiving fails (The queue '{0}' does not exist here. Make it with `celery -A app queues ensure`"


def last_line(worker):
    return worker.log.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["-P", "eventlet"], "Sluice does not run on eventlet"),
        (["-P", "processes"], "this pool is not supported"),
        (["-P", "threads", "--autoscale", "4,1"], "The threads pool cannot grow"),
        (["-Q", "sluice,slice"], "There is no queue slice to consume from: the settings describe sluice."),
    ],
)
def test_options_that_cannot_work_are_refused_with_a_sentence(options, sentence, start_worker):
    worker = start_worker(*options, wait=False)
    assert worker.ended() == 1
    assert sentence in last_line(worker)
    assert "Traceback" not in worker.log


#: In a worker: the system gives two threads for tasks.
TWO_THREADS = """
import threading
start = threading.Thread.start
def give_two(thread):
    if thread.name.startswith("ThreadPoolExecutor") and thread.name.endswith("_2"):
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = give_two
"""


def test_where_the_system_gives_too_few_threads_that_is_said_and_nothing_runs(start_worker, queues, tmp_path):
    (tmp_path / "two_threads.py").write_text(TWO_THREADS)
    queues.server.create_queue("sluice")
    queues.send(body("probe.work", ["waits"]))
    environment = {"PYTHONPATH": f"{tmp_path}:{HERE}", "SLUICE_TASK_MODULES": "tasks,probe,two_threads"}
    worker = start_worker("-P", "threads", "-c", 4, environment=environment, wait=False)
    assert worker.ended() == 1
    assert "The system gives 2 of 4 threads" in last_line(worker)
    assert "Traceback" not in worker.log
    assert (queues.server.queues["sluice"]["visible"], worker.notes("start")) == (1, [])


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"HTTPS_PROXY": "http://me:secret@proxy:port"}, "SQS cannot be called: HTTPS_PROXY (or HTTP_PROXY) is not"),
        ({"AWS_REGION": None, "AWS_CONFIG_FILE": "/nowhere"}, "No AWS region is known: set AWS_REGION"),
    ],
)
def test_where_sqs_cannot_be_called_however_long_one_waits_that_is_said_at_once(environment, sentence, start_worker):
    worker = start_worker("-P", "prefork", wait=False, environment={"AWS_ENDPOINT_URL_SQS": None, **environment})
    assert worker.ended() == 1
    assert last_line(worker).startswith(sentence)
    assert "Traceback" not in worker.log
    assert "secret" not in worker.log


def test_a_missing_queue_is_made_here_with_its_dead_letter_queue(start_worker, queues):
    worker = start_worker("-P", "solo")
    assert sorted(queues.server.queues) == ["sluice", "sluice-dead"]
    queues.send(body("probe.work", ["one"]))
    worker.wait_for_notes("end", ["one"])


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_missing_queue_elsewhere_is_told_in_one_line_and_drained_once_it_is_there(pool, start_worker, queues):
    worker = start_worker("-P", pool, "-c", 2, environment=elsewhere(queues.server))
    worker.wait_for(MISSING.format("sluice"))
    assert queues.server.queues == {}
    queues.server.create_queue("sluice")
    queues.send(body("probe.work", ["one"]))
    worker.wait_for_notes("end", ["one"])
    worker.wait_for("Queue sluice: receiving works again")
    assert worker.log.count("does not exist here") == 1
    assert "Traceback" not in worker.log
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_of_two_queues_one_that_is_missing_or_deleted_keeps_nobody_from_the_other(pool, start_worker, queues, tmp_path):
    queues.server.create_queue("orders")
    environment = {**elsewhere(queues.server), **table_of_queues(tmp_path, "mails", "orders")}
    worker = start_worker("-P", pool, "-c", 2, environment=environment)
    worker.wait_for(MISSING.format("mails"))
    queues.send(body("probe.work", ["while it is missing"]), queue="orders")
    worker.wait_for_notes("end", ["while"])

    queues.server.create_queue("mails")
    queues.send(body("probe.work", ["made"]), queue="mails")
    worker.wait_for_notes("end", ["made"])

    queues.client.delete_queue(QueueUrl=queues.url("orders"))
    worker.wait_for(MISSING.format("orders"))
    queues.send(*(body("probe.work", [f"beside-{n}"]) for n in range(5)), queue="mails")
    worker.wait_for_notes("end", [f"beside-{n}" for n in range(5)])
    queues.server.clock.advance(61)  # for so long the name may not be used again
    queues.server.create_queue("orders")
    queues.send(body("probe.work", ["again"]), queue="orders")
    worker.wait_for_notes("end", ["again"])
    assert worker.log.count("does not exist here") == 2
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_bad_credentials_are_told_once_and_tried_until_they_are_good(pool, start_worker, queues):
    queues.server.create_queue("sluice")
    queues.server.faults.add("*:error:status=403:code=ExpiredTokenException")
    worker = start_worker("-P", pool, "-c", 2, environment=elsewhere(queues.server))
    worker.wait_for("receiving fails (ExpiredTokenException")
    queues.server.faults.clear()
    queues.send(body("probe.work", ["one"]))
    worker.wait_for_notes("end", ["one"])
    assert worker.log.count("ExpiredToken") == 1
    assert "secret-key" not in worker.log
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_server_that_is_away_at_start_and_goes_away_later_is_waited_for(pool, start_worker, tmp_path):
    with LocalSQS() as first:
        address = first.endpoint_url
    worker = start_worker("-P", pool, server=first)
    worker.wait_for("receiving fails (NoAnswer: nobody answers there")
    for n in range(2):
        with LocalSQS(port=int(address.rpartition(":")[2]), options=("--queue", "sluice")) as server:
            Queues(server).send(body("probe.work", [n]))
            worker.wait_for_notes("end", [str(n)])
            until(lambda server=server: server.queues["sluice"]["in_flight"] == 0, "delete")
        worker.wait_for("receiving fails", times=n + 2)
    assert worker.log.count("receiving works again") == 2
    assert "Traceback" not in worker.log


def test_the_banner_says_where_sqs_is(start_worker, queues):
    worker = start_worker("-P", "solo", environment={"SLUICE_CONTROL_URL": None})
    assert f"transport:   sqs://{queues.server.endpoint_url.removeprefix('http://')}\n" in worker.log
    assert worker.log.count("No control link") == 1


def test_a_module_of_tasks_that_raises_is_told_with_the_setting_that_names_it(start_worker, tmp_path):
    (tmp_path / "brokenmod.py").write_text("raise KeyError('left open')\n")
    environment = {"SLUICE_TASK_MODULES": "tasks,brokenmod", "PYTHONPATH": str(tmp_path)}
    worker = start_worker("-P", "solo", wait=False, environment=environment)
    assert worker.process.wait(30) != 0
    assert last_line(worker).startswith("brokenmod, named by SLUICE_TASK_MODULES, cannot be imported (KeyError)")
    assert "left open" in worker.log  # the traceback, for whose module it is


def test_at_debug_no_message_and_no_token_is_in_the_log(start_worker, queues):
    queues.server.create_queue("sluice")
    environment = {**elsewhere(queues.server), "AWS_SESSION_TOKEN": "a-session-token"}
    worker = start_worker("-P", "solo", "-l", "DEBUG", environment=environment)
    queues.send(body("probe.work", ["top-secret"]))
    worker.wait_for_notes("end", ["top-secret"])
    for secret in ("a-session-token", "secret-key", "top-secret"):
        assert secret not in worker.log
