"""HTTP as it goes wrong, by servers that answer byte by byte: each request is answered once, and nothing spins."""

from __future__ import annotations

import os
import resource
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from wire import OK, answer_all, read_request

from app.transport.engine import http as module
from app.transport.engine.http import Answer, Http
from app.transport.engine.names import Names


@pytest.fixture
def loop(start_loop):
    return start_loop()


def cpu():
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_utime + used.ru_stime


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def once(answer, *, then=None):
    """Serve: read one request, answer it so, and close."""

    def serve(connection):
        read_request(connection)
        connection.sendall(answer)
        if then is not None:
            then(connection)

    return serve


def hold(connection):
    """Leave it open until the client goes."""
    while connection.recv(65_536):
        pass


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_request_is_a_plain_post_and_its_answer_is_taken_whole(start_server, loop):
    seen = []
    body = b"x" * 3_000_000

    def serve(connection):
        seen.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server = start_server(serve)
    assert loop.post(server.url, body=body, headers=["X-Own: 1"]) == Answer(400, body)
    head, _, sent = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST / HTTP/1.1"
    assert b"X-Own: 1" in lines
    assert b"expect:" not in head.lower()
    assert sent == body


def test_connections_are_asked_whether_they_live(start_server, loop):
    assert loop.post(start_server().url).status == 200
    (descriptor,) = loop.http._sockets._inodes
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10


def test_connections_are_used_again(start_server, loop):
    server = start_server()
    for _ in range(20):
        assert loop.post(server.url) == Answer(200, b"{}")
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (once(b""), "the connection was closed without an answer"),
        (once(b"", then=reset), "the connection broke"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "the answer broke off"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", then=reset), "the connection broke"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal"), "the answer broke off"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "the connection broke"),
        (once(b"SSH-2.0-OpenSSH_9.2\r\n", then=hold), "that is not HTTP"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n"), "that is not HTTP"),
        (
            once(b"HTTP/1.1 200 OK\r\n" + b"X-Long: %s\r\n" % (b"x" * 50_000) * 10 + b"\r\n"),
            "the connection broke (Too large",
        ),
    ],
)
def test_what_is_no_answer_fails_at_once_and_says_why(start_server, loop, serve, why):
    begun = time.monotonic()
    answer = loop.post(start_server(serve).url)
    assert (answer.status, answer.body, answer.was_sent) == (0, b"", True)
    assert answer.failure.startswith(why)
    assert time.monotonic() - begun < 2
    assert loop.turns < 30


