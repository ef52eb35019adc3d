"""Where calls go and by which way: as botocore has it, from environment and profile."""

from __future__ import annotations

import boto3
import pytest

from app.transport import aws
from app.transport.engine.account import Account


class StopError(Exception):
    pass


@pytest.fixture
def surroundings(monkeypatch, tmp_path):
    """Sets what the SDK reads; nothing of this machine's is left."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    aws._client.cache_clear()
    yield monkeypatch.setenv
    aws._client.cache_clear()


def botocores_url(region):
    """Where a boto3 client of one's own would send a receive."""
    urls = []

    def stop(request, **_):
        urls.append(request.url)
        raise StopError

    client = boto3.Session(region_name=region).client("sqs")
    client.meta.events.register("before-send.sqs", stop)
    with pytest.raises(StopError):
        client.receive_message(QueueUrl="https://elsewhere.example/1/queue")
    return urls[0]


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1"])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_ENDPOINT_URL_SQS": "https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com"},
        {"AWS_ENDPOINT_URL": "https://gateway.example/sqs"},
    ],
)
def test_the_endpoint_is_botocores(surroundings, region, environment):
    for name, value in environment.items():
        surroundings(name, value)
    account = Account(region=region)
    assert account.url == botocores_url(region)
    assert account.region == region


def test_the_region_is_that_of_the_environment(surroundings):
    account = Account()
    assert (account.url, account.region) == ("https://sqs.eu-west-1.amazonaws.com/", "eu-west-1")


def test_to_ask_for_the_endpoint_leaves_the_client_as_it_was(surroundings):
    Account()
    client = aws.sqs_client()
    sent = []

    def stop(request, **_):
        sent.append(request.url)
        raise StopError

    client.meta.events.register("before-send.sqs", stop)
    with pytest.raises(StopError):
        client.list_queues()
    assert sent == ["https://sqs.eu-west-1.amazonaws.com/"]


@pytest.mark.parametrize(
    ("address", "proxy", "user"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", None),
        ("http://proxy.example", "http://proxy.example:80", None),
        ("https://proxy.example", "https://proxy.example:443", None),
        ("proxy.example:3128", "http://proxy.example:3128", None),
        ("//proxy.example:3128", "http://proxy.example:3128", None),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128", None),
        ("http://me:p%40ss@proxy.example:3128", "http://proxy.example:3128", ("me", "p@ss")),
        ("http://me@proxy.example", "http://proxy.example:80", ("me", "")),
    ],
)
def test_the_proxy_is_that_of_the_environment(surroundings, address, proxy, user):
    surroundings("HTTPS_PROXY", address)
    route = Account().route
    assert (route.proxy, route.proxy_user) == (proxy, user)
    assert "p@ss" not in repr(route)


@pytest.mark.parametrize("no_proxy", ["*", "amazonaws.com", ".amazonaws.com", "sqs.eu-west-1.amazonaws.com"])
def test_no_proxy_is_honoured(surroundings, no_proxy):
    surroundings("HTTPS_PROXY", "http://proxy.example:3128")
    surroundings("NO_PROXY", no_proxy)
    assert Account().route.proxy is None


@pytest.mark.parametrize("address", ["http://me:pa#ss@proxy.example", "http://:80", "http://[me:pa#ss@x", "http://"])
def test_a_proxy_that_is_none_is_refused_and_its_password_is_not_told(surroundings, address):
    surroundings("HTTPS_PROXY", address)
    with pytest.raises(ValueError, match="is not the URL of a proxy") as error:
        Account()
    assert "pa" not in str(error.value).replace("password", "")
    assert error.value.__context__ is None


def test_the_trusted_certificates_are_those_of_environment_then_profile_then_requests(surroundings, tmp_path):
    surroundings("REQUESTS_CA_BUNDLE", "/requests.pem")
    assert Account().route.ca_bundle == "/requests.pem"
    (tmp_path / "config").write_text("[default]\nca_bundle = ~/profile.pem\n")
    surroundings("HOME", "/home/me")
    assert Account().route.ca_bundle == "/home/me/profile.pem"
    surroundings("AWS_CA_BUNDLE", "/environment.pem")
    assert Account().route.ca_bundle == "/environment.pem"


def test_a_local_server_needs_no_account_and_never_sees_a_real_key(surroundings):
    surroundings("AWS_PROFILE", "not-on-this-machine")
    account = Account(endpoint_url="http://127.0.0.1:9324")
    assert (account.url, account.region) == ("http://127.0.0.1:9324/", "us-east-1")
    assert account._session().get_credentials().get_frozen_credentials()[:2] == ("local", "local")
