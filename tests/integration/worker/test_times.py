"""Countdowns and retries: SQS holds the message, and not the worker."""

from __future__ import annotations

import time

import pytest
from harness import body, until


def start_of(worker, name):
    return next(
        float(line.split()[2])
        for line in worker.notes_file.read_text().splitlines()
        if line.startswith(f"start {name} ")
    )


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_countdown_is_a_delay_of_sqs_and_the_task_runs_when_it_is_due(pool, start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", pool, "-c", 1)
    queues.send(body("probe.send_later", ["later", 3]))
    until(lambda: queues.server.queues["sluice"]["delayed"] == 1, "delayed message")
    sent = time.time()
    queues.send(body("probe.work", ["meanwhile"]))
    worker.wait_for_notes("end", ["meanwhile"])
    worker.wait_for_notes("end", ["later"])
    assert 2.0 <= start_of(worker, "later") - sent <= 8.0
    assert worker.notes("start").count("later") == 1
    queues.wait_until_empty()


def test_a_retry_waits_in_sqs_and_keeps_nobody_from_working(start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "prefork", "-c", 1)
    queues.send(*(body("probe.retry_later", [f"retried-{n}", 3]) for n in range(5)))
    until(lambda: queues.server.queues["sluice"]["delayed"] == 5, "delayed messages")
    queues.send(body("probe.work", ["meanwhile"]))
    worker.wait_for_notes("end", ["meanwhile"])
    worker.wait_for_notes("end", [f"retried-{n}" for n in range(5)])
    queues.wait_until_empty()
    assert all(worker.notes("start").count(f"retried-{n}") == 2 for n in range(5))
