"""The engine while its process forks: nothing of it is there, nothing is lost, and a child disturbs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, until
from wire import OK, read_request

#: Counts what lives at the moment of each fork: hooks that were registered first run last. `forks` forks while the
#: engine has requests in flight, and `end` says how a child ends.
PROGRAM = """
import os
at_the_moment = []
os.register_at_fork(before=lambda: at_the_moment.append(len(os.listdir("/proc/self/task"))))
{patch}
import gc, sys, time
from gevent.monkey import get_original
from app.transport.engine import Engine

waitpid, monotonic = get_original("os", "waitpid"), get_original("time", "monotonic")
URL, FORKS, IN_FLIGHT = sys.argv[1], int(sys.argv[2]), 10
os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="us-east-1")
engine = Engine(endpoint_url=URL)
answers, is_over = [], False

def again(answer):
    answers.append(answer)
    if not is_over:
        engine.calls.call("ReceiveMessage", {{}}, again)

def begin():
    for _ in range(IN_FLIGHT):
        engine.calls.call("ReceiveMessage", {{}}, again)

def wait_for(count):
    deadline = monotonic() + 20
    while len(answers) < count:
        assert monotonic() < deadline, (len(answers), count, answers[-3:])
        time.sleep(0.001)

engine.start()
engine.call_soon(begin)
wait_for(20)
took = []
for n in range(FORKS):
    wait_for(len(answers) + 1)
    begun = monotonic()
    pid = os.fork()
    took.append(monotonic() - begun)
    if pid == 0:
        {end}
    assert os.waitstatus_to_exitcode(waitpid(pid, 0)[1]) == 0, n
wait_for(len(answers) + 100)
is_over = True
engine.call_soon(lambda: None)
deadline = monotonic() + 20
while len(engine._http) and monotonic() < deadline:
    time.sleep(0.01)
refused = [str(answer) for answer in answers if answer != {{}}]
quick = sorted(took)[-3] < 0.4  # two may have waited for the CPU
print(len(at_the_moment), set(at_the_moment), refused[:3], len(engine._http), quick)
assert engine.stop(5)
"""

ENDS = {
    "at once": "os._exit(0)",
    "normally": "sys.exit(0)",
    "by collecting garbage": "del engine, again, begin; gc.collect(); os._exit(0)",
    "by closing": "engine._http._multi.close(); [curl.close() for curl in engine._http._idle]; os._exit(0)",
    "with an engine of its own": (
        "engine = Engine(endpoint_url=URL); answers.clear(); is_over = True; engine.start(); engine.call_soon(begin); "
        "wait_for(IN_FLIGHT); os._exit(0 if answers == [{}] * IN_FLIGHT else 1)"
    ),
}


def run(url, *, end="at once", patch="", forks=30, environment=None, python=sys.executable):
    done = subprocess.run(
        # Not "error": os.fork swallows what its warning is turned into.
        [python, "-W", "always", "-c", PROGRAM.format(patch=patch, end=ENDS[end]), url, str(forks)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.stdout, done.stderr


@pytest.fixture(params=["plain", "encrypted"])
def server(request, start_server, own_tls):
    """Answers in a few milliseconds, and under a name that has to be looked up."""

    def serve(connection):
        while read_request(connection):
            connection.sendall(OK)

    return start_server(serve, tls=own_tls[0] if request.param == "encrypted" else None)


@pytest.fixture
def url(server, host_name):
    return server.url.replace("127.0.0.1", host_name)


@pytest.fixture
def environment(own_tls):
    return {"AWS_CA_BUNDLE": own_tls[1].ca_bundle}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_of_it_lives_at_the_moment_of_a_fork_and_all_requests_are_answered(url, environment, server, end):
    forks = 10 if end in ("normally", "with an engine of its own") else 40
    assert run(url, end=end, forks=forks, environment=environment) == (f"{forks} {{1}} [] 0 True\n", "")
    if end != "with an engine of its own":
        assert len(server.connections) == 10  # none was disturbed


@pytest.mark.parametrize("end", ["at once", "normally"])
def test_so_it_is_under_gevent(url, environment, server, end):
    patch = "import gevent.monkey; gevent.monkey.patch_all()"
    assert run(url, end=end, patch=patch, forks=10, environment=environment) == ("10 {1} [] 0 True\n", "")
    assert len(server.connections) == 10


def test_a_slow_name_server_delays_one_fork_by_half_a_second_and_no_other(start_server):
    """Its lookup cannot be interrupted; a process that forks must not stand still because of it."""
    program = """
import os, sys, time
from app.transport.engine.errand import run_errand
from app.transport.engine.names import Names

entries, wakes = [], []
has_begun = []
def look_up(host, port):
    has_begun.append(1)
    time.sleep(3)
    return ("127.0.0.1",)
names = Names(look_up=look_up, wake=lambda: wakes.append(1))
names.ask("http://slow.example/", entries.append)
while not has_begun:
    time.sleep(0.01)
took = []
for _ in range(5):
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    took.append(time.monotonic() - begun)
while not entries:
    names.turn()
    time.sleep(0.01)
time.sleep(0.2)
# Of the others, one may have waited for the CPU.
print(entries, len(wakes), 0.4 < took[0] < 2.5, sorted(took[1:])[-2] < 0.25, sum(took[1:]) < 1.5)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("['slow.example:80:127.0.0.1'] 1 True True True\n", "")


def test_a_child_does_not_hold_the_parents_connections_open(start_server, start_loop):
    """While it held them, a server would not see that the parent has gone, and go on handing out messages."""
    ended = []

    def serve(connection):
        read_request(connection)
        connection.sendall(OK)
        ended.append(read_request(connection))

    server, loop = start_server(serve), start_loop()
    assert loop.post(server.url).status == 200
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    loop.http._multi.close()
    try:
        until(lambda: ended == [b""], "end of the connection", 5)
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(pid, 0)


def test_descriptors_that_are_somebody_elses_now_are_left_alone(start_server, start_loop, tmp_path):
    server, loop = start_server(lambda connection: connection.sendall(OK.replace(b"{}", b"[]"))), start_loop()
    assert loop.post(server.url).status == 200
    (descriptor,) = loop.http._sockets._inodes
    loop.http._multi.close()
    file = tmp_path / "file"
    with file.open("w") as opened:
        os.dup2(opened.fileno(), descriptor)
    pid = os.fork()
    if pid == 0:
        os.write(descriptor, b"from the child")
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(descriptor)
    assert Path(file).read_text() == "from the child"
