"""Remote control and events over the link: real workers of two pools, Celery's own client."""

from __future__ import annotations

import pytest
import redis
from harness import Events, body, python, until


@pytest.fixture
def workers(start_worker, queues, valkey):
    """A prefork and a gevent worker on one queue, and where each is."""
    queues.server.create_queue("sluice")
    environment = {"SLUICE_CONTROL_URL": valkey.url}
    return {
        f"{pool}@here": start_worker("-P", pool, "-c", 2, "-E", "-n", f"{pool}@here", environment=environment)
        for pool in ("prefork", "gevent")
    }


def test_two_workers_are_seen_steered_and_stopped_and_nothing_is_left_behind(workers, queues, valkey, controller):
    app = controller(valkey)
    inspect = app.control.inspect(timeout=5, limit=2)
    names = set(workers)

    # A gevent worker says that it is ready before its remote control listens.
    until(lambda: set(inspect.ping() or ()) == names, "answer of both workers")

    # grow: prefork looks after its processes every five seconds, so its new one is looked for further down
    assert len(inspect.stats()["prefork@here"]["pool"]["processes"]) == 2
    assert app.control.pool_grow(1, reply=True, limit=2, timeout=5)

    # revoke: the message is taken and deleted, its task is not run
    app.control.revoke("never", reply=True, limit=2, timeout=5)
    queues.send(body("probe.work", ["never"], id="never"), body("probe.work", ["fine"]))
    queues.wait_until_empty()
    assert [note for worker in workers.values() for note in worker.notes("end")] == ["fine"]

    # rate limit
    answers = app.control.rate_limit("probe.work", "100/s", reply=True, limit=2, timeout=5)
    assert [answer for by_name in answers for answer in by_name.values()] == [
        {"ok": "new rate limit set successfully"}
    ] * 2

    # what is running, private unless allowed
    queues.send(*(body(f"probe.{task}", ["secret-name", 6.0]) for task in ("work", "open_work")))
    until(lambda: sum("secret-name" in worker.notes("start") for worker in workers.values()) or None, "start")

    def two_active():
        found = [task for tasks in (inspect.active() or {}).values() for task in tasks]
        return found if len(found) == 2 else None

    shown = {task["name"]: (task["args"], task["kwargs"]) for task in until(two_active, "two active tasks")}
    assert shown["probe.work"] == ("hidden", "hidden")
    assert shown["probe.open_work"] == (["secret-name", 6.0], {})

    until(lambda: len(inspect.stats()["prefork@here"]["pool"]["processes"]) == 3, "third process")
    app.control.shutdown()
    assert [worker.ended() for worker in workers.values()] == [0, 0]
    assert all("mingle" not in worker.log and "Traceback" not in worker.log for worker in workers.values())
    with redis.Redis.from_url(valkey.url) as client:
        assert client.dbsize() == 0
        until(lambda: client.pubsub_numpat() == 0, "end of all subscriptions")
    assert set(queues.server.queues) == {"sluice"}


@pytest.mark.parametrize(("pool", "limit"), [("prefork", "100/s"), pytest.param("gevent", "0", marks=pytest.mark.long)])
def test_a_new_rate_limit_holds_for_what_waits_already(pool, limit, *, start_worker, queues, valkey, controller):
    queues.server.create_queue("sluice")
    environment = {"SLUICE_CONTROL_URL": valkey.url}
    start_worker("-P", pool, "-c", 2, environment=environment)
    app = controller(valkey)
    until(lambda: app.control.ping(timeout=1, limit=1), "answer")
    assert app.control.rate_limit("probe.work", "1/h", reply=True, limit=1, timeout=5)
    queues.send(*(body("probe.work", [n]) for n in range(12)))
    until(lambda: queues.left() == 11, "one done, and the others waiting")
    assert app.control.rate_limit("probe.work", limit, reply=True, limit=1, timeout=5)
    queues.wait_until_empty()


def test_no_reply_is_lost_in_two_hundred_pings(workers, valkey, controller):
    app = controller(valkey)
    # A gevent worker says that it is ready beside the greenlet that subscribes, and not after it.
    until(lambda: len(app.control.ping(timeout=1, limit=2)) == 2, "first answer of both")
    for n in range(200):
        assert len(app.control.ping(timeout=10, limit=2)) == 2, f"at the {n}-th ping"


