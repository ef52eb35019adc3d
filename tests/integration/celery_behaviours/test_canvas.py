"""Canvas, with results in Valkey."""

from __future__ import annotations

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError
from harness import until

WITHIN = 12
# By Celery, of redis-py.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def test_a_chain_hands_each_result_on(broker):
    add = broker.task("add")
    result = chain(add.s(1, 2), add.s(3), add.s(4)).delay()
    assert result.get(WITHIN) == 10
    assert [result.parent.get(WITHIN), result.parent.parent.get(WITHIN)] == [6, 3]


def test_an_immutable_signature_takes_no_result(broker):
    assert chain(broker.task("add").s(1, 2), broker.task("nothing").si()).delay().get(WITHIN) == "immutable"


def test_a_group_gives_its_results_in_order_and_can_be_saved_restored_and_forgotten(broker):
    result = group(broker.task("add").s(n, n) for n in range(8)).delay()
    assert result.get(WITHIN) == [2 * n for n in range(8)]
    result.save()
    assert broker.app.GroupResult.restore(result.id).get(WITHIN) == [2 * n for n in range(8)]
    result.delete()
    assert broker.app.GroupResult.restore(result.id) is None


def test_a_chord_calls_back_once_with_all_results_and_nobody_polls_for_them(broker):
    add, total = broker.task("add"), broker.task("total")
    result = chord((add.s(n, n) for n in range(8)), total.s()).delay()
    assert result.get(WITHIN) == 56
    assert broker.runs(result) == 1
    assert "celery.chord_unlock" not in broker.worker.notes_file.read_text()


def test_a_chord_in_a_chain_and_a_chain_in_a_chord(broker):
    add, total = broker.task("add"), broker.task("total")
    inner = chord([chain(add.si(1, 1), add.s(1)), add.si(2, 2)], total.s())
    assert chain(add.si(0, 0), inner, add.s(100)).delay().get(WITHIN) == 107


@pytest.mark.parametrize("fails", ["fail", "fail_once"])
def test_a_part_of_a_chord_that_fails_fails_the_chord_and_its_errback_is_called(broker, fails):
    header = [broker.task("add").s(1, 1), broker.task(fails).s()]
    callback = broker.task("total").s().on_error(broker.task("note_error").s())
    result = chord(header, callback).delay()
    error = result.get(WITHIN, propagate=False)
    assert isinstance(error, ChordError)
    assert "as asked" in str(error)
    broker.settled()
    # What raised comes back on SQS, and each failure is told anew; unless its task says that the first one is the last.
    times = broker.receives if broker.is_sluice and fails == "fail" else 1
    until(lambda: len(broker.lines("error-of", result.id)) >= times, "errback")
    assert broker.lines("error-of", result.id) == ["ChordError"] * times
    assert broker.runs(result) == 0


def test_a_part_of_a_chord_may_be_tried_again(broker):
    result = chord([broker.task("add").s(1, 1), broker.task("retry").s(1)], broker.task("total").s()).delay()
    assert result.get(WITHIN) == 3


def test_starmap_map_and_chunks(broker):
    add, total = broker.task("add"), broker.task("total")
    pairs = [(n, n) for n in range(6)]
    assert add.starmap(pairs).delay().get(WITHIN) == [0, 2, 4, 6, 8, 10]
    assert total.map([[1, 2], [3]]).delay().get(WITHIN) == [3, 3]
    assert add.chunks(pairs, 2).group().delay().get(WITHIN) == [[0, 2], [4, 6], [8, 10]]


def test_a_task_may_put_another_in_its_place(broker):
    add, total = broker.task("add"), broker.task("total")
    assert broker.task("replaced").delay(1).get(WITHIN) == 2
    assert chain(broker.task("replaced").s(1), add.s(10)).delay().get(WITHIN) == 12
    assert chain(broker.task("replaced_by_group").s(), total.s()).delay().get(WITHIN) == 6


def test_a_part_may_add_to_its_chord(broker):
    result = chord([broker.task("add").s(1, 1), broker.task("grows_its_chord").s()], broker.task("note_result").s("x"))
    result = result.delay()
    result.get(WITHIN)
    [noted] = broker.lines("result-of", "x")
    assert "30" in noted


def test_link_gets_the_result_and_link_error_the_error(broker):
    result = broker.task("add").apply_async([1, 2], link=broker.task("note_result").s("linked"))
    assert result.get(WITHIN) == 3
    assert until(lambda: broker.lines("result-of", "linked"), "callback")[0] == "3"
    failed = broker.task("fail_once").apply_async(link_error=broker.task("note_error").s())
    assert until(lambda: broker.lines("error-of", failed.id), "errback") == ["ValueError"]


def test_a_chain_ends_where_a_task_fails(broker):
    result = chain(broker.task("fail_once").si(), broker.task("nothing").si()).delay()
    with pytest.raises(ValueError, match="as asked"):
        result.parent.get(WITHIN)
    broker.settled()
    assert broker.runs(result) == 0


def test_stamps_travel_with_every_part(broker):
    task = chain(broker.task("add").s(1, 1), broker.task("context").si("stamped"))
    task.stamp(tenant_id="t-1")
    assert task.delay().get(WITHIN)["stamps"] == {"tenant_id": "t-1"}
