"""How a task may end, and whether it begins again."""

from __future__ import annotations

import pytest
from celery.exceptions import MaxRetriesExceededError, SoftTimeLimitExceeded, TimeLimitExceeded
from harness import until

WITHIN = 12
# By Celery, of redis-py.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def began(broker, result):
    return [float(at) for at in broker.lines("began", result.id)]


def test_retry_begins_again_after_its_countdown_and_autoretry_waits_longer_each_time(broker):
    asked, by_itself = broker.task("retry").delay(2), broker.task("retry_by_itself").delay(2)
    assert (asked.get(WITHIN), by_itself.get(WITHIN)) == (2, 2)
    first, second, third = began(broker, asked)
    assert min(second - first, third - second) >= 1
    first, second, third = began(broker, by_itself)
    assert second - first >= 1
    assert third - second >= 2


@pytest.mark.parametrize(("with_error", "error"), [(False, MaxRetriesExceededError), (True, ValueError)])
def test_after_the_last_retry_the_task_has_failed(broker, with_error, error):
    result = broker.task("give_up").delay(with_error)
    with pytest.raises(error):
        result.get(WITHIN)
    broker.settled()
    # The last retry's message comes back here as that of any task that raised; see below.
    assert broker.runs(result) == (1 + broker.receives if broker.is_sluice else 2)


def test_after_the_last_retry_it_is_over_if_its_task_says_so(broker):
    result = broker.task("give_up_for_good").delay()
    with pytest.raises(MaxRetriesExceededError):
        result.get(WITHIN)
    broker.settled()
    assert broker.runs(result) == 2


def test_what_raises_has_failed_and_on_sqs_runs_again(broker):
    result = broker.task("fail").apply_async(link_error=broker.task("note_error").s())
    with pytest.raises(ValueError, match="as asked"):
        result.get(WITHIN)
    broker.settled()
    # Stock Celery deletes the message of a task that raised. Here only what is done is deleted: what raised comes back,
    # until the queue's maxReceiveCount, and each run is a failure of its own.
    runs = broker.receives if broker.is_sluice else 1
    assert broker.runs(result) == runs
    until(lambda: len(broker.lines("error-of", result.id)) == runs, lambda: broker.lines("error-of", result.id))
    assert result.state == "FAILURE"


def test_what_raises_at_first_may_succeed_yet_on_sqs(broker):
    result = broker.task("fail_at_first").delay()
    error = result.get(WITHIN, propagate=False)
    assert isinstance(error, ValueError)
    broker.settled()
    # Who waits for a result gets the first; who looks later sees the last.
    assert broker.app.AsyncResult(result.id).state == ("SUCCESS" if broker.is_sluice else "FAILURE")


def test_what_raises_does_not_run_again_if_its_task_says_so(broker):
    result = broker.task("fail_once").delay()
    with pytest.raises(ValueError, match="as asked"):
        result.get(WITHIN)
    broker.settled()
    assert broker.runs(result) == 1


def test_ignore_ends_it_without_a_state(broker):
    result = broker.task("ignore").delay()
    until(lambda: broker.runs(result), "run")
    broker.settled()
    assert (broker.runs(result), result.state) == (1, "PENDING")


def test_reject_ends_it_and_sqs_keeps_it_in_the_dead_letter_queue(broker):
    result = broker.task("reject").delay(False)
    until(lambda: broker.runs(result), "run")
    broker.settled()
    assert (broker.runs(result), result.state) == (1, "PENDING")
    if broker.is_sluice:  # Redis has no such queue: there the message is gone
        reasons = [note["reason"] for body, note in broker.queues.letters("sluice-dead") if result.id in body and note]
        assert reasons == ["the task rejected it: as asked"]


def test_requeued_it_runs_again_and_is_told_so(broker):
    result = broker.task("reject").delay(True)
    assert result.get(WITHIN) is True
    assert broker.runs(result) == 2
    broker.settled()


def test_at_the_soft_limit_a_task_may_put_things_in_order(broker):
    assert broker.task("sleep_until_told").apply_async([20], soft_time_limit=1.0, time_limit=15).get(WITHIN) == "told"


@pytest.mark.parametrize(
    ("limits", "error"),
    [({"soft_time_limit": 1.0, "time_limit": 15}, SoftTimeLimitExceeded), ({"time_limit": 1.0}, TimeLimitExceeded)],
)
def test_over_its_limit_a_task_has_failed(broker, limits, error):
    result = broker.task("sleep_once").apply_async([20], **limits)
    with pytest.raises((error, SoftTimeLimitExceeded)):
        result.get(WITHIN)
    broker.settled()
    assert broker.runs(result) == 1


def test_over_its_hard_limit_it_is_killed_and_on_sqs_runs_again(broker):
    result = broker.task("sleep").apply_async([20], time_limit=1.0)
    with pytest.raises((TimeLimitExceeded, SoftTimeLimitExceeded)):
        result.get(WITHIN)
    broker.settled()
    # As with what raises: only what is done is deleted.
    assert broker.runs(result) == (broker.receives if broker.is_sluice else 1)
