"""The engine beside gevent's hub: neither holds the other up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from harness import ROOT
from wire import OK, read_request

START = """
import gevent.monkey
gevent.monkey.patch_all()
import os, sys, threading, time
import gevent
from gevent.monkey import get_original
from app.transport.engine import Engine

os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="us-east-1")
monotonic = get_original("time", "monotonic")
engine = Engine(endpoint_url=sys.argv[1])
engine.start()
answers, threads = [], set()

class Ticker:
    \"""How late the hub is, to what ticks every 5 ms.\"""

    def __init__(self):
        self.late = []
        self.greenlet = gevent.spawn(self.run)

    def run(self):
        while True:
            before = monotonic()
            gevent.sleep(0.005)
            self.late.append(monotonic() - before - 0.005)

    def is_on_time(self):
        worst = sorted(self.late)[-3:]  # two may have waited for the CPU
        return worst[0] < 0.25 or worst

def send(times):
    threads.add(get_original("_thread", "get_native_id")())
    for _ in range(times):
        engine.calls.call("ReceiveMessage", {}, answers.append)

def wait_for(count, within=20):
    deadline = monotonic() + within
    while len(answers) < count:
        assert monotonic() < deadline, (len(answers), count)
        gevent.sleep(0.01)

engine.call_soon(send, 1)
wait_for(1)
"""

MANY = """
ticker = Ticker()
gevent.sleep(0.05)
for n in range(50):
    engine.call_soon(send, 10)
    wait_for(1 + 10 * (n + 1))
assert all(answer == {} for answer in answers)
assert len(ticker.late) > 50, len(ticker.late)
assert threads and os.getpid() not in threads
print(ticker.is_on_time())
"""

BLACK_HOLE = """
ticker = Ticker()
engine.call_soon(send, 20)
used = time.process_time()
gevent.sleep(2)
assert time.process_time() - used < 0.5
assert len(answers) == 1 and len(engine._http) == 20
assert len(ticker.late) > 80, len(ticker.late)
print(ticker.is_on_time())
"""

BUSY = """
def again(answer):
    answers.append(answer)
    engine.calls.call("ReceiveMessage", {}, again)

def begin():
    for _ in range(10):
        engine.calls.call("ReceiveMessage", {}, again)

engine.call_soon(begin)
end, n = monotonic() + 3, 0
while monotonic() < end:
    n += 1
print(len(answers) > 100 or len(answers))
"""


def run(program, url):
    done = subprocess.run(
        [sys.executable, "-c", START + program + "\nassert engine.stop(5)\n", url],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.stderr


def serve_in_ten_milliseconds(connection):
    while read_request(connection):
        time.sleep(0.01)
        connection.sendall(OK)


class OnceThenNever:
    """Answers the first request, and no other."""

    def __init__(self):
        self.requests = 0

    def __call__(self, connection):
        while read_request(connection):
            self.requests += 1
            if self.requests == 1:
                connection.sendall(OK)


@pytest.mark.parametrize(
    ("program", "serve"),
    [
        pytest.param(MANY, serve_in_ten_milliseconds, id="it makes five hundred calls"),
        pytest.param(BLACK_HOLE, OnceThenNever(), id="nobody answers"),
    ],
)
def test_the_hub_goes_on_while(start_server, program, serve, host_name):
    url = start_server(serve).url.replace("127.0.0.1", host_name)
    assert run(program, url) == ("True\n", "")


def test_it_goes_on_while_a_greenlet_computes_and_never_yields(start_server):
    assert run(BUSY, start_server(serve_in_ten_milliseconds).url) == ("True\n", "")


CREDENTIALS = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, os
from gevent.monkey import get_original
from app.transport.engine import account as module

module._TRY_AGAIN = 0.3
sleep, monotonic = get_original("time", "sleep"), get_original("time", "monotonic")
account = module.Account(region="us-east-1")
with gevent.Timeout(20):
    while not account.is_ready:
        gevent.sleep(0.02)

def refuse():
    while True:
        account.refused()
        sleep(0.05)

get_original("_thread", "start_new_thread")(refuse, ())
gevent.sleep({before})
end = monotonic() + 15
while "key-1/" in " ".join(account.sign({{}}, b"")) and monotonic() < end:
    pass
print(monotonic() < end, flush=True)
os._exit(0)  # without the interpreter's end, in which the thread would go on asking a hub that is no more
"""


@pytest.mark.parametrize("before", [0, 0.6], ids=["and has not for long", "and begins in the middle of it"])
def test_credentials_that_are_refused_are_got_anew_while_a_greenlet_computes_and_never_yields(start_server, before):
    asked = []

    def serve(connection):
        while read_request(connection):
            asked.append(1)
            if (number := len(asked)) == 2 and before:
                time.sleep(1)
            key = {"AccessKeyId": f"key-{number}", "SecretAccessKey": "s", "Token": "t"}
            body = json.dumps({**key, "Expiration": "2999-01-01T00:00:00Z"})
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    source = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": start_server(serve).url, "AWS_CONFIG_FILE": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", CREDENTIALS.format(before=before)],
        cwd=ROOT,
        env={**plain, **source, "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


#: Prints what lives at the moment of each fork: hooks that were registered first run last.
PROCESS = """
import os
at_the_moment = []
os.register_at_fork(before=lambda: at_the_moment.append(len(os.listdir("/proc/self/task"))))
import gevent.monkey
gevent.monkey.patch_all()
import gevent, sys
from app.transport.engine.account import Account

account = Account(region="us-east-1")
with gevent.Timeout(20):
    while not account.is_ready:
        gevent.sleep(0.02)
        assert account.problem is None, account.problem
assert "Credential=from-a-process/" in " ".join(account.sign({}, b""))
print(at_the_moment)
"""


def test_credentials_that_a_process_gives_are_got_beside_gevent_too(tmp_path):
    """Gevent starts processes in its hub's thread only: another forks as well, beside that one, and for nothing."""
    config, said = tmp_path / "config", tmp_path / "said"
    said.write_text('{"Version": 1, "AccessKeyId": "from-a-process", "SecretAccessKey": "secret"}')
    config.write_text(f"[profile signs]\ncredential_process = cat {said}\n")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = plain | {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "signs"}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[1]\n", "")
