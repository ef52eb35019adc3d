"""What a call carries: arguments, options, headers; what its task sees of them; and its result."""

from __future__ import annotations

import datetime as dt
import time
import uuid

import pytest
from celery.exceptions import QueueNotFound
from harness import until
from kombu.exceptions import EncodeError

WITHIN = 12
# By Celery, of redis-py.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def test_a_task_sees_its_call(broker):
    call = (
        broker.task("context")
        .s("word", named=2)
        .set(
            task_id=str(uuid.uuid4()),
            shadow="another-name",
            headers={"tenant": "t-1"},
            priority=7,
            time_limit=60,
            soft_time_limit=50,
            expires=600,
            queue="sluice",
        )
    )
    result = call.delay()
    seen = result.get(WITHIN)
    assert result.id == call.options["task_id"]
    assert (seen["id"], seen["root_id"], seen["correlation_id"]) == (result.id,) * 3
    assert (seen["parent_id"], seen["group"], seen["retries"]) == (None, None, 0)
    assert (seen["word"], seen["named"], seen["args"], seen["kwargs"]) == ("word", 2, ["word"], {"named": 2})
    assert (seen["name"], seen["task"], seen["shadow"]) == (*("behaviours.context",) * 2, "another-name")
    assert (seen["is_eager"], seen["called_directly"], seen["hostname"]) == (False, False, broker.worker.options[-1])
    assert seen["tenant"] == "t-1"
    assert seen["timelimit"] == [60, 50]
    assert dt.datetime.fromisoformat(seen["expires"]) > dt.datetime.now(dt.UTC)
    assert seen["delivery_info"] == {"exchange": "", "routing_key": "sluice", "priority": 7, "redelivered": False}
    # Private by default: Celery writes the arguments into the headers a second time, for monitors to read.
    shown = ("hidden", "hidden") if broker.is_sluice else ("('word',)", "{'named': 2}")
    assert (seen["argsrepr"], seen["kwargsrepr"]) == shown


def test_a_task_that_sends_a_task_is_its_parent(broker):
    parent, root, child = broker.task("parent").delay().get(WITHIN)
    seen = broker.app.AsyncResult(child).get(WITHIN)
    assert (seen["id"], seen["parent_id"], seen["root_id"]) == (child, parent, root)


@pytest.mark.parametrize("compression", ["gzip", "bzip2"])
def test_a_compressed_call_is_read(broker, compression):
    assert broker.task("context").apply_async(["ü" * 5000], compression=compression).get(WITHIN)["word"] == "ü" * 5000


def test_what_celerys_json_knows_beside_json_arrives(broker):
    values = [dt.datetime(2030, 1, 2, tzinfo=dt.UTC), uuid.UUID(int=5), b"\x00\xff", "\u0000\ufffe\U0001f600"]
    result = broker.task("context").apply_async(values[:1], {})
    assert result.get(WITHIN)["word"] == values[0]
    for value in values[1:]:
        assert broker.task("context").delay(value).get(WITHIN)["word"] == value


def test_what_is_no_json_is_an_error_at_send(broker):
    with pytest.raises(EncodeError):
        broker.task("context").delay(object())


def test_a_queue_that_nobody_has_is_an_error_at_send(broker):
    with pytest.raises(QueueNotFound, match="Queue 'slice' missing"):
        broker.task("add").apply_async([1, 2], queue="slice")


def test_a_queue_is_found_by_its_own_exchange_and_a_routing_key_alone_says_nothing(broker):
    add = broker.task("add")
    assert add.apply_async([1, 2], exchange="sluice", routing_key="sluice").get(WITHIN) == 3
    assert add.apply_async([1, 2], routing_key="nothing").get(WITHIN) == 3  # to the default queue, as Celery has it


def test_countdown_and_eta_begin_when_due_and_not_before(broker):
    context = broker.task("context")
    due = time.time() + 1.5
    first = context.apply_async(["countdown"], countdown=1.5)
    second = context.apply_async(["eta"], eta=dt.datetime.fromtimestamp(due, dt.UTC))
    for result in (first, second):
        seen = result.get(WITHIN)
        assert result.date_done.timestamp() >= due
        assert dt.datetime.fromisoformat(seen["eta"]).timestamp() == pytest.approx(due, abs=0.5)


def test_what_has_expired_does_not_run(broker):
    times = 0.2, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.2)
    results = [broker.task("add").apply_async([1, 2], expires=expires, countdown=1) for expires in times]
    until(lambda: {result.state for result in results} == {"REVOKED"}, lambda: [result.state for result in results])
    broker.settled()
    assert [broker.runs(result) for result in results] == [0, 0]


def test_what_expires_later_runs(broker):
    assert broker.task("add").apply_async([1, 2], expires=60).get(WITHIN) == 3


def test_a_result_can_be_awaited_read_and_forgotten(broker):
    result = broker.task("add").delay(1, 2)
    assert (result.get(WITHIN), result.state, result.successful(), result.result) == (3, "SUCCESS", True, 3)
    assert broker.app.AsyncResult(result.id).get(WITHIN) == 3
    result.forget()
    assert broker.app.AsyncResult(result.id).state == "PENDING"


def test_an_error_comes_back_with_its_traceback(broker):
    result = broker.task("fail_once").delay("in words")
    with pytest.raises(ValueError, match="in words"):
        result.get(WITHIN)
    assert result.state == "FAILURE"
    assert "raise ValueError(text)" in result.traceback


def test_an_ignored_result_is_not_stored(broker):
    results = [broker.task("forgettable").delay(), broker.task("add").apply_async([1, 2], ignore_result=True)]
    until(lambda: all(broker.runs(result) for result in results), "runs")
    broker.settled()
    assert [broker.app.AsyncResult(result.id).state for result in results] == ["PENDING", "PENDING"]


def test_states_of_a_tasks_own_and_started(broker, tmp_path):
    result = broker.task("progress").delay(str(tmp_path / "go"))
    until(lambda: result.state == "PROGRESS", lambda: result.state)
    assert result.info == {"done": 1}
    (tmp_path / "go").touch()
    assert result.get(WITHIN) == "done"
    tracked = broker.task("tracked").delay(str(tmp_path / "on"))
    until(lambda: tracked.state == "STARTED", lambda: tracked.state)
    assert tracked.info["hostname"] == broker.worker.options[-1]
    (tmp_path / "on").touch()
    tracked.get(WITHIN)


def test_a_task_may_be_acknowledged_before_it_runs(broker):
    assert broker.task("acknowledged_early").delay().get(WITHIN) == "ran"
    broker.settled()
