"""Threads that step aside at forks: real threads, real forks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from pathlib import Path

import pytest
from harness import ROOT, until

from app import native
from app.native import NativeThread


def alive():
    """The ids of this process's threads, as the system lists them."""
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def fork(in_child=lambda: True):
    """Fork; whether the child says yes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads of others: pytest-xdist has some
        pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            status = 0 if in_child() else 1
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Reader:
    """Takes numbers, one after another, and waits where there are none."""

    def __init__(self):
        self.numbers, self.read, self.runs = deque(), [], 0
        self._woken = threading.Event()
        self.thread = NativeThread(self._run, wake=self._woken.set, name="test-reader")

    def put(self, number):
        self.numbers.append(number)
        self._woken.set()

    def _run(self):
        self.runs += 1
        while True:
            self._woken.clear()
            if self.thread.should_return:
                return
            if self.numbers:
                self.read.append(self.numbers.popleft())
            else:
                self._woken.wait(10)

    def has_read(self, *numbers):
        until(lambda: self.read == [*numbers], lambda: f"{numbers} in {self.read}", 5)


@pytest.fixture
def reader():
    reader = Reader()
    reader.thread.start()
    until(lambda: reader.runs == 1, "run", 5)
    yield reader
    reader.thread.ask_to_return()
    assert reader.thread.wait(5)


class Stubborn:
    """Returns when the test says so, whoever asks."""

    def __init__(self):
        self.may_return, self.runs = threading.Event(), 0
        self.thread = NativeThread(self._run, wake=lambda: None, name="test-stubborn")
        self.thread.start()
        until(lambda: self.runs == 1, "run", 5)

    def _run(self):
        self.runs += 1
        self.may_return.wait(10)


@pytest.fixture
def stubborn():
    stubborn = Stubborn()
    yield stubborn
    stubborn.thread.ask_to_return()
    stubborn.may_return.set()
    assert stubborn.thread.wait(5)


def took(call):
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def test_a_thread_runs_until_it_is_asked_to_return_and_can_be_started_again(reader):
    assert reader.thread.is_running
    assert "running" in repr(reader.thread)
    assert not reader.thread.is_current
    reader.put(1)
    reader.has_read(1)
    reader.thread.ask_to_return()
    assert reader.thread.wait(5)
    assert not reader.thread.is_running
    assert "not running" in repr(reader.thread)
    reader.put(2)
    reader.thread.start()
    reader.has_read(1, 2)


def test_a_thread_that_never_ran_is_not_waited_for():
    thread = NativeThread(print, wake=lambda: None, name="never")
    thread.ask_to_return()
    assert thread.wait(0)
    assert not thread.is_running


def test_a_thread_that_ended_is_gone_from_the_system():
    seen = []
    thread = NativeThread(lambda: seen.append(threading.get_native_id()), wake=lambda: None, name="short")
    for _ in range(50):
        thread.start()
        assert thread.wait(5)
    assert len(seen) == 50
    assert not set(seen) & alive()


def test_a_thread_that_asks_for_itself_waits_for_nothing():
    answers = []

    def ask():
        answers.extend([thread.is_current, thread.wait(5)])

    thread = NativeThread(ask, wake=lambda: None, name="self")
    thread.start()
    assert thread.wait(5)
    assert answers == [True, False]


def test_it_has_its_name(reader):
    names = []
    thread = NativeThread(lambda: names.append(threading.current_thread().name), wake=lambda: None, name="its-name")
    thread.start()
    assert thread.wait(5)
    assert names == ["its-name"]


def test_an_error_is_logged_and_the_thread_can_be_started_again(caplog):
    thread = NativeThread(lambda: 1 / 0, wake=lambda: None, name="broken")
    for _ in range(2):
        thread.start()
        assert thread.wait(5)
    assert [record.getMessage() for record in caplog.records] == ["broken ended with an error"] * 2


def test_to_start_while_it_returns_is_not_lost(stubborn):
    stubborn.thread.ask_to_return()
    stubborn.thread.start()
    assert stubborn.runs == 1
    stubborn.may_return.set()
    until(lambda: stubborn.runs > 1, "second run", 5)


def test_a_start_from_many_threads_is_one(reader):
    threads = [threading.Thread(target=reader.thread.start) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader.put(1)
    reader.has_read(1)
    assert reader.runs == 1


def test_after_a_fork_it_goes_on_and_in_the_child_it_is_not_there(reader):
    assert fork(lambda: len(alive()) == 1 and not reader.thread.is_running)
    reader.put(1)
    reader.has_read(1)
    assert reader.runs == 2


def test_a_child_may_run_its_own(reader):
    def in_child():
        reader.thread.start()
        reader.put(1)
        reader.has_read(1)
        return fork(lambda: not reader.thread.is_running) and reader.thread.is_running

    assert fork(in_child)
    assert reader.read == []


def test_two_hundred_forks_in_a_row_lose_nothing(reader):
    for n in range(200):
        reader.put(2 * n)
        assert fork(lambda: len(alive()) == 1)
        reader.put(2 * n + 1)
    reader.has_read(*range(400))


def test_forks_at_the_same_time_do_not_get_in_each_others_way(reader):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(all(fork() for _ in range(20)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(100):
        reader.put(n)
    for thread in threads:
        thread.join(30)
    assert answers == [True] * 3
    reader.has_read(*range(100))
    assert native._forks.under_way == 0


def test_a_thread_may_fork_itself_while_the_others_step_aside(reader):
    answers = []
    thread = NativeThread(lambda: answers.append(fork()), wake=lambda: None, name="forking")
    thread.start()
    assert thread.wait(5)
    assert answers == [True]
    reader.put(1)
    reader.has_read(1)
    assert reader.runs == 2


def test_what_was_asked_to_return_is_not_started_by_a_fork(stubborn, monkeypatch):
    monkeypatch.setattr(native, "_STEP_ASIDE", 0.01)
    stubborn.thread.ask_to_return()
    assert fork()
    stubborn.may_return.set()
    assert stubborn.thread.wait(5)
    assert stubborn.runs == 1


def test_what_another_thread_starts_during_a_fork_starts_after_it(reader, stubborn, monkeypatch):
    """While the fork waits for the stubborn one, which is for long."""
    monkeypatch.setattr(native, "_STEP_ASIDE", 5.0)
    late = Reader()
    seen = []

    def during_the_fork():
        until(lambda: native._forks.under_way, "fork", 5)
        late.thread.start()
        seen.append(late.thread.is_running)
        stubborn.may_return.set()

    other = threading.Thread(target=during_the_fork)
    other.start()
    assert fork()
    other.join(5)
    assert seen == [False]
    late.put(1)
    late.has_read(1)
    late.thread.ask_to_return()
    assert late.thread.wait(5)


def test_a_thread_that_does_not_step_aside_delays_a_fork_by_the_bound_and_only_the_first(stubborn, reader, monkeypatch):
    monkeypatch.setattr(native, "_STEP_ASIDE", 0.2)
    assert 0.2 <= took(fork) < 2
    assert min(took(fork) for _ in range(5)) < 0.2
    reader.put(1)
    reader.has_read(1)
    stubborn.may_return.set()
    until(lambda: stubborn.runs > 1, "second run", 5)


@pytest.mark.parametrize("again", [native.resume, fork])
def test_what_finds_no_thread_after_a_fork_is_started_by_the_next_or_when_somebody_looks(
    again, reader, monkeypatch, caplog
):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(native, "_start_new_thread", no_thread)
        assert fork()
        assert not reader.thread.is_running
        with pytest.raises(RuntimeError):
            reader.thread.start()
        native.resume()
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert not reader.thread.is_running
    again()
    reader.put(1)
    reader.has_read(1)


#: Prints what else lives at the moment of each fork: hooks that were registered first run last.
AT_THE_MOMENT = """
import os
seen = []
os.register_at_fork(before=lambda: seen.append(len(os.listdir("/proc/self/task"))))
{patch}
from gevent.monkey import get_original
from app.native import NativeThread, allocate_lock
waitpid = get_original("os", "waitpid")

class Waiting:
    def __init__(self, name):
        self.lock = allocate_lock()
        self.lock.acquire()
        self.thread = NativeThread(self.run, wake=self.wake, name=name)
        self.thread.start()
    def wake(self):
        if self.lock.locked():
            self.lock.release()
    def run(self):
        while not self.thread.should_return:
            self.lock.acquire(True, 10)

waiting = [Waiting(f"waiting-{{n}}") for n in range(5)]
short = NativeThread(lambda: None, wake=lambda: None, name="short")
for n in range(100):
    short.start()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    waitpid(pid, 0)
assert all(one.thread.is_running for one in waiting)
print(len(seen), set(seen))
"""


@pytest.mark.parametrize("patch", ["", "import gevent.monkey; gevent.monkey.patch_all()"])
def test_at_the_moment_of_a_fork_there_is_one_thread_and_python_does_not_warn(patch):
    # Not "error": os.fork swallows what its warning is turned into.
    done = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning", "-c", AT_THE_MOMENT.format(patch=patch)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("100 {1}\n", "")
