"""However a task ends, its message is deleted if and only if it is done; all else comes back."""

from __future__ import annotations

import pytest
from harness import POOLS, body

#: Each ends so on its first receive. What is true of its second: whether it ran again.
COMES_BACK = ["raise", "requeue", "reject", "memory", "exit", "retry"]


@pytest.mark.parametrize("pool", POOLS)
def test_what_did_not_succeed_comes_back_and_what_did_is_deleted(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=5)
    worker = start_worker("-P", pool, "-c", 2)
    endings = [*COMES_BACK, "ignore"] + (["die"] if pool == "prefork" else [])

    queues.send(*(body("probe.end", [how, how], id=how) for how in endings), body("probe.work", ["fine"]))

    worker.wait_for_notes("end", {*endings, "fine"} - {"ignore"})
    queues.wait_until_empty()
    assert worker.is_alive
    starts = worker.notes("start")
    assert {how: starts.count(how) for how in endings} == {how: 1 if how == "ignore" else 2 for how in endings}
    assert queues.left("sluice-dead") == 0
