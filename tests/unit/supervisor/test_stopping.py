"""Which signal a program that is being stopped gets, and when."""

from __future__ import annotations

import signal

from app.supervisor.stopping import Step, Stopping

STEPS = (Step(signal.SIGTERM, 30.0), Step(signal.SIGQUIT, 5.0))


def test_each_signal_is_sent_once_and_the_next_only_after_the_patience_of_the_one_before():
    stopping = Stopping(STEPS)
    assert [stopping.due(now) for now in (100.0, 100.1, 129.9)] == [signal.SIGTERM, None, None]
    assert [stopping.due(now) for now in (130.0, 134.9)] == [signal.SIGQUIT, None]
    assert [stopping.due(now) for now in (135.0, 200.0, 1e9)] == [signal.SIGKILL, None, None]


def test_a_hurry_makes_the_next_signal_due_at_once_and_only_the_next():
    stopping = Stopping(STEPS)
    assert stopping.due(0.0) == signal.SIGTERM
    stopping.hurry()
    assert [stopping.due(1.0), stopping.due(1.0)] == [signal.SIGQUIT, None]
    stopping.hurry()
    assert stopping.due(1.0) == signal.SIGKILL
    stopping.hurry()
    assert stopping.due(2.0) is None


def test_without_steps_it_is_sigkill_at_once():
    assert Stopping(()).due(0.0) == signal.SIGKILL
