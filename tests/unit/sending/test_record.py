"""The record: what a sender that died at any moment leaves behind can be read, and nothing accepted is forgotten."""

from __future__ import annotations

import os
import uuid

import pytest

from app.sending.entries import Entry
from app.sending.ids import task_id
from app.sending.lines import BadLine, split
from app.sending.record import Header, Record, RecordError, Sent, check_unchanged, entry_line, read
from app.sending.resume import open_record
from app.testing.clock import ManualClock

HEADER = Header("run", "tasks.events.post", "sluice")
FILE = b"".join(b'{"id":"%d"}\n' % n for n in range(1, 31))


def sent_entries(*numbers, run_id="run"):
    content = FILE.splitlines()
    return [Entry(n, task_id(run_id, n, content[n - 1]), {"MessageBody": "x"}) for n in numbers]


def recorded(*batches):
    return b"".join([HEADER.to_line(), *(entry_line(sent_entries(*batch)) for batch in batches)])


def load(data):
    return read(data.splitlines(keepends=True))


def test_an_entry_is_the_numbers_and_the_xor_of_the_ids():
    entries = [Entry(n, uuid.UUID(int=1 << n), {"MessageBody": ""}) for n in (1, 2, 3, 7)]
    assert entry_line(entries) == b"1-3,7 " + b"%032x" % (0b1000_1110) + b"\n"


def test_what_was_recorded_is_read_back():
    content = load(recorded(range(11, 21), range(1, 11), [21, 23]))
    assert content.header == HEADER
    assert str(content.sent.lines) == "1-21,23"
    assert content.whole == len(recorded(range(11, 21), range(1, 11), [21, 23]))


def test_a_death_at_any_byte_loses_at_most_the_entry_being_written():
    """Given a record cut at any byte, then it reads, and has exactly the entries that were whole."""
    batches = [range(1, 11), range(11, 21), [25]]
    ends = [len(recorded(*batches[:count])) for count in range(4)]
    data = recorded(*batches)
    for cut in range(len(data) + 1):
        content = load(data[:cut])
        whole = sum(end <= cut for end in ends) - 1  # entries; -1 when not even the header is
        assert (content.header is None) == (whole < 0)
        assert len(content.sent.lines) == sum(map(len, batches[: max(0, whole)]))
        assert content.whole == (ends[whole] if whole >= 0 else 0)


def test_zeros_after_a_loss_of_power_are_cut_off_too():
    content = load(recorded(range(1, 11)) + b"\0" * 4096)
    assert (len(content.sent.lines), content.whole) == (10, len(recorded(range(1, 11))))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"notes of mine\n", "line 1"),
        (b"notes of mine", "line 1: "),
        (b'{"sluice_sent":2,"run_id":"r"}\n', "line 1: no record of this version"),
        (b"[]\n", "line 1: no record"),
        (recorded() + b"1-10 abc\n" + recorded([11])[len(recorded()) :], "line 2: the digest is not whole"),
        (recorded() + b"hello\n", "line 2"),
        (recorded(range(1, 11), [10]), "line 3: 10-10 was there before"),
        (recorded() + b"\xff\n", "line 2"),
    ],
    ids=range(8),
)
def test_a_record_that_is_damaged_or_none_of_ours_says_where(data, reason):
    with pytest.raises(ValueError) as caught:
        load(data)
    assert reason in str(caught.value)


def unchanged(file, *batches):
    sent = load(recorded(*batches)).sent
    check_unchanged(sent, "run", split([file]))


def test_a_file_that_only_grew_is_unchanged():
    unchanged(FILE, range(1, 11), [15])
    unchanged(FILE + b"{}\n", range(1, 31))
    unchanged(b"", *[])


def test_a_line_put_right_where_none_was_sent_is_no_change():
    lines = FILE.splitlines(keepends=True)
    lines[11] = b'{"id": "put right"}\n'
    unchanged(b"".join(lines), range(1, 12), range(13, 21))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [b"{}\n", *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [b"\n", *lines[1:]],
        lambda lines: lines[:10],
        lambda lines: [*lines[:19], b"x" * 2_000_000 + b"\n"],
        lambda lines: [],
    ],
    ids=["edited", "first one gone", "swapped", "emptied", "cut short", "too long now", "empty"],
)
def test_a_change_of_what_was_sent_is_noticed(change):
    file = b"".join(change(FILE.splitlines(keepends=True)))
    with pytest.raises(ValueError, match="lines 1 to 20 are not the ones that were sent"):
        unchanged(file, range(1, 11), range(11, 21))


def test_checking_reads_no_further_than_the_last_line_on_record():
    def lines():
        yield from split([FILE[: FILE.index(b'{"id":"6"')]])
        raise AssertionError("read on")

    check_unchanged(load(recorded(range(1, 6))).sent, "run", lines())
    check_unchanged(Sent(), "run", (line for line in [BadLine(1, "never looked at")]))


