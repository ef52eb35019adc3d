"""The embedded Valkey server, as the command runs it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import redis

COMMAND = [sys.executable, "-c", "from app.cli.valkey import command; command()"]


def until(predicate, what: str, within: float = 20.0):
    deadline = time.monotonic() + within
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"no {what} within {within} s"
        time.sleep(0.02)
    return found


@pytest.fixture
def start(tmp_path):
    """Starts the command with some options; gives the process and, once it is ready, the server's URL."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str, parent: list[str] | None = None) -> tuple[subprocess.Popen[str], str]:
        address = tmp_path / f"address-{len(started)}"
        command = [*(parent or []), *COMMAND, "--address-file", str(address), *options]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1], until(lambda: address.exists() and address.read_text(), "address").strip()

    yield run
    for process in started:
        process.terminate()
        process.communicate(timeout=20)


def servers(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if child.name() == "valkey-server"]


def test_it_serves_with_its_password_and_not_without_and_stores_nothing(start):
    process, url = start()
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        assert client.config_get("save")["save"] == ""
        assert client.config_get("appendonly")["appendonly"] == "no"
        assert client.config_get("bind")["bind"] == "127.0.0.1"
    without = redis.Redis(host="127.0.0.1", port=int(url.rpartition(":")[2].partition("/")[0]))
    with without, pytest.raises(redis.AuthenticationError):
        without.ping()
    # And the password is in no list of processes
    password = url.split(":")[2].partition("@")[0]
    [server] = servers(psutil.Process(process.pid))
    assert password not in " ".join(server.cmdline())
    assert password not in str(server.environ())


def test_each_run_has_a_password_of_its_own_in_a_file_that_only_its_owner_reads(start, tmp_path):
    _, first = start()
    _, second = start()
    assert first.split("@")[0] != second.split("@")[0]
    assert oct((tmp_path / "address-0").stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("password", ["plain", 'with "quotes" and \\ and ü', "two\nlines", "a@b:c/d"])
def test_any_password_may_be_given(start, password):
    _, url = start("--password", password)
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        assert client.config_get("requirepass")["requirepass"] == password


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_both_processes_in_order(start, number):
    process, _ = start()
    [server] = servers(psutil.Process(process.pid))
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert not server.is_running()
    assert "ready to exit, bye bye" in output


def test_the_server_does_not_outlive_a_killed_command(start):
    process, _ = start()
    [server] = servers(psutil.Process(process.pid))
    process.kill()
    psutil.wait_procs([server], timeout=10)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_it_ends_with_the_process_that_started_it(start):
    # Given a shell that has started the command and waits for it
    shell, _ = start("--exit-with-parent", parent=["/bin/sh", "-c", '"$@" & wait', "sh"])
    family = psutil.Process(shell.pid).children(recursive=True)
    assert len(family) >= 2
    # When the shell is killed
    shell.kill()
    # Then nothing of it is left
    psutil.wait_procs(family, timeout=10)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_server_that_ends_ends_the_command_with_a_line(start):
    process, _ = start()
    [server] = servers(psutil.Process(process.pid))
    server.kill()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Error: Valkey ended by itself with status -9; the reason is above." in output


def test_a_port_that_is_taken_is_named():
    before = servers(psutil.Process(os.getpid()))  # other tests' own
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"Error: Valkey did not start on port {port}: " in done.stderr
    assert "give another --port, or 0 for a free one" in done.stderr
    with contextlib.suppress(ProcessLookupError):
        assert servers(psutil.Process(os.getpid())) == before
