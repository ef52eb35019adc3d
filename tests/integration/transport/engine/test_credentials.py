"""Credentials from each of the places where they are found at AWS, against a server that checks what is signed."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from harness import until
from wire import read_request

from app.transport.engine import Kind
from app.transport.engine import account as account_module

ROLE = "arn:aws:iam::123456789012:role/worker"
STS_ANSWER = """<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials>
<AccessKeyId>{1[AccessKeyId]}</AccessKeyId><SecretAccessKey>{1[SecretAccessKey]}</SecretAccessKey>
<SessionToken>{1[Token]}</SessionToken><Expiration>{1[Expiration]}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/worker/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser>
</{0}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{0}Response>"""


class Issuer:
    """STS, the containers' endpoint and the instances' metadata: what each asks for, and keys that the server knows."""

    def __init__(self, sqs, start_server):
        self._sqs = sqs
        self.requests, self.issued, self.lasts = [], [], 3_600
        self.refuses, self.may_answer = None, threading.Event()
        self.may_answer.set()
        self.url = start_server(self._serve).url.rstrip("/")

    def issue(self):
        self.issued.append(self._sqs.keys.issue())
        return self.issued[-1]

    def _serve(self, connection):
        while request := read_request(connection):
            self.requests.append(request.decode())
            self.may_answer.wait(20)
            status, body = (200, self._answer(*self._parsed(request))) if self.refuses is None else (400, self.refuses)
            head = (
                f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\nX-aws-ec2-metadata-token-ttl-seconds: 600\r\n"
            )
            connection.sendall(f"{head}\r\n{body}".encode())

    @staticmethod
    def _parsed(request):
        head, _, body = request.decode().partition("\r\n\r\n")
        method, path, _ = head.split("\r\n")[0].split(" ")
        return method, path, parse_qs(body)

    def _answer(self, method, path, form):
        if action := form.get("Action"):
            return STS_ANSWER.format(action[0], self._key())
        if path == "/latest/api/token":
            return "metadata-token"
        if path == "/latest/meta-data/iam/security-credentials/":
            return "role"
        return json.dumps(self._key())

    def _key(self):
        key = self.issue()
        return {
            "Code": "Success",
            "AccessKeyId": key.id,
            "SecretAccessKey": key.secret,
            "Token": key.session_token,
            "Expiration": (datetime.now(UTC) + timedelta(seconds=self.lasts)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class Aws:
    """An environment with a strict server in it and no credentials yet."""

    def __init__(self, issuer, set_variable, folder):
        self.issuer, self.set, self.folder = issuer, set_variable, folder
        self.config, self.credentials = folder / "config", folder / "credentials"
        self.set("AWS_CONFIG_FILE", str(self.config))
        self.set("AWS_SHARED_CREDENTIALS_FILE", str(self.credentials))
        self.set("AWS_EC2_METADATA_DISABLED", "true")
        self.set("AWS_ENDPOINT_URL_STS", issuer.url)

    def profile(self):
        key = self.issuer.issue()
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}\n"
            f"aws_session_token = {key.session_token}\n"
        )

    def assume_role(self):
        self.profile()
        self.config.write_text(
            f"[profile worker]\nrole_arn = {ROLE}\nsource_profile = default\nexternal_id = the-external-id\n"
        )
        self.set("AWS_PROFILE", "worker")

    def web_identity(self):
        token = self.folder / "web-token"
        token.write_text("the-web-token")
        self.set("AWS_ROLE_ARN", ROLE)
        self.set("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))

    def container(self):
        self.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{self.issuer.url}/creds")
        self.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-container-token")

    def instance(self):
        self.set("AWS_EC2_METADATA_DISABLED", "false")
        self.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.issuer.url)


@pytest.fixture
def aws(strict_sqs_server, strict_sqs_environment, start_server, monkeypatch, tmp_path, caplog):  # noqa: PLR0917 - fixtures
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(account_module, "_TRY_AGAIN", 0.3)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    issuer = Issuer(strict_sqs_server, start_server)
    yield Aws(issuer, monkeypatch.setenv, tmp_path)
    issuer.may_answer.set()
    for key in issuer.issued:
        assert key.secret not in caplog.text
        assert key.session_token not in caplog.text


#: And what each shows at its source.
SOURCES = {
    "profile": "",
    "assume_role": "ExternalId=the-external-id",
    "web_identity": "WebIdentityToken=the-web-token",
    "container": "the-container-token",
    "instance": "metadata-token",
}


def is_answered(answer):
    return isinstance(answer, dict)


@pytest.mark.parametrize(("source", "shown"), SOURCES.items())
def test_each_source_is_found_and_what_expires_is_got_from_it_anew(aws, start_engine, strict_sqs_server, source, shown):
    getattr(aws, source)()
    caller = start_engine()
    assert is_answered(caller.call())
    assert shown in "".join(aws.issuer.requests)
    for end, code in [(strict_sqs_server.keys.expire, "ExpiredToken"), (strict_sqs_server.keys.revoke, "AccessDenied")]:
        end(aws.issuer.issued[-1])
        if source == "profile":
            failure = caller.call()
            aws.profile()
        else:
            time.sleep(0.3)
            failure = caller.call()
        assert failure.kind is Kind.CREDENTIALS
        assert failure.code.startswith(code)
        until(lambda: is_answered(caller.call()), "answer with the new ones", 10)


@pytest.mark.parametrize(
    "source", ["assume_role", "web_identity", pytest.param("container", marks=pytest.mark.long), "instance"]
)
def test_a_source_that_refuses_while_a_worker_starts_is_waited_for(aws, start_engine, source):
    aws.issuer.refuses = "{}"
    getattr(aws, source)()
    assert account_module.obstacle(endpoint_url=None, region=None) is None
    caller = start_engine()
    assert not is_answered(caller.call())
    aws.issuer.refuses = None
    until(lambda: is_answered(caller.call()), "answer")


def test_those_of_the_environment_are_found(aws, start_engine):
    for name, value in aws.issuer.issue().environment.items():
        aws.set(name, value)
    assert is_answered(start_engine().call())


def test_where_there_are_none_calls_fail_at_once_and_go_on_when_there_are(aws, start_engine):
    caller = start_engine()
    failure = caller.call(within=5)
    assert (failure.kind, failure.code) == (Kind.CREDENTIALS, "NoCredentials")
    assert "no AWS credentials were found" in failure.detail
    aws.profile()
    until(lambda: is_answered(caller.call()), "answer", 10)


def test_a_wrong_secret_is_refused_and_nothing_of_the_request_is_told(aws, start_engine):
    """SQS repeats the headers that were signed, the session token among them."""
    key = aws.issuer.issue()
    for name, value in {**key.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}.items():
        aws.set(name, value)
    failure = start_engine().call()
    assert (failure.kind, failure.code) == (Kind.CREDENTIALS, "InvalidSignatureException")
    assert key.session_token not in str(failure)
    assert "\n" not in str(failure)


def test_calls_go_on_while_new_ones_are_got_from_a_slow_source(aws, start_engine, monkeypatch):
    monkeypatch.setattr(account_module, "_TRY_EARLY_AGAIN", 0.3)
    aws.container()
    aws.issuer.lasts = 14 * 60  # botocore wants new ones a quarter of an hour before
    caller = start_engine()
    assert is_answered(caller.call())
    aws.issuer.lasts = 3_600
    aws.issuer.may_answer.clear()
    time.sleep(0.3)
    slowest, asked, issued = 0.0, len(aws.issuer.requests), len(aws.issuer.issued)
    end, calls_since = time.monotonic() + 10, 0
    while calls_since < 20:
        begun = time.monotonic()
        assert begun < end
        assert is_answered(caller.call())
        slowest = max(slowest, time.monotonic() - begun)
        calls_since += len(aws.issuer.requests) > asked
    assert slowest < 1.5  # botocore waits for 2 s until it asks a container once more
    assert asked < len(aws.issuer.requests) <= asked + 3
    assert len(aws.issuer.issued) == issued
    aws.issuer.may_answer.set()
    until(lambda: len(aws.issuer.issued) > issued, "new ones")
    assert is_answered(caller.call())


def test_a_first_answer_that_takes_its_time_is_waited_for(aws, start_engine):
    aws.container()
    aws.issuer.may_answer.clear()
    caller = start_engine()
    for _ in range(5):
        caller.send("ListQueues")
    time.sleep(0.5)
    assert caller.answers == []
    aws.issuer.may_answer.set()
    assert all(is_answered(answer) for answer in caller.wait_for(5))


def test_a_source_that_refuses_says_so_in_one_line_and_is_asked_now_and_then(aws, start_engine, caplog):
    aws.assume_role()
    caller = start_engine()
    secret = "x-amz-security-token:SECRET"
    aws.issuer.refuses = (
        "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>It does not match.\n"
        f"The canonical string: {secret}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
    failure = caller.call()
    assert (failure.kind, failure.code) == (Kind.CREDENTIALS, "NoCredentials")
    assert "It does not match." in failure.detail
    assert secret not in str(failure)
    begun = time.monotonic()
    while time.monotonic() - begun < 1.0:
        assert not is_answered(caller.call())
    took = time.monotonic() - begun
    assert len(aws.issuer.requests) <= 3 + took / 0.3
    assert secret not in caplog.text
    aws.issuer.refuses = None
    until(lambda: is_answered(caller.call()), "answer", 10)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 0
