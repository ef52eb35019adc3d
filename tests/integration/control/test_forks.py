"""The control link while its process forks: nothing is lost, nothing is disturbed, and nothing of it is there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import warnings

import pytest
import redis
import trustme
from harness import Events, body, until

from app.control.link import ControlLink

#: Takes TLS connections, and hands what comes to the port and back.
TLS_IN_FRONT = """
import asyncio, ssl, sys

async def hand_over(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def on_connection(reader, writer):
    behind = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(hand_over(reader, behind[1]), hand_over(behind[0], writer), return_exceptions=True)

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def fork(in_child=lambda: None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tests' own threads
        pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            in_child()
        os._exit(0)
    os.waitpid(pid, 0)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, valkey):
    """The address of that Valkey server behind TLS: the embedded one speaks none."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with subprocess.Popen(
        [sys.executable, "-c", TLS_IN_FRONT, folder / "server.pem", valkey.port], stdout=subprocess.PIPE, text=True
    ) as front:
        port = front.stdout.readline().strip()
        yield f"rediss://:{valkey.password}@127.0.0.1:{port}/0?ssl_ca_certs={folder / 'authority.pem'}"
        front.terminate()


@pytest.fixture(params=["plain", "encrypted"])
def url(request):
    return request.getfixturevalue("valkey").url if request.param == "plain" else request.getfixturevalue("encrypted")


@pytest.fixture
def client(url):
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def link(url):
    """The link of a process that forks, with what it is told."""
    link = ControlLink(url)
    yield link
    for background in (link._publisher._background, link._subscriber._background):
        background._thread.ask_to_return()
        assert background._thread.wait(5)
    if link._subscriber._line is not None:
        link._subscriber._hang_up()
    link._redis.close()


class Feed:
    """Publishes numbers, from a thread of the test's, until it is told to stop."""

    def __init__(self, client, topic, padding=""):
        self._client, self._topic, self._padding = client, topic, padding
        self.sent, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _run(self):
        while not self._stop.wait(0.0005):
            self._client.publish(self._topic, f"{self.sent}{self._padding}")
            self.sent += 1


@pytest.mark.parametrize("size", [1, 40_000])
def test_no_command_is_lost_and_the_connection_stays(link, client, size):
    got = []
    padding = " " * (size - 1)
    assert link.subscribe("commands", got.append, wait=5)
    before = {row["id"] for row in client.client_list()}
    with Feed(client, "/0.commands", padding) as feed:
        for _ in range(100):
            fork()
    until(lambda: len(got) == feed.sent, lambda: f"{feed.sent} in {len(got)}")
    assert [int(text) for text in got] == list(range(feed.sent))
    assert before <= {row["id"] for row in client.client_list()}
    assert link.is_up


def test_no_event_is_lost_and_all_keep_their_order(link, url):
    heard = ControlLink(url)
    got = []
    assert heard.subscribe("events", got.append, wait=5)
    for n in range(100):
        for part in range(20):
            link.publish("events", str(20 * n + part))
        fork()
    assert link.flush(5)
    until(lambda: len(got) == 2000, lambda: len(got))
    assert got == [str(n) for n in range(2000)]
    assert (link.dropped, link.is_up) == (0, True)
    heard._subscriber._background._thread.ask_to_return()
    assert heard._subscriber._background._thread.wait(5)
    heard._subscriber._hang_up()
    heard._redis.close()


def test_a_child_that_drops_what_it_inherited_or_uses_it_disturbs_nothing(link, client):
    got = []
    assert link.subscribe("commands", got.append, wait=5)
    link.publish("events", "before")
    assert link.flush(5)

    def in_child():
        link.publish_now("commands", "from the child")
        link._redis.close()

    fork(in_child)
    assert link.subscribe("commands", print, wait=0)  # confirmed once, and for ever since
    client.publish("/0.commands", "from the parent")
    until(lambda: got == ["from the child", "from the parent"], lambda: got, 5)
    link.publish("events", "after")
    assert link.flush(5)
    assert (link.dropped, link.is_up) == (0, True)


def test_a_fork_in_a_pause_after_a_failure_does_not_shorten_it(own_valkey):
    own_valkey.server.stop()
    link = ControlLink(own_valkey.server.url)
    link.publish("events", "lost or not")
    background = link._publisher._background
    until(lambda: background._pause_until > time.monotonic() + 0.1, "pause", 5)
    assert not link.is_up
    background._pause_until += 60
    failures = link._publisher._failures
    begun = time.monotonic()
    for _ in range(20):
        fork()
    assert time.monotonic() - begun < 5
    assert link._publisher._failures == failures
    assert len(link._publisher) <= 1
    background._thread.ask_to_return()
    assert background._thread.wait(5)
    link._redis.close()


def test_a_worker_that_forks_for_every_task_answers_and_tells_all_along(start_worker, queues, valkey, controller):
    queues.server.create_queue("sluice")
    worker = start_worker(
        *("-P", "prefork", "-c", 2, "-E", "-n", "prefork@here", "--max-tasks-per-child", 1),
        environment={"SLUICE_CONTROL_URL": valkey.url},
    )
    app = controller(valkey)
    names = [f"task-{n}" for n in range(40)]
    with Events(app) as heard:
        queues.send(*(body("probe.work", [name]) for name in names))
        pings = 0
        while set(names) > set(worker.notes("end")):
            assert app.control.ping(timeout=10, limit=1) == [{"prefork@here": {"ok": "pong"}}], f"after {pings} pings"
            assert app.control.revoke(f"never-{pings}", reply=True, limit=1, timeout=10)
            pings += 1
        worker.wait_for_notes("end", names)
        until(lambda: len(heard.of_type("task-succeeded")) == len(names), lambda: len(heard.of_type("task-succeeded")))
        queues.send(body("probe.work", ["never"], id="never-0"), body("probe.work", ["last"]))
        worker.wait_for_notes("end", ["last"])
        assert worker.stop() == 0
        until(lambda: heard.of_type("worker-offline"), "last words")
    assert pings > 5
    assert "never" not in worker.notes("start")
    assert "Traceback" not in worker.log
    assert "control link" not in worker.log
