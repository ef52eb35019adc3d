"""Engines with their threads, and servers that answer by the byte."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # where `wire` is: test folders are no packages

from wire import Caller, Loop, Server, answer_all

from app.testing.tls import CA_FILE, server_context
from app.transport.aws import _client
from app.transport.engine import Engine
from app.transport.engine.http import Http, Route


@pytest.fixture
def start_server():
    """Starts servers: `start_server(serve)`."""
    started = []

    def start(serve=answer_all, **options):
        started.append(Server(serve, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def start_loop():
    """`start_loop(Http(…))`."""
    started = []

    def start(http=None):
        started.append(Loop(Http() if http is None else http))
        return started[-1]

    yield start
    for loop in started:
        loop.close()


@pytest.fixture
def start_engine():
    """Starts engines: `start_engine(endpoint_url=…)`; what boto3 reads from the environment it reads now."""
    started = []

    def start(**options):
        _client.cache_clear()
        started.append(Caller(Engine(**options)))
        return started[-1]

    yield start
    for caller in started:
        assert caller.engine.stop(5)
    _client.cache_clear()


@pytest.fixture
def host_name():
    """A name of this machine that has to be looked up, and is found on loopback without a name server."""
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        address = ""
    if not address.startswith("127."):
        pytest.skip("this machine's own name is not one of 127.0.0.0/8 in /etc/hosts")
    return name


@pytest.fixture(scope="session")
def own_tls(tmp_path_factory):
    """What a server needs to speak TLS, also under this machine's own name, and the way there that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    return server_context(folder, socket.gethostname()), Route(ca_bundle=str(folder / CA_FILE))
