"""Errands: each is run once, whatever forks come in between, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import pytest
from harness import ROOT, until
from wire import answer_all

from app import native
from app.transport.engine.errand import run_errand


def fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tests' own threads
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("forks", [0, 1, 5])
def test_it_is_run_once_whatever_forks_come_in_between(forks, monkeypatch):
    monkeypatch.setattr(native, "_STEP_ASIDE", 0.05)
    runs, may_end = [], threading.Event()

    def errand():
        runs.append(1)
        may_end.wait(10)

    assert run_errand(errand, name="errand")
    until(lambda: runs, "run", 5)
    for _ in range(forks):
        fork()
    may_end.set()
    until(lambda: not any("errand" in repr(thread) for thread in native._forks.running), "end", 5)
    fork()
    assert runs == [1]


def test_without_a_thread_it_says_so_and_is_not_run_later(monkeypatch):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    runs = []
    with monkeypatch.context() as patch:
        patch.setattr(native, "_start_new_thread", no_thread)
        assert not run_errand(lambda: runs.append(1), name="errand")
    fork()
    assert run_errand(lambda: runs.append(2), name="errand")
    until(lambda: runs, "run", 5)
    assert runs == [2]


def test_an_error_of_its_own_is_logged(caplog):
    assert run_errand(lambda: 1 / 0, name="errand")
    until(lambda: [record.getMessage() for record in caplog.records] == ["errand ended with an error"], "log", 5)


#: As a credentials' source does: it uses a socket of the standard library's, which gevent has replaced.
UNDER_GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import gc, http.client, os, sys, time
from app.transport.engine.errand import run_errand

answers = []
def errand():
    connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
    connection.request("POST", "/")
    answers.append(connection.getresponse().read())
    connection.close()

def left():
    time.sleep(0.1)
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

def run(times):
    for _ in range(times):
        before, end = len(answers), time.monotonic() + 5
        assert run_errand(errand, name="errand")
        while len(answers) == before and time.monotonic() < end:
            time.sleep(0.002)

run(3)
before = min(left() for _ in range(5))
run(20)
end = time.monotonic() + 5
while (after := left()) != before and time.monotonic() < end:
    pass
print(len(answers), after == before or (before, after))
"""


def test_under_gevent_neither_a_thread_nor_a_descriptor_stays(start_server, host_name):
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, host_name, str(start_server(answer_all).port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("23 True\n", "")
