"""The store of results in trouble: a task whose result cannot be stored has failed, and that is all."""

from __future__ import annotations

import pytest
from harness import POOLS, Valkey, body


@pytest.mark.long
def test_a_store_that_stands_still_stops_nobody_for_long(start_worker, queues, tmp_path):
    """Under prefork the main process stores what became of a task at its hard limit, and can do nothing else then."""
    queues.server.create_queue("sluice", max_receives=100)
    valkey = Valkey(tmp_path)
    try:
        worker = start_worker("-P", "prefork", "-c", 2, environment={"SLUICE_RESULT_URL": valkey.url})
        queues.send(body("probe.hang_once", ["hung"]))
        worker.wait_for_notes("start", ["hung"])
        valkey.server.suspend()
        worker.wait_for("Hard time limit")
        names = [f"after-{n}" for n in range(8)]
        queues.send(*(body("probe.work", [name], headers={"ignore_result": True}) for name in names))
        worker.wait_for_notes("end", names, within=60)
        valkey.server.resume()
        queues.wait_until_empty(within=60)
        assert worker.stop() == 0
    finally:
        valkey.stop()


@pytest.mark.parametrize(
    "pool", ["threads", *(pytest.param(p, marks=pytest.mark.long) for p in POOLS if p != "threads")]
)
def test_while_results_cannot_be_stored_messages_come_back_and_keep_no_place(pool, start_worker, queues, tmp_path):
    queues.server.create_queue("sluice", max_receives=100)
    valkey = Valkey(tmp_path)
    try:
        environment = {"SLUICE_RESULT_URL": valkey.url, "SLUICE_RETRY_BACKOFF_MAX": "2"}
        worker = start_worker("-P", pool, "-c", 2, environment=environment)
        queues.send(body("probe.work", ["before"]))
        queues.wait_until_empty()
        valkey.stop()
        names = [f"meanwhile-{n}" for n in range(8)]
        queues.send(*(body("probe.work", [name]) for name in names))
        worker.wait_for_notes("end", names)
        assert queues.left() == len(names)
        valkey = Valkey(tmp_path, "--port", valkey.port, "--password", valkey.password)
        queues.wait_until_empty()
        assert queues.left("sluice-dead") == 0
        assert worker.stop() == 0
    finally:
        valkey.stop()
