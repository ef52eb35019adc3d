"""Countdowns, ETAs, retries and rate limits: SQS holds the message, and not the worker; nothing is lost on the way."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid

import pytest
from celery import Celery
from harness import body, table_of_queues, until

#: So short a longest delay that a few seconds take several hops.
HOPS = {"PROBE_LIMITS": json.dumps({"longest_delay": 2})}
HOUR = 3600


def eta(seconds):
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).isoformat()


def due_in(seconds, name, **options):
    """A message as a stock producer sends it: with its time, and without a delay."""
    return body("probe.work", [name], headers={"eta": eta(seconds)}, **options)


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
    began = time.time()
    queues.send(body("probe.send_later", ["later", 3]))
    until(lambda: queues.server.queues["sluice"]["delayed"] == 1, "delayed message")
    queues.send(body("probe.work", ["meanwhile"]))
    worker.wait_for_notes("end", ["meanwhile"])
    worker.wait_for_notes("end", ["later"])
    assert 3 <= start_of(worker, "later") - began <= 15
    assert worker.notes("start").count("later") == 1
    queues.wait_until_empty()


def test_a_retry_waits_in_sqs_and_keeps_nobody_from_working(start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "prefork", "-c", 1)
    queues.server.clock.speed = 0
    queues.send(*(body("probe.retry_later", [f"retried-{n}", 3]) for n in range(5)))
    until(lambda: queues.server.queues["sluice"]["delayed"] == 5, "delayed messages")
    queues.send(body("probe.work", ["meanwhile"]))
    worker.wait_for_notes("end", ["meanwhile"])
    assert not any(name.startswith("retried") for name in worker.notes("end"))
    queues.server.clock.speed = 1
    worker.wait_for_notes("end", [f"retried-{n}" for n in range(5)])
    queues.wait_until_empty()
    assert all(worker.notes("start").count(f"retried-{n}") == 2 for n in range(5))


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.long)])
def test_what_is_due_later_than_sqs_can_delay_comes_by_hops_and_holds_nobody_up(pool, start_worker, queues):
    """From our producers and from stock ones; within a queue that lets a message be received twice at most."""
    queues.server.create_queue("sluice", max_receives=2)
    worker = start_worker("-P", pool, "-c", 1, environment=HOPS | {"SLUICE_VISIBILITY_TIMEOUT": "30"})
    began = time.time()
    queues.send(body("probe.send_later", ["ours", 8]), due_in(8, "stock"), due_in(2, "soon"), due_in(-60, "late"))
    queues.send(*(due_in(HOUR, f"far-{n}") for n in range(20)), body("probe.work", ["meanwhile"]))
    worker.wait_for_notes("end", ["meanwhile", "late"])
    assert time.time() - began < 8
    worker.wait_for_notes("end", ["soon", "ours", "stock"])
    assert 2 <= start_of(worker, "soon") - began <= 14
    for name in ("ours", "stock"):
        assert 8 <= start_of(worker, name) - began <= 24
    until(lambda: queues.left() == 20, "queue with nothing left but what is far off")
    assert sorted(worker.notes("start")) == ["late", "meanwhile", "ours", "soon", "stock"]
    assert queues.left("sluice-dead") == 0
    assert worker.stop() == 0
    until(lambda: queues.left() == 20, "queue with nothing left but what is far off")


@pytest.mark.long
def test_none_is_lost_if_the_worker_dies_between_sending_and_deleting_and_none_runs_twice(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    environment = HOPS | {"SLUICE_VISIBILITY_TIMEOUT": "30"}
    worker = start_worker("-P", "threads", "-c", 2, environment=environment)
    hangs = queues.server.faults.add("DeleteMessageBatch:black-hole")
    names = [f"hop-{n}" for n in range(8)]
    queues.send(*(due_in(9, name) for name in names))
    until(lambda: queues.server.counts.of("SendMessageBatch").calls > 0, "copy")
    until(lambda: queues.server.queues["sluice"]["delayed"] + queues.server.queues["sluice"]["in_flight"] > 8, "twin")
    worker.kill()
    queues.server.faults.remove(hangs)
    queues.server.clock.advance(31)
    assert queues.left() > len(names)
    worker.start().ready()
    worker.wait_for_notes("end", names)
    queues.wait_until_empty()
    assert sorted(worker.notes("start")) == sorted(names)


@pytest.mark.long
def test_where_no_copy_may_be_sent_it_stays_in_the_queue_and_runs_when_it_is_due(start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", "threads", "-c", 2, environment={"SLUICE_VISIBILITY_TIMEOUT": "4"})
    queues.server.faults.add("SendMessageBatch:error:status=403:code=AccessDeniedException")
    queues.send(due_in(8, "kept"))
    worker.wait_for("sending again what is due later fails")
    worker.wait_for_notes("end", ["kept"])
    queues.wait_until_empty()
    assert worker.notes("start") == ["kept"]


def test_what_is_revoked_is_thrown_away_at_once_and_not_when_it_is_due(start_worker, queues, valkey):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "threads", "-c", 2, environment={"SLUICE_CONTROL_URL": valkey.url})
    unwanted = str(uuid.uuid4())
    control = Celery("control", broker=valkey.url)
    with control.connection() as connection:

        def is_flagged():
            control.control.revoke(unwanted, connection=connection)
            return f"Tasks flagged as revoked: {unwanted}" in worker.log

        until(is_flagged, "worker that knows what is revoked")
    queues.send(due_in(HOUR, "unwanted", id=unwanted))
    worker.wait_for(f"Discarding revoked task: probe.work[{unwanted}]")
    queues.wait_until_empty()
    assert worker.notes("start") == []


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.long)])
def test_what_a_rate_limit_holds_back_is_kept_and_goes_round_not_once(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=1)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_VISIBILITY_TIMEOUT": "4"})
    names = [f"limited-{n}" for n in range(10)]
    queues.send(*(body("probe.limited", [name]) for name in names))
    worker.wait_for_notes("end", names)
    queues.wait_until_empty()
    assert sorted(worker.notes("start")) == sorted(names)
    assert queues.left("sluice-dead") == 0
    assert max(start_of(worker, name) for name in names) - min(start_of(worker, name) for name in names) > 3.5


def test_what_a_rate_limit_holds_back_keeps_no_other_task_from_the_pool(start_worker, queues):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", "threads", "-c", 8)
    queues.send(*(body("probe.limited", [f"limited-{n}"]) for n in range(20)))
    worker.wait_for_notes("start", ["limited-0"])
    queues.send(*(body("probe.work", [f"free-{n}"]) for n in range(2)))
    worker.wait_for_notes("end", ["free-0", "free-1"])
    assert len(worker.notes("end")) < 22


def test_nor_another_queue_from_the_worker(start_worker, queues, tmp_path):
    for name in ("sluice", "other"):
        queues.server.create_queue(name)
    environment = table_of_queues(tmp_path, "sluice", "other")
    worker = start_worker("-P", "prefork", "-c", 2, environment=environment)
    queues.send(*(body("probe.limited", [f"limited-{n}"]) for n in range(100)))
    worker.wait_for_notes("start", ["limited-0"])
    names = [f"free-{n}" for n in range(30)]
    queues.send(*(body("probe.work", [name]) for name in names), queue="other")
    worker.wait_for_notes("end", names, within=30)


@pytest.mark.long
def test_nobody_keeps_a_message_longer_than_sqs_allows_and_the_task_ends_all_the_same(start_worker, queues):
    queues.server.create_queue("sluice")
    environment = {"SLUICE_VISIBILITY_TIMEOUT": "2", "PROBE_LIMITS": json.dumps({"longest_lease": 9})}
    worker = start_worker("-P", "threads", "-c", 1, environment=environment)
    queues.send(body("probe.work", ["long", 8]))
    worker.wait_for("SQS lets nobody keep a message for more than 12 hours")
    worker.wait_for_notes("end", ["long"])
    queues.wait_until_empty()
    assert worker.notes("start") == ["long"]