def test_events_tell_what_happens_and_hide_what_it_is_about(workers, queues, valkey, controller):
    app = controller(valkey)
    with Events(app) as heard:
        until(lambda: len({event["hostname"] for event in heard.of_type("worker-heartbeat")}) == 2, "heartbeats")
        # A stock producer writes the arguments into the headers as well.
        told = {"argsrepr": "('secret-name',)", "kwargsrepr": "{'secret': 1}"}
        queues.send(*(body("probe.work", ["secret-name"], headers=told) for _ in range(20)))
        queues.send(body("probe.open_work", ["open-name"], headers={"argsrepr": "('open-name',)", "kwargsrepr": "{}"}))
        queues.send(body("probe.end", ["secret-name", "raise"], headers=told))
        until(lambda: len(heard.of_type("task-succeeded")) == 22, lambda: heard.seen)
        hidden = [event for event in heard.seen if event.get("name") == "probe.work"]
        assert {(event["args"], event["kwargs"]) for event in hidden} == {("hidden", "hidden")}
        assert "secret-name" not in str(heard.seen)
        assert "open-name" in str(heard.seen)
        assert "result-of-open-name" in str(heard.seen)
        for worker in workers.values():
            worker.signal()
        until(lambda: len(heard.of_type("worker-offline")) == 2, "last words")
    assert all("secret-name" not in worker.log for worker in workers.values())


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.long)])
def test_a_task_may_send_revoke_inspect_and_stop_its_worker(pool, start_worker, queues, valkey):
    queues.server.create_queue("sluice")
    environment = {"SLUICE_CONTROL_URL": valkey.url}
    worker = start_worker("-P", pool, "-c", 2, "-n", f"{pool}@here", environment=environment)
    queues.send(
        body("probe.send_another", ["sent-by-a-task"]),
        body("probe.revoke", ["revoked-by-a-task"]),
        body("probe.inspect"),
    )
    worker.wait_for_notes("end", ["sent-by-a-task", "revoke", "inspect"])
    assert f"end inspect ['{pool}@here']" in worker.notes_file.read_text()
    queues.send(body("probe.work", ["revoked"], id="revoked-by-a-task"), body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
    queues.wait_until_empty()
    assert "revoked" not in worker.notes("end")
    queues.send(body("probe.stop_worker"))
    until(lambda: not worker.is_alive, "end of the worker")
    assert worker.process.wait() == 0
    assert queues.left() == 0


def test_whatever_is_published_there_does_not_end_a_worker(workers, valkey, controller):
    app = controller(valkey)
    until(lambda: len(app.control.ping(timeout=1, limit=2)) == 2, "first answer of both")
    with redis.Redis.from_url(valkey.url) as client:
        for topic in ("/0.celery.pidbox", "/0.celeryev/worker.heartbeat"):
            for text in ("", "garbage", "5", "{}", "[]", '{"properties": 5}', '{"body": 5, "properties": {}}', b"\xff"):
                client.publish(topic, text)
    assert len(app.control.ping(timeout=10, limit=2)) == 2
    assert all(worker.is_alive for worker in workers.values())


def test_without_a_link_inspect_says_what_is_missing(sqs_server):
    done = python("-m", "celery", "-A", "app", "inspect", "ping", **sqs_server.environment)
    assert done.returncode != 0
    assert "set SLUICE_CONTROL_URL to a Valkey or Redis" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("pool", ["gevent", pytest.param("prefork", marks=pytest.mark.long)])
def test_a_pool_that_was_shrunk_to_no_place_and_grown_again_gets_messages(
    pool, start_worker, queues, valkey, controller
):
    queues.server.create_queue("sluice")
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_CONTROL_URL": valkey.url})
    control = controller(valkey).control
    until(lambda: control.ping(timeout=1, limit=1), "answer")
    for change in (control.pool_shrink, control.pool_grow):
        [answer] = change(2, reply=True, timeout=5, limit=1)
        assert "ok" in next(iter(answer.values()))
    queues.send(body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