def test_where_nobody_listens_it_fails_at_once(loop):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answer = loop.post(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert answer.failure.startswith("nobody answers there")
    assert not answer.was_sent


def test_an_answer_that_is_too_long_is_not_taken(start_server, loop, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_ANSWER", 1_000_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n" + b"x" * 1_000_001
    assert loop.post(start_server(once(answer)).url).failure.startswith("the answer is longer than any of SQS's")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    assert len(loop.post(start_server(once(answer)).url).body) == 1_000_000


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
def test_who_says_nothing_more_is_given_up_at_the_deadline_and_waiting_costs_nothing(start_server, loop, said):
    server = start_server(once(said, then=hold))
    begun, used = time.monotonic(), cpu()
    for _ in range(10):
        loop.send(server.url, timeout=1.0)
    answers = loop.wait_for(10)
    assert 1.0 <= time.monotonic() - begun < 4.0
    assert {answer.failure.partition(" (")[0] for answer in answers} == {"no answer in time"}
    assert loop.turns < 100
    assert cpu() - used < 0.2
    assert len(loop.http) == 0


def test_a_trickle_ends_at_the_deadline_too(start_server, loop):
    def serve(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x")
            time.sleep(0.05)

    begun = time.monotonic()
    assert loop.post(start_server(serve).url, timeout=1.0).failure.startswith("no answer in time")
    assert time.monotonic() - begun < 4.0


def test_who_takes_no_connection_is_given_up_after_the_connects_own_time(loop, monkeypatch):
    monkeypatch.setattr(module, "_CONNECT", 0.5)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        time.sleep(0.1)
        begun = time.monotonic()
        answer = loop.post(f"http://127.0.0.1:{full.getsockname()[1]}/", timeout=20.0)
        assert time.monotonic() - begun < 3.0
        assert answer.failure.startswith("no answer in time")
        for other in others:
            other.close()


def test_a_tls_handshake_that_stands_still_is_given_up_likewise(start_server, loop, monkeypatch):
    monkeypatch.setattr(module, "_CONNECT", 0.5)
    url = start_server(hold).url.replace("http:", "https:")
    begun = time.monotonic()
    assert loop.post(url, timeout=20.0).failure.startswith("no answer in time")
    assert time.monotonic() - begun < 3.0


def test_what_curl_loses_sight_of_is_given_up_by_the_watchdog(start_server, start_loop, manual_clock):
    loop = start_loop(Http(clock=manual_clock))
    loop.send(start_server(hold).url, timeout=100.0)
    loop.turn(0.1)
    manual_clock.advance(104.9)
    loop.turn(0.1)
    assert loop.answers == []
    manual_clock.advance(0.1)
    assert loop.wait_for(1) == [Answer(0, b"", "no answer in time")]


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(start_server, loop, is_tls, own_tls, start_loop):
    """Curl sees the end of an idle connection, or tries once more on a new one."""
    context, route = own_tls
    loop = start_loop(Http(route))
    server = start_server(once(OK), tls=context if is_tls else None)
    for _ in range(10):
        assert loop.post(server.url) == Answer(200, b"{}")
        time.sleep(0.02)
    assert len(server.connections) == 10


def test_one_that_is_closed_under_the_next_request_is_tried_once_more(start_server, loop):
    def serve(connection):
        read_request(connection)
        connection.sendall(OK)
        read_request(connection)

    server = start_server(serve)
    assert loop.post(server.url).status == 200
    assert loop.post(server.url).failure is None
    assert len(server.connections) == 2


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("end", ["is kept", "is closed", "is closed by us first"])
def test_an_idle_engine_sleeps_whatever_becomes_of_its_connections(start_server, start_loop, own_tls, is_tls, end):
    context, route = own_tls
    loop = start_loop(Http(route))
    answer = OK if end == "is kept" else OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    then = hold if end == "is closed by us first" else None
    server = start_server(once(answer, then=then), tls=context if is_tls else None)
    for _ in range(3):
        assert loop.post(server.url).status == 200
        turns = loop.turns
        loop.turn_for(0.3)
        assert loop.turns - turns < 10


def test_many_in_flight_are_each_answered_once_and_handles_are_not_kept_for_ever(start_server, loop):
    gate, arrived = threading.Event(), []

    def serve(connection):
        while read_request(connection):
            arrived.append(1)
            gate.wait(20)
            connection.sendall(OK)

    server = start_server(serve)
    for _ in range(150):
        loop.send(server.url, timeout=20.0)
    end = time.monotonic() + 10
    while len(arrived) < 150:
        assert time.monotonic() < end, len(arrived)
        loop.turn(0.05)
    loop.turn_for(0.2)
    assert len(loop.http) == 150
    turns, used = loop.turns, cpu()
    loop.turn_for(0.5)
    assert loop.turns - turns < 50
    assert cpu() - used < 0.2
    gate.set()
    assert loop.wait_for(150) == [Answer(200, b"{}")] * 150
    assert len(loop.http._idle) == 64
    loop.turn_for(0.2)
    assert len(loop.answers) == 150


def test_memory_does_not_grow_with_the_number_of_requests(start_server, loop):
    server = start_server()

    def a_thousand():
        for _ in range(100):
            for _ in range(10):
                loop.send(server.url, body=b"x" * 10_000)
            loop.wait_for(10)
            loop.answers.clear()

    a_thousand()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, descriptors()
    a_thousand()
    a_thousand()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before[0] < 4_000
    assert descriptors() <= before[1] + 2


def test_descriptors_above_1023_are_polled_for_all_the_same(start_server, loop):
    """Where curl's `fdset` shows nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1_400:
        pytest.skip("this process may not have 1,400 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_400), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        server = start_server()
        begun = time.monotonic()
        for _ in range(10):
            assert loop.post(server.url) == Answer(200, b"{}")
        assert time.monotonic() - begun < 2
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_sends_again_out_of_an_answer_is_answered_again(start_server, loop):
    server = start_server()
    answers = []

    def again(answer):
        answers.append(answer)
        if len(answers) < 50:
            loop.http.send(module.Request(server.url, [], b"{}", 5.0), again)

    loop.http.send(module.Request(server.url, [], b"{}", 5.0), again)
    end = time.monotonic() + 10
    while len(answers) < 50 and time.monotonic() < end:
        loop.turn()
    assert answers == [Answer(200, b"{}")] * 50
    assert len(server.connections) == 1


@pytest.mark.parametrize("url", ["http://[half/", "http://host:port/", "ftp://127.0.0.1/", "http://münchen.example/"])
def test_what_cannot_be_sent_fails_in_the_next_turn_and_not_at_once(start_loop, url):
    loop = start_loop(
        Http(
            names=Names(
                look_up=lambda *_: (),
                wake=lambda: loop.wake(),  # noqa: PLW0108 - it is not there yet
            )
        )
    )
    loop.send(url)
    assert loop.answers == []
    assert loop.wait_for(1)[0].failure
    assert len(loop.http) == 0


def test_answers_are_plain_when_asked_for_and_the_environment_has_no_say(start_server, loop, monkeypatch):
    for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert loop.post(start_server(answer_all).url) == Answer(200, b"{}")
