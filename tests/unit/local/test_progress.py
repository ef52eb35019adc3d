"""How far the system is."""

from __future__ import annotations

from app.local.progress import Progress, Reading


def reading(at: float, *, sent: int = 0, waiting: int = 0, in_work: int = 0, done: int = 0, dead: int = 0) -> Reading:
    return Reading(at=at, sent=sent, waiting=waiting, in_work=in_work, done=done, dead=dead)


def test_the_line_has_all_counts_and_the_dead_letters_only_when_there_are_any():
    progress = Progress()
    assert progress.line() == "starting"
    progress.add(reading(0.0, sent=1000, waiting=900, in_work=100))
    progress.add(reading(2.0, sent=2000, waiting=1500, in_work=100, done=400))
    assert progress.line() == "sent 2,000 · waiting 1,500 · in work 100 · done 400 · 12,000 messages/min"
    progress.add(reading(4.0, sent=2000, waiting=1498, done=400, dead=2))
    assert " · done 400 · dead-letter 2 · " in progress.line()


def test_the_rate_is_of_late_and_the_one_in_all_is_to_the_last_arrival():
    # Given ten idle seconds, then 10 a second for 20 s, then nothing for 40 s
    progress = Progress(window=10.0)
    for second in range(71):
        progress.add(reading(float(second), done=min(max(second - 10, 0) * 10, 200)))
        if second == 30:
            assert progress.per_minute == 600.0
    # Then of late there was nothing, and in all it was ten a second
    assert progress.per_minute == 0.0
    assert progress.per_minute_in_all == 600.0


def test_the_queues_are_empty_when_they_were_so_twice_in_a_row():
    progress = Progress()
    seen = []
    for second, (waiting, in_work) in enumerate([(0, 0), (1, 0), (0, 0), (0, 1), (0, 0), (0, 0)]):
        progress.add(reading(float(second), waiting=waiting, in_work=in_work))
        seen.append(progress.is_empty)
    assert seen == [False, False, False, False, False, True]


def test_idle_is_measured_from_the_last_change_that_is_progress():
    progress = Progress()
    assert progress.idle(5.0) == 0.0
    progress.add(reading(10.0, sent=5, waiting=5))
    progress.add(reading(20.0, sent=5, waiting=0, in_work=5))  # received again and again is no progress
    assert progress.idle(25.0) == 15.0
    progress.add(reading(30.0, sent=5, done=1, in_work=4))
    assert progress.idle(31.0) == 1.0


def test_old_readings_are_forgotten():
    progress = Progress(window=10.0)
    for second in range(1000):
        progress.add(reading(float(second)))
    assert len(progress._recent) <= 12


def test_the_rate_in_all_is_known_when_the_first_reading_finds_that_all_has_arrived():
    progress = Progress()
    progress.begin(9.0)
    for second in (10.0, 11.0):
        assert not progress.is_empty
        progress.add(reading(second, sent=50, done=50))
    assert progress.is_empty
    assert progress.per_minute_in_all == 3000.0


def test_the_rate_in_all_is_none_when_it_cannot_be_told():
    progress = Progress()
    assert progress.per_minute_in_all is None
    progress.add(reading(10.0, sent=50, done=50))
    assert progress.per_minute_in_all is None


def test_the_rate_in_all_is_from_the_first_that_was_sent():
    progress = Progress()
    for second, (sent, done) in enumerate([(0, 0), (0, 0), (100, 0), (200, 100), (200, 200), (200, 200)]):
        progress.add(reading(float(second), sent=sent, done=done))
    assert progress.per_minute_in_all == 4000.0