# --- on the disk


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(FILE)
    return path


def opened(file, *, resume=False, run_id=None, task="tasks.events.post", queue="sluice"):
    return open_record(file, task=task, queue=queue, run_id=run_id, resume=resume)


def test_a_first_send_begins_a_record_beside_the_file(file):
    with opened(file, run_id="run"):
        pass
    assert (file.parent / "events.jsonl.sent").read_bytes() == HEADER.to_line()


def test_a_run_has_an_id_of_its_own_unless_told(file, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_bytes(FILE)
    with opened(file) as first, opened(other) as second:
        assert first.run_id != second.run_id


def test_a_second_send_of_the_same_file_is_refused_with_what_to_do(file):
    with opened(file, run_id="run") as record:
        record.add(sent_entries(1, 2, 3))
    with pytest.raises(RecordError) as caught:
        opened(file)
    assert "3 lines are on record" in str(caught.value)
    assert "--resume" in str(caught.value)
    assert str(file) + ".sent" in str(caught.value)


def test_resuming_goes_on_with_the_run_and_its_lines(file):
    with opened(file, run_id="run") as record:
        record.add(sent_entries(*range(1, 11)))
    with opened(file, resume=True) as record:
        assert record.run_id == "run"
        assert 10 in record.sent.lines
        assert 11 not in record.sent.lines
        record.add(sent_entries(11, 12))
    with opened(file, resume=True, run_id="run") as record:
        assert str(record.sent.lines) == "1-12"


def test_what_a_death_cut_short_is_cut_off_before_more_is_written(file):
    path = file.parent / "events.jsonl.sent"
    path.write_bytes(recorded(range(1, 11)) + b"11-2")
    with opened(file, resume=True) as record:
        record.add(sent_entries(11, 12))
    assert path.read_bytes() == recorded(range(1, 11), [11, 12])


@pytest.mark.parametrize("left", [b"", b"{", HEADER.to_line()[:-1]])
def test_a_death_before_the_header_was_whole_is_a_first_send(file, left):
    path = file.parent / "events.jsonl.sent"
    path.write_bytes(left)
    with opened(file, run_id="run") as record:
        assert len(record.sent.lines) == 0
    assert path.read_bytes() == HEADER.to_line()


def test_resuming_what_was_never_begun_begins_it(file):
    with opened(file, resume=True, run_id="run") as record:
        assert record.run_id == "run"


@pytest.mark.parametrize("other", [{"run_id": "another"}, {"task": "tasks.other"}, {"queue": "elsewhere"}])
def test_resuming_as_another_run_task_or_queue_is_refused(file, other):
    opened(file, run_id="run").close()
    with pytest.raises(RecordError, match="as run run"):
        opened(file, resume=True, **other)


def test_resuming_with_a_changed_file_is_refused(file):
    with opened(file, run_id="run") as record:
        record.add(sent_entries(*range(1, 11)))
    file.write_bytes(FILE.replace(b'"5"', b'"five"'))
    with pytest.raises(RecordError, match="has changed since it was sent"):
        opened(file, resume=True)


def test_two_sends_at_once_are_refused(file):
    with opened(file, run_id="run"), pytest.raises(RecordError, match="Another send is writing"):
        opened(file, resume=True)
    with opened(file, resume=True):
        pass


def test_a_file_of_somebody_else_by_that_name_is_left_alone(file):
    path = file.parent / "events.jsonl.sent"
    path.write_bytes(b"my notes")
    with pytest.raises(RecordError, match="is damaged"):
        opened(file, resume=True)
    assert path.read_bytes() == b"my notes"


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_sent(tmp_path):
    with pytest.raises(RecordError, match="cannot be written"):
        opened(tmp_path / "missing" / "events.jsonl")


def test_a_full_disk_leaves_no_half_line(file, monkeypatch):
    with opened(file, run_id="run") as record:
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, line: write(fd, line[:5]))
        with pytest.raises(OSError, match="is the disk full"):
            record.add(sent_entries(1))
        monkeypatch.undo()
        record.add(sent_entries(2))
    with opened(file, resume=True) as record:
        assert str(record.sent.lines) == "2"


def test_the_disk_is_told_at_most_once_a_second_and_at_the_end(file, monkeypatch):
    clock, synced = ManualClock(), []
    with Record(file.parent / "events.jsonl.sent", clock=clock) as record:
        record.begin(HEADER)
        monkeypatch.setattr(os, "fsync", synced.append)
        record.add(sent_entries(1))
        record.add(sent_entries(2))
        assert len(synced) == 0
        clock.advance(1.0)
        record.add(sent_entries(3))
        record.add(sent_entries(4))
        assert len(synced) == 1
    assert len(synced) == 2
