"""The way to SQS: certificates that are trusted or not, and proxies."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from proxy import ForwardProxy
from wire import read_request

from app.transport.engine import Kind, http


@pytest.fixture
def variables(strict_sqs_environment, monkeypatch):
    """Sets and, for None, removes variables; there is a strict server that speaks TLS in the environment."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)

    def change(**changes):
        for name, value in changes.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(value))

    return change


@pytest.fixture
def use_proxy(monkeypatch):
    def use(url, no_proxy=""):
        for name, value in {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": no_proxy}.items():
            monkeypatch.setenv(name, value)
            monkeypatch.setenv(name.lower(), value)

    return use


def is_answered(answer):
    return isinstance(answer, dict)


# --- certificates


@pytest.mark.parametrize("where", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile"])
def test_a_bundle_is_trusted_wherever_it_is_set(variables, start_engine, strict_sqs_server, tmp_path, where):
    variables(AWS_CA_BUNDLE=None)
    if where == "profile":
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {strict_sqs_server.ca_file}\n")
        variables(AWS_CONFIG_FILE=tmp_path / "config")
    else:
        variables(**{where: strict_sqs_server.ca_file})
    assert is_answered(start_engine().call())


def test_a_certificate_that_is_not_trusted_is_refused_in_plain_words(variables, start_engine):
    variables(AWS_CA_BUNDLE=None)
    failure = start_engine().call()
    assert (failure.kind, failure.code) == (Kind.PASSING, "NoAnswer")
    assert failure.detail.startswith("the server's certificate is not trusted")


def test_one_for_another_host_is_refused_too(variables, start_engine, start_server, own_tls):
    server = start_server(tls=own_tls[0], host="127.0.0.2")
    variables(AWS_CA_BUNDLE=own_tls[1].ca_bundle, AWS_ENDPOINT_URL_SQS=server.url, NO_PROXY="*", no_proxy="*")
    assert start_engine().call().detail.startswith("the server's certificate is not trusted")


def test_a_bundle_that_is_not_there_is_named(variables, start_engine):
    variables(AWS_CA_BUNDLE="/nowhere/ca.pem")
    failure = start_engine().call()
    assert failure.kind is Kind.PASSING
    assert "/nowhere/ca.pem" in failure.detail


@pytest.fixture
def no_bundle_kept(monkeypatch):
    """Not for the minute for which it is kept."""
    monkeypatch.setattr(http, "_KEEPS_BUNDLE", 0)


@pytest.mark.usefixtures("no_bundle_kept")
def test_a_bundle_that_is_replaced_is_read_again(variables, start_engine, strict_sqs_server, own_tls, tmp_path):
    """By itself libcurl keeps it for a day, and authorities change while a worker runs."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(own_tls[1].ca_bundle).read_bytes())
    variables(AWS_CA_BUNDLE=bundle)
    caller = start_engine()
    assert caller.call().detail.startswith("the server's certificate is not trusted")
    bundle.write_bytes(bundle.read_bytes() + Path(strict_sqs_server.ca_file).read_bytes())
    assert is_answered(caller.call())


def test_a_server_that_speaks_no_tls_is_a_failure(variables, start_engine, start_server):
    url = start_server(lambda connection: connection.sendall(b"hello\r\n")).url
    variables(AWS_ENDPOINT_URL_SQS=url.replace("http:", "https:"))
    assert start_engine().call().detail.startswith("TLS could not be agreed on")


# --- proxies


def test_https_goes_through_a_tunnel(variables, use_proxy, start_engine, strict_sqs_server):
    with ForwardProxy() as proxy:
        use_proxy(proxy.url)
        caller = start_engine()
        assert is_answered(caller.call())
        assert is_answered(caller.call())
        assert proxy.tunnels == [strict_sqs_server.endpoint_url.removeprefix("https://")]


def test_http_goes_through_it_request_by_request(sqs_environment, sqs_server, use_proxy, start_engine):
    with ForwardProxy() as proxy:
        use_proxy(proxy.url)
        assert is_answered(start_engine().call())
        assert proxy.requests == [f"POST {sqs_server.endpoint_url}/"]


def test_the_proxys_own_name_is_looked_up(variables, use_proxy, start_engine, host_name):
    with ForwardProxy() as proxy:
        use_proxy(proxy.url.replace("127.0.0.1", host_name))
        assert is_answered(start_engine().call())
        assert len(proxy.tunnels) == 1


def test_no_proxy_goes_past_it(variables, use_proxy, start_engine):
    use_proxy("http://127.0.0.1:1", no_proxy="localhost,127.0.0.1")
    assert is_answered(start_engine().call())


class Gatekeeper:
    """A proxy that says no, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer, self.heads = answer, []

    def __call__(self, connection):
        while head := read_request(connection):
            self.heads.append(head.decode())
            connection.sendall(self.answer)


NO = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


def test_who_we_are_is_told_to_the_proxy_and_nothing_else_is(
    variables, use_proxy, start_engine, start_server, strict_sqs_server
):
    key = strict_sqs_server.keys.issue()
    variables(**key.environment)
    gatekeeper = Gatekeeper(NO)
    use_proxy(start_server(gatekeeper).url.replace("//", "//me:p%40ss@"))
    failure = start_engine().call()
    assert (failure.kind, failure.code) == (Kind.PASSING, "NoAnswer")
    assert "407" in failure.detail
    (head,) = gatekeeper.heads
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}\r\n" in head
    for secret in (key.session_token, "X-Amz", "AWS4-HMAC", "p@ss"):
        assert secret not in head
        assert secret not in str(failure)


def test_a_name_that_only_the_proxy_knows_is_left_to_it(variables, use_proxy, start_engine, start_server):
    gatekeeper = Gatekeeper(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    use_proxy(start_server(gatekeeper).url)
    variables(AWS_ENDPOINT_URL_SQS="https://sqs.nowhere.invalid")
    assert "502" in start_engine().call().detail
    assert gatekeeper.heads[0].startswith("CONNECT sqs.nowhere.invalid:443 ")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://me:secret@127.0.0.1:1", "nobody answers there"),
        ("http://me:secret@proxy.invalid:3128", "the name cannot be resolved"),
    ],
)
def test_a_proxy_that_is_not_there_is_a_failure_without_its_password(variables, use_proxy, start_engine, url, says):
    use_proxy(url)
    failure = start_engine().call()
    assert failure.kind is Kind.PASSING
    assert failure.detail.startswith(says)
    assert "secret" not in str(failure)
