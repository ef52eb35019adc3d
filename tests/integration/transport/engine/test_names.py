"""Host names with addresses on loopback: which is taken, and what a lookup that takes its time holds up."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import until
from wire import answer_all

from app.transport.engine.http import Answer, Http
from app.transport.engine.names import Names

GOOD = Answer(200, b"{}")


class Directory:
    """A name server whose answer the test decides, and an `Http` that asks it."""

    def __init__(self, start_loop, clock):
        self.addresses, self.asked, self.may_answer = (), [], threading.Event()
        self.may_answer.set()
        self.names = Names(look_up=self._look_up, wake=lambda: self.loop.wake(), clock=clock)  # noqa: PLW0108
        self.loop = start_loop(Http(names=self.names, clock=clock))

    def _look_up(self, host, port):
        self.asked.append(host)
        self.may_answer.wait(20)
        if isinstance(self.addresses, Exception):
            raise self.addresses
        return self.addresses

    def post(self, server, **options):
        return self.loop.post(f"http://sqs.example:{server.port}/", **options)

    def turn_until_told(self):
        """Until the answer to what it was asked has been taken in."""
        end = time.monotonic() + 5
        while any(name.is_asked for name in self.names._known.values()):
            assert time.monotonic() < end
            self.loop.turn(0.05)


@pytest.fixture
def directory(start_loop, manual_clock):
    directory = Directory(start_loop, manual_clock)
    yield directory
    directory.may_answer.set()


@contextmanager
def nobody_home(port, host="127.0.0.2"):
    """An address that takes no connection and refuses none."""
    with socket.socket() as full:
        full.bind((host, port))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        time.sleep(0.1)
        yield
        for other in others:
            other.close()


def closing(connection):
    connection.settimeout(10)
    answer_all(connection, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")


def test_a_name_is_looked_up_once_for_many_requests(directory, start_server):
    server = start_server()
    directory.addresses = ("127.0.0.1",)
    for _ in range(10):
        directory.loop.send(f"http://sqs.example:{server.port}/")
    assert directory.loop.wait_for(10) == [GOOD] * 10
    assert directory.asked == ["sqs.example"]


@pytest.mark.parametrize("spelling", ["SQS.Example", "sqs.example", "sqs.example."])
def test_whatever_the_spelling_curl_looks_nothing_up(directory, start_server, spelling):
    server = start_server()
    directory.addresses = ("127.0.0.1",)
    assert directory.loop.post(f"http://{spelling}:{server.port}/") == GOOD
    assert len(directory.asked) == 1


def test_an_address_that_refuses_is_passed_over(directory, start_server):
    directory.addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.1")
    assert directory.post(start_server()) == GOOD


def test_an_address_where_nobody_is_home_is_passed_over(directory, start_server):
    server = start_server()
    directory.addresses = ("127.0.0.2", "127.0.0.1")
    begun = time.monotonic()
    with nobody_home(server.port):
        assert directory.post(server, timeout=20.0) == GOOD
    assert time.monotonic() - begun < 12


def test_addresses_of_ipv6_are_taken(directory, start_server):
    try:
        server = start_server(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    directory.addresses = ("::1",)
    assert directory.post(server) == GOOD
    directory.names.turn()
    assert directory.loop.post(server.url) == GOOD


def test_new_addresses_are_taken_after_a_minute(directory, start_server, manual_clock):
    server = start_server(closing)
    directory.addresses = ("127.0.0.1",)
    assert directory.post(server) == GOOD
    server.close()
    moved = start_server(closing, host="127.0.0.4", port=server.port)
    directory.addresses = ("127.0.0.4",)
    assert directory.post(moved).failure.startswith("nobody answers there")
    manual_clock.advance(60)
    end = time.monotonic() + 5
    while directory.post(moved) != GOOD:  # with the old ones still, while the new ones are asked for
        assert time.monotonic() < end
        directory.loop.turn(0.05)
    assert len(directory.asked) == 2


def test_the_old_ones_are_used_as_long_as_the_name_server_is_away(directory, start_server, manual_clock):
    server = start_server(closing)
    directory.addresses = ("127.0.0.1",)
    assert directory.post(server) == GOOD
    directory.addresses = socket.gaierror(-3, "Temporary failure in name resolution")
    for asked in (2, 3, 4):
        manual_clock.advance(60)
        assert directory.post(server) == GOOD
        directory.turn_until_told()
        assert len(directory.asked) == asked


def test_a_name_that_is_not_known_fails_at_once(directory, start_server):
    directory.addresses = socket.gaierror(-2, "Name or service not known")
    begun = time.monotonic()
    assert directory.post(start_server()) == Answer(0, b"", "the name cannot be resolved", was_sent=False)
    assert time.monotonic() - begun < 3


def test_a_slow_name_server_holds_up_only_those_who_need_it_and_nothing_spins(directory, start_server, manual_clock):
    server = start_server()
    directory.may_answer.clear()
    for _ in range(5):
        directory.loop.send(f"http://sqs.example:{server.port}/", timeout=5.0)
    turns = directory.loop.turns
    directory.loop.turn_for(0.5)
    assert directory.loop.turns - turns < 10
    directory.loop.send(server.url)
    assert directory.loop.wait_for(1) == [GOOD]
    manual_clock.advance(10)
    assert directory.loop.wait_for(6)[1:] == [Answer(0, b"", "the name server does not answer", was_sent=False)] * 5
    directory.addresses = ("127.0.0.1",)
    directory.loop.send(f"http://sqs.example:{server.port}/")
    directory.may_answer.set()
    assert directory.loop.wait_for(7)[6] == GOOD
    assert len(directory.loop.http) == 0


def test_a_name_of_this_machine_is_looked_up_by_the_system_and_no_thread_stays(start_server, start_loop, host_name):
    server = start_server()
    loop = start_loop(Http(names=Names(wake=lambda: loop.wake())))  # noqa: PLW0108
    before = len(list(Path("/proc/self/task").iterdir()))
    assert loop.post(f"http://{host_name}:{server.port}/") == GOOD
    server.close()
    until(lambda: len(list(Path("/proc/self/task").iterdir())) <= before, "end of the threads", 5)
