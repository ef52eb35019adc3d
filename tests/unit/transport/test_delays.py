"""How long SQS holds a message back."""

from __future__ import annotations

import pytest

from app.transport.delays import delay, seconds_until_due

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("eta", "seconds"),
    [
        ("2027-01-15T08:00:10+00:00", 10),
        ("2027-01-15T09:00:10+01:00", 10),
        ("2027-01-15T08:00:10", 10),
        ("2027-01-15T08:00:10Z", 10),
        ("2027-01-15T08:00:00.250+00:00", 0.25),
        ("2027-01-15T07:59:59+00:00", 0),
        # What Celery reads and Python's own does not:
        ("2027-01-15T24:00:00+00:00", 16 * 3600),
        ("2027-02", 16 * 24 * 3600 + 16 * 3600),
        ("", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ("tomorrow", 0),
        (None, 0),
        (5, 0),
    ],
)
def test_a_message_is_due_at_its_eta_in_whatever_zone(eta, seconds):
    assert seconds_until_due({"eta": eta}, now=NOW) == pytest.approx(seconds)


def test_it_is_held_back_until_it_is_due_and_no_longer_than_sqs_can():
    assert delay({"eta": "2027-01-15T08:00:09.100+00:00"}, now=NOW) == 10
    assert delay({"eta": "2027-01-15T10:00:00+00:00"}, now=NOW) == 900
    assert delay({"eta": "2027-01-15T10:00:00+00:00"}, now=NOW, longest=30) == 30
    assert delay({"eta": "2027-01-15T08:00:00+00:00"}, now=NOW) is None
    assert delay({}, now=NOW) is None
