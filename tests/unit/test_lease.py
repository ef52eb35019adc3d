"""The page on which a task reads how its lease stands."""

from __future__ import annotations

import math

from app.lease import Lease, LeaseTable
from app.testing.clock import ManualClock


def lease(table, place, clock):
    return Lease(place, table=table, clock=clock)


def test_a_task_sees_its_lease_run_down_be_renewed_and_be_lost():
    table, clock = LeaseTable(2), ManualClock()
    now = clock.monotonic()
    place = table.open(now + 60)
    mine = lease(table, place, clock)
    assert (mine.remaining(), mine.lost) == (60, False)
    clock.advance(20)
    assert mine.remaining() == 40
    table.write(place, now + 80)
    assert mine.remaining() == 60
    table.lose(place)
    assert (mine.remaining(), mine.lost) == (0, True)


def test_a_lease_that_nobody_renewed_is_lost_without_anybody_saying_so():
    """The main process may have been killed."""
    table, clock = LeaseTable(2), ManualClock()
    mine = lease(table, table.open(clock.monotonic() + 60), clock)
    clock.advance(60)
    assert mine.lost


def test_a_row_that_another_task_has_now_says_nothing_of_it():
    table, clock = LeaseTable(1), ManualClock()
    place = table.open(clock.monotonic() + 60)
    mine = lease(table, place, clock)
    table.close(place)
    assert mine.lost
    table.open(clock.monotonic() + 600)
    assert mine.lost


def test_without_a_row_nothing_is_known_and_nothing_is_lost():
    """Run eagerly, in a unit test, by another transport."""
    table = LeaseTable(1)
    assert table.open(1.0) is not None
    assert table.open(1.0) is None
    mine = Lease(None)
    assert (mine.remaining(), mine.lost) == (math.inf, False)
