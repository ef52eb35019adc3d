"""The forward proxy of the tests: what goes through it is counted, what goes past it is not."""

from __future__ import annotations

import http.client
import socket

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ProxyConnectionError
from proxy import ForwardProxy


@pytest.fixture
def proxy():
    with ForwardProxy() as started:
        yield started


@pytest.fixture
def use(monkeypatch):
    def use(proxy, **options):
        for name, value in proxy.environment(**options).items():
            monkeypatch.setenv(name, value)

    return use


def client():
    return boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))


def test_https_goes_through_a_tunnel_and_arrives_as_it_was_signed(
    proxy, use, strict_sqs_environment, strict_sqs_server
):
    queue = strict_sqs_server.create_queue("orders")
    use(proxy)
    sqs = client()
    sqs.send_message(QueueUrl=queue, MessageBody="x" * 1_000_000)
    assert len(sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"]) == 1_000_000
    assert proxy.tunnels == [strict_sqs_server.endpoint_url.removeprefix("https://")]
    assert proxy.requests == []


def test_http_goes_through_it_request_by_request(proxy, use, sqs_environment, sqs_server):
    queue = sqs_server.create_queue("orders")
    use(proxy)
    sqs = client()
    sqs.send_message(QueueUrl=queue, MessageBody="x" * 1_000_000)
    assert len(sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"]) == 1_000_000
    assert proxy.requests == [f"POST {sqs_server.endpoint_url}/"] * 2
    assert proxy.tunnels == []


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "localhost,127.0.0.1,.internal", "*"])
def test_no_proxy_goes_past_it(proxy, use, strict_sqs_environment, no_proxy):
    use(proxy, no_proxy=no_proxy)
    client().list_queues()
    assert proxy.tunnels == []


def test_a_server_that_is_not_there_is_a_bad_gateway(proxy, use, strict_sqs_environment, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"https://127.0.0.1:{port}")
    use(proxy)
    with pytest.raises(ProxyConnectionError, match="Failed to connect to proxy"):
        client().list_queues()
    assert proxy.tunnels == [f"127.0.0.1:{port}"]


def test_a_client_that_says_nothing_does_not_hold_it_up(use):
    with ForwardProxy() as proxy:
        host = proxy.url.removeprefix("http://")
        silent = socket.create_connection(host.split(":"))
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request("GET", "http://127.0.0.1:1/")
        assert connection.getresponse().status == 502
        connection.close()
    assert not proxy._thread.is_alive()
    silent.close()
