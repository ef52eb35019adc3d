from __future__ import annotations

import uuid

from app.sending.ids import NAMESPACE, task_id


def test_an_id_is_the_version_5_uuid_of_run_number_and_content():
    assert task_id("run", 7, '{"é":1}'.encode()) == uuid.uuid5(NAMESPACE, 'run\n7\n{"é":1}')


def test_ids_stay_what_they_are():
    """Ids are on record in users' files: a change of how they are made would send everything again."""
    assert str(task_id("2f1c", 1, b'{"id":"a"}')) == "e116aa0a-5417-54ac-9435-9a70d203f705"


def test_run_number_and_content_each_make_another_id():
    ids = {task_id("r", 1, b"1"), task_id("s", 1, b"1"), task_id("r", 2, b"1"), task_id("r", 1, b"2")}
    assert len(ids) == 4
    assert task_id("r", 1, b"1") in ids
