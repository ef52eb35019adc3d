"""The folder of a run."""

from __future__ import annotations

import pytest

from app.local.folder import Folder, FolderError
from app.local.options import Options
from app.local.programs import cannot_listen, events_file, flower, free_port, sender, servers, workers
from app.supervisor.program import AddressFile


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
    Folder.take(tmp_path).close()
    for name in ("events.jsonl", "events.jsonl.sent", "up.env", "notes.log"):
        (tmp_path / name).write_text("old")
    folder = Folder.take(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "notes.log"]
    folder.close()


@pytest.mark.parametrize(
    "name", ["events.jsonl", "events.jsonl.sent", "up.env", "worker.log", "worker12.log", "sqs.address", "lock"]
)
def test_a_folder_with_somebody_elses_files_of_our_names_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / name).write_text("the work of a year")
    for _ in range(2):  # the refusal does not make it ours
        with pytest.raises(FolderError, match=rf"already holds {name} that no .* wrote: name another .* --logs$"):
            Folder.take(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "the work of a year"}


def test_an_empty_lock_does_not_make_a_folder_ours(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / "up.env").write_text("mine")
    with pytest.raises(FolderError, match=r"already holds up\.env"):
        Folder.take(tmp_path)
    assert (tmp_path / "up.env").read_text() == "mine"
    # But beside nothing else of ours it is what another run, which ended at once, has left
    (tmp_path / "up.env").unlink()
    Folder.take(tmp_path).close()


def test_a_folder_with_other_files_is_taken(tmp_path):
    (tmp_path / "notes.log").write_text("mine")
    Folder.take(tmp_path).close()
    assert (tmp_path / "notes.log").read_text() == "mine"


def test_all_that_a_run_writes_is_known(tmp_path):
    options = Options(workers=12)
    found = [*servers(options, folder=tmp_path, environment={}), flower(options, environment={})]
    found += workers(options, drain_timeout=1.0, environment={})
    found += [*workers(Options(), drain_timeout=1.0, environment={}), sender(folder=tmp_path, environment={})]
    written = {f"{program.name}.log" for program in found}
    written |= {program.ready.path.name for program in found if isinstance(program.ready, AddressFile)}
    written |= {events_file(tmp_path).name}
    for name in written:
        (tmp_path / name).write_text("mine")
        with pytest.raises(FolderError, match=name):
            Folder.take(tmp_path)
        (tmp_path / name).unlink()


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


def test_why_an_address_cannot_be_listened_on_is_known_beforehand():
    assert cannot_listen("127.0.0.1") == ""
    assert cannot_listen("192.0.2.1")  # RFC 5737: no machine has it
    assert cannot_listen("é" * 64) == "it is no name of a host"
