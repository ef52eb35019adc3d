"""The folder of a run."""

from __future__ import annotations

import pytest

from app.local.folder import Folder, FolderError
from app.local.programs import free_port


def test_each_run_has_a_folder_of_its_own_and_takes_the_first_again_when_it_is_free(tmp_path):
    default = tmp_path / "var" / "up"
    first = Folder.take(None, default=default)
    second = Folder.take(None, default=default)
    assert (first.path.name, second.path.name) == ("up", "up-2")
    first.close()
    third = Folder.take(None, default=default)
    assert third.path == first.path
    second.close()
    third.close()


def test_the_events_of_an_earlier_run_are_removed_and_other_files_are_not(tmp_path):
    for name in ("events.jsonl", "events.jsonl.sent", "up.env", "notes.log"):
        (tmp_path / name).write_text("old")
    folder = Folder.take(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "notes.log"]
    folder.close()


def test_a_folder_that_is_in_use_is_refused_with_what_to_do(tmp_path):
    first = Folder.take(tmp_path)
    with pytest.raises(FolderError, match=r"another `up` uses .*: name another folder with --logs"):
        Folder.take(tmp_path)
    first.close()


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"cannot be used \(Not a directory\): name another folder with --logs"):
        Folder.take(tmp_path / "file" / "logs")


def test_what_is_private_is_for_the_owner_only(tmp_path):
    folder = Folder.take(tmp_path)
    assert folder.write_private("up.env", "secret").stat().st_mode & 0o777 == 0o600
    folder.close()


def test_a_port_that_is_taken_is_passed_over():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port) < port + 100
        with pytest.raises(OSError, match="in use"):
            free_port("127.0.0.1", port, most=1)
