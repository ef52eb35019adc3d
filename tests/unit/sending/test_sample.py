from __future__ import annotations

import hashlib
import json
import uuid
from itertools import islice

from app.sending import sample


def lines(number, seed=0):
    return [sample.to_line(event) for event in islice(sample.events(seed=seed), number)]


def test_the_bytes_for_a_seed_never_change():
    """The digest is part of the promise: whoever changes the words changes everybody's sample."""
    assert (
        hashlib.sha256(b"".join(lines(1000, seed=7))).hexdigest()
        == "de0e13497ab9496a96d89409ffe9b8a15fef41bdbd1a4a6eaf0daab92a090e0a"
    )


def test_another_seed_gives_other_events():
    assert not set(lines(100, seed=1)) & set(lines(100, seed=2))


def test_a_longer_run_begins_with_the_shorter_one():
    assert lines(300)[:100] == lines(100)


def test_ids_are_distinct_uuids():
    ids = [json.loads(line)["id"] for line in lines(5000)]
    assert len(set(ids)) == 5000
    assert all(uuid.UUID(id_).version == 4 and str(uuid.UUID(id_)) == id_ for id_ in ids)


def test_a_line_is_one_line_of_utf8_json_and_some_of_it_is_not_ascii():
    written = lines(200)
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    assert any(not line.isascii() for line in written)
    assert any("山田" in json.loads(line)["name"] for line in written)


def test_events_look_like_a_user_directory_at_work():
    found = [json.loads(line) for line in lines(2000)]
    operations = [event["operation"] for event in found]
    assert set(operations) == {name for name, _ in sample.OPERATIONS}
    assert operations.count("register") > operations.count("update") > operations.count("delete") > 0
    assert all(event["created_at"] <= event["occurred_at"] for event in found)
    assert all(event["mail"].startswith(event["username"] + "@") for event in found)
    assert all(event["enabled"] == (event["operation"] not in {"disable", "delete"}) for event in found)
    assert [event["occurred_at"] for event in found] == sorted(event["occurred_at"] for event in found)
    assert found[0]["profile"]["address"]["country"]
