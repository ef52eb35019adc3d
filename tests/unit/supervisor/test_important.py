"""Which log lines reach the terminal."""

from __future__ import annotations

import pytest

from app.supervisor.important import Important

WARNING = "[2026-01-31 12:00:00,123: WARNING/MainProcess] the control link is down"


@pytest.mark.parametrize(
    "line",
    [
        WARNING,
        "[2026-01-31 12:00:00,123: ERROR/ForkPoolWorker-3] Task tasks.events.post[…] failed",
        "[2026-01-31 12:00:00,123: CRITICAL/MainProcess] Unrecoverable error",
        "[W 260131 12:00:00 web:2348] 401 GET /api/workers",
        "Error: no such option: --prot",
        "Usage: celery [OPTIONS]",
    ],
)
def test_warnings_and_errors_of_celery_flower_and_click_are_important(line):
    assert Important().sees(line, now=0.0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[2026-01-31 12:00:00,123: INFO/MainProcess] a WARNING/ in the text of an INFO line",
        "[I 260131 12:00:00 command:168] Visit me at http://127.0.0.1:5555",
        "  File 'x.py', line 1: ERROR/",
    ],
)
def test_other_lines_are_not(line):
    assert not Important().sees(line, now=0.0)


def test_a_flood_shows_its_first_lines_and_then_how_many_more_there_were():
    # Given three lines let through in ten seconds
    important = Important(most=3, period=10.0)
    # When a hundred come in a second
    shown = [important.sees(WARNING, now=100.0 + i / 100) for i in range(100)]
    # Then three are shown, and the rest is told once, when the period is over
    assert shown == [True] * 3 + [False] * 97
    assert [important.held(105.0), important.held(110.0), important.held(111.0)] == [0, 97, 0]
    # And the next period shows lines again
    assert important.sees(WARNING, now=120.0)
