"""Remote control and events: on SQS by the control link."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from celery.exceptions import TaskRevokedError
from harness import until

WITHIN = 12
# By Celery, of redis-py.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


@pytest.fixture
def inspect(broker):
    name = broker.worker.options[-1]
    return lambda method, *arguments: getattr(broker.app.control.inspect([name], timeout=5, limit=1), method)(
        *arguments
    )[name]


def test_what_is_revoked_before_it_begins_does_not_run(broker):
    add = broker.task("add")
    by_id = add.apply_async([1, 2], countdown=4)
    by_id.revoke()
    stamped = add.si(1, 2)
    stamped.stamp(batch="bad")
    by_stamp = stamped.apply_async(countdown=4)
    broker.app.control.revoke_by_stamped_headers({"batch": ["bad"]})
    for result in (by_id, by_stamp):
        with pytest.raises(TaskRevokedError):
            result.get(WITHIN)
    broker.settled()
    assert (broker.runs(by_id), broker.runs(by_stamp)) == (0, 0)


def test_what_runs_is_ended_by_revoke_with_terminate_and_does_not_come_back(broker):
    result = broker.task("sleep").delay(30)
    until(lambda: broker.runs(result), "start")
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(WITHIN)
    broker.settled()
    assert broker.runs(result) == 1


def test_inspect_tells_what_runs_and_what_there_is(broker, inspect):
    result = broker.task("sleep").delay(20)
    until(lambda: broker.runs(result), "start")
    [task] = inspect("active")
    assert (task["id"], task["name"], task["acknowledged"]) == (result.id, "behaviours.sleep", False)
    assert task["delivery_info"]["routing_key"] == "sluice"
    assert inspect("query_task", result.id)[result.id][0] == "active"
    assert "behaviours.add" in inspect("registered")
    assert [queue["name"] for queue in inspect("active_queues")] == ["sluice"]
    assert inspect("stats")["total"]["behaviours.sleep"] >= 1
    assert inspect("ping") == {"ok": "pong"}
    result.revoke(terminate=True)


def test_inspect_scheduled_tells_what_waits_in_the_worker(broker, inspect):
    result = broker.task("add").apply_async([1, 2], countdown=3)
    # Here it waits in SQS, where `inspect` does not see it; Redis gives it to the worker at once.
    if broker.is_sluice:
        until(lambda: broker.queues.server.queues["sluice"]["delayed"] == 1, "delayed message")
        assert inspect("scheduled") == []
    else:
        [waiting] = until(lambda: inspect("scheduled"), "scheduled")
        assert waiting["request"]["id"] == result.id
    result.revoke()
    broker.settled()


@pytest.fixture
def pause(broker):
    """Has the worker leave its queue, and take it up again at the latest after the test."""
    control = broker.app.control

    def answer(command):
        [told] = getattr(control, command)("sluice", reply=True, limit=1, timeout=5)
        return next(iter(told.values()))

    yield answer
    answer("add_consumer")


def test_a_queue_is_left_and_taken_up_again(broker, inspect, pause):
    assert pause("cancel_consumer") == {"ok": "no longer consuming from sluice"}
    until(lambda: inspect("active_queues") == [], "end of consuming")  # the command says so a moment before
    result = broker.task("add").delay(1, 2)
    assert pause("add_consumer") == {"ok": "add consumer sluice"}
    assert result.get(WITHIN) == 3


def test_purge_empties_the_queue(broker, pause):
    pause("cancel_consumer")
    # Until the worker's last receive is over, which may be on its way yet: it would take a message.
    time.sleep(0.3)
    until(lambda: broker.polls() == 0, "end of the last receive")
    results = [broker.task("add").delay(n, n) for n in range(3)]
    assert broker.app.control.purge() == 3
    pause("add_consumer")
    broker.settled()
    assert [broker.runs(result) for result in results] == [0, 0, 0]


def test_events_tell_the_way_of_a_task(broker, events):
    add = broker.task("add")
    done, failed = add.delay(1, 2), broker.task("fail_once").delay()
    until(lambda: "task-succeeded" in events.of(done.id), lambda: events.seen)
    until(lambda: "task-failed" in events.of(failed.id), lambda: events.seen)
    assert events.of(done.id) == ["task-received", "task-started", "task-succeeded"]
    assert events.of(failed.id) == ["task-received", "task-started", "task-failed"]
    retried = broker.task("retry").delay(1)
    until(lambda: "task-succeeded" in events.of(retried.id), lambda: events.seen)
    # In no order: that it is to be tried again is told when its message may be there already.
    expected = {"task-received": 2, "task-started": 2, "task-retried": 1, "task-succeeded": 1}
    until(lambda: Counter(events.of(retried.id)) == expected, lambda: events.seen)
