"""Remote control of workers that drain: what they wait for is seen, and can be revoked."""

from __future__ import annotations

import os
import signal
import time

import pytest
import redis
from harness import POOLS, body, until


@pytest.fixture
def start(start_worker, queues, valkey):
    """Starts a worker whose drain takes very long if nobody ends it."""
    queues.server.create_queue("sluice", max_receives=50)
    environment = {"SLUICE_CONTROL_URL": valkey.url, "SLUICE_DRAIN_TIMEOUT": "300"}

    def start(pool, *options, name="one", **more):
        return start_worker("-P", pool, "-n", f"{name}@here", *options, environment=environment | more)

    return start


@pytest.fixture
def control(valkey, controller):
    return controller(valkey).control


def tell_all(worker):
    """SIGTERM to all processes of the worker, as systemd, Heroku and honcho do."""
    os.killpg(worker.process.pid, signal.SIGTERM)


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_task_that_a_draining_worker_waits_for_can_be_revoked(pool, start, queues, valkey, control):
    worker = start(pool, "-c", 8, "-E")
    until(lambda: control.ping(timeout=5, limit=1), "answer")
    queues.send(body("probe.work", ["endless", 300.0], id="endless"), body("probe.work", ["some-time", 3.0]))
    worker.wait_for_notes("start", ["endless", "some-time"])
    queues.server.fill("sluice", 200, body("probe.work", ["n{n}", 0.05], id="{n}"))
    until(lambda: len(worker.notes("end")) > 20, "some work")
    tell_all(worker)
    worker.wait_for("Warm shutdown")

    inspect = control.inspect(timeout=5, limit=1)
    # What takes some time may have ended as well by then.
    until(lambda: len(inspect.active()["one@here"]) <= 2, "end of the short tasks")
    assert inspect.query_task("endless")["one@here"]["endless"][0] == "active"
    assert inspect.stats()["one@here"]["pool"]["max-concurrency"] == 8
    assert "shutting down" in str(control.pool_grow(1, reply=True, timeout=5, limit=1))
    control.shutdown()
    answers = control.revoke("endless", terminate=True, reply=True, timeout=2)
    assert answers == [{"one@here": {"ok": "terminate: endless"}}]

    assert worker.ended() == 0
    assert sorted(worker.notes("start")) == sorted([*worker.notes("end"), "endless"])
    left = {f"n{n}" for n in range(200)} - set(worker.notes("start"))
    assert queues.left() == len(left), f"{queues.beside(left)}; {worker.log}"
    assert queues.server.queues["sluice"]["in_flight"] == 0
    assert "Traceback" not in worker.log
    with redis.Redis.from_url(valkey.url) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("pool", ["threads", pytest.param("solo", marks=pytest.mark.long)])
def test_where_a_task_cannot_be_killed_it_is_seen_and_goes_on_and_each_worker_answers_once(
    pool, start, queues, control
):
    worker, other = start(pool, "-c", 1), start("prefork", "-c", 1, name="two")
    until(lambda: len(control.ping(timeout=5, limit=2)) == 2, "answers")
    queues.send(*(body("probe.work", [name, 6.0], id=name) for name in ("first", "second")))
    until(lambda: worker.notes("start"), "start")
    [name] = worker.notes("start")
    tell_all(worker)
    worker.wait_for("Warm shutdown")
    until(lambda: control.ping(["one@here"], timeout=1, limit=1), "answer while it drains")

    answers = control.ping(timeout=2)
    assert sorted(name for answer in answers for name in answer) == ["one@here", "two@here"]
    assert [task["id"] for task in control.inspect(["one@here"], timeout=5, limit=1).active()["one@here"]] == [name]
    [refusal] = control.revoke(name, terminate=True, reply=True, destination=["one@here"], timeout=5, limit=1)
    assert "NotImplementedError" in refusal["one@here"]["error"]

    assert worker.ended() == 0
    assert worker.notes("end") == [name]
    queues.wait_until_empty()
    assert other.is_alive


@pytest.mark.parametrize("pool", ["gevent", pytest.param("prefork", marks=pytest.mark.long)])
def test_a_worker_that_was_told_to_stop_by_its_control_link_goes_on_answering(pool, start, queues, control):
    worker = start(pool, "-c", 2)
    until(lambda: control.ping(timeout=1, limit=1), "answer")
    queues.send(body("probe.work", ["endless", 300.0], id="endless"))
    worker.wait_for_notes("start", ["endless"])
    control.shutdown()
    worker.wait_for("Got shutdown from remote")
    until(lambda: control.revoke("endless", terminate=True, reply=True, timeout=1, limit=1), "answer to a revoke")
    assert worker.ended() == 0
    assert queues.left() == 0


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_what_is_revoked_in_the_moment_of_the_signal_is_revoked(pool, start, queues, control):
    """Its command waits behind messages that the worker then takes no more."""
    for n in range(6):
        worker = start(pool, "-c", 8)
        until(lambda: control.ping(timeout=5, limit=1), "answer")
        queues.send(body("probe.work", [f"endless-{n}", 300.0], id=f"endless-{n}"))
        worker.wait_for_notes("start", [f"endless-{n}"])
        queues.server.fill("sluice", 3000, body("probe.work", ["{n}", 0.002]))
        until(lambda worker=worker: len(worker.notes("end")) > 200, "some work")
        control.revoke(f"endless-{n}", terminate=True)
        tell_all(worker)
        assert worker.ended() == 0
        assert sorted(worker.notes("start")) == sorted([*worker.notes("end"), f"endless-{n}"])


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("trouble", ["frozen", "gone"])
def test_a_link_in_trouble_delays_no_end(pool, trouble, start, queues, own_valkey):
    worker = start(pool, "-c", 1, SLUICE_CONTROL_URL=own_valkey.server.url)
    queues.send(body("probe.work", ["task", 4.0]))
    worker.wait_for_notes("start", ["task"])
    tell_all(worker)
    time.sleep(1)
    own_valkey.server.server.suspend() if trouble == "frozen" else own_valkey.server.stop()
    worker.wait_for_notes("end", ["task"])
    assert worker.ended(within=5) == 0
    assert queues.left() == 0
    assert "Traceback" not in worker.log
