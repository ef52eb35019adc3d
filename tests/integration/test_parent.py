"""A child that must not outlive its parent: real processes, a real SIGKILL."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from app import parent

CHILD = """
import sys, time
from app import parent
if sys.argv[1] == "watch":
    parent._ask_the_kernel = lambda signum: False
parent.exit_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
from app.parent import environment_for_children
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=environment_for_children(),
                         stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["kernel", "watch"])
def test_a_child_ends_when_its_parent_is_killed(how):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), textwrap.dedent(CHILD), how], stdout=subprocess.PIPE, text=True
    ) as process:
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
        process.kill()
        wait_until_gone(pid)


def test_a_child_whose_parent_died_before_it_could_ask_exits_at_once():
    """The parent named in the environment is not the one there is."""
    done = subprocess.run(
        [sys.executable, "-c", "from app.parent import exit_with_parent; exit_with_parent(); print('still here')"],
        env={**os.environ, parent.VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_children_are_told_who_their_parent_is():
    assert parent.environment_for_children({"A": "b"}) == {"A": "b", parent.VARIABLE: str(os.getpid())}
