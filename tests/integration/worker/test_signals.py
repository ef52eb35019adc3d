"""What user code hears of a worker by Sluice's signals."""

from __future__ import annotations

import json
import signal

import pytest
from harness import body, until


def heard(worker):
    """The signals that came to the probe, in order: name, facts."""
    lines = worker.notes_file.read_text().splitlines() if worker.notes_file.exists() else []
    words = [line.split(" ", 2) for line in lines if line.startswith("signal ")]
    return [(name, json.loads(facts)) for _, name, facts in words]


def of(worker, name):
    return [facts for each, facts in heard(worker) if each == name]


@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("gevent", "threads"))]
)
def test_user_code_hears_of_queues_parked_episodes_lost_leases_and_the_drain(pool, start_worker, queues):
    environment = {"PROBE_SIGNALS": "1", "SLUICE_VISIBILITY_TIMEOUT": "2", "SLUICE_DRAIN_TIMEOUT": "20"}
    queues.server.create_queue("sluice")
    worker = start_worker("-P", pool, "-c", 2, environment=environment)

    number = queues.server.faults.add("ReceiveMessage:error:status=500")
    until(lambda: of(worker, "episode_began"), "begin of an episode")
    queues.server.faults.remove(number)
    until(lambda: of(worker, "episode_ended"), "end of an episode")

    number = queues.server.faults.add("ReceiveMessage:error:status=400:code=AWS.SimpleQueueService.NonExistentQueue")
    until(lambda: of(worker, "queue_parked"), "parked queue")
    queues.server.faults.remove(number)

    number = queues.server.faults.add("ChangeMessageVisibilityBatch:error:status=400:code=ReceiptHandleIsInvalid")
    queues.send(body("probe.work", ["loses", 4]))
    until(lambda: of(worker, "lease_lost"), "lost lease")
    queues.server.faults.remove(number)
    queues.wait_until_empty()

    queues.send(body("probe.work", ["last", 3]))
    worker.wait_for_notes("start", ["last"])
    assert worker.stop() == 0

    began, ended, parked = (of(worker, name) for name in ("episode_began", "episode_ended", "queue_parked"))
    assert began[0] == {"queue": "sluice", "action": "receiving", "reason": began[0]["reason"]}
    assert began[0]["reason"].startswith("InternalFailure")
    assert ended[0]["action"] == "receiving"
    assert ended[0]["failures"] >= 1
    assert "queues ensure" in parked[0]["reason"]
    assert {facts["queue"] for facts in of(worker, "lease_lost")} == {"sluice"}
    assert of(worker, "drain_began") == [{"timeout": 20.0}]
    [drained] = of(worker, "drain_ended")
    assert 0.3 < drained["seconds"] < 20
    assert [name for name, _ in heard(worker)][-2:] == ["drain_began", "drain_ended"]


@pytest.mark.parametrize(
    ("pool", "seconds"),
    [
        ("threads", 1),
        *(pytest.param(*each, marks=pytest.mark.long) for each in (("prefork", 60), ("gevent", 60), ("solo", 1))),
    ],
)
def test_user_code_hears_of_the_drains_end_after_a_cold_shutdown_too(pool, seconds, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2, environment={"PROBE_SIGNALS": "1"})
    queues.send(body("probe.work", ["running", seconds]))
    worker.wait_for_notes("start", ["running"])
    worker.signal(signal.SIGQUIT)
    assert worker.ended(within=15) == 0
    assert [name for name, _ in heard(worker)] == ["drain_began", "drain_ended"]
    assert worker.notes("end") == (["running"] if seconds == 1 else [])
    assert (queues.left(), queues.server.queues["sluice"]["in_flight"]) == (0 if seconds == 1 else 1, 0)
