"""`--strict` as clients meet it: boto3 signs, its hooks spoil the request after it was signed, the server answers."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from unittest import mock

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from app.testing.sqs.keys import EXAMPLE_KEY, AccessKey
from app.testing.sqs.process import LocalSQS, LocalSQSError

UNKNOWN = "The security token included in the request is invalid."
EXPIRED = "The security token included in the request is expired"


@pytest.fixture
def client(strict_sqs_server):
    """Makes boto3 clients; `spoil` may change a request that was signed."""

    def make(key=EXAMPLE_KEY, *, spoil=None, region="us-east-1", **config):
        made = boto3.client(
            "sqs",
            endpoint_url=strict_sqs_server.endpoint_url,
            region_name=region,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            aws_session_token=key.session_token,
            verify=str(strict_sqs_server.ca_file),
            config=Config(retries={"total_max_attempts": 1}, proxies={}, **config),
        )
        if spoil is not None:
            made.meta.events.register("before-send.sqs", lambda request, **_: spoil(request))
        return made

    return make


def refused(client) -> tuple[int, str, str]:
    """The status, code and sentence of a refused call."""
    with pytest.raises(ClientError) as error:
        client.list_queues()
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


# --- what boto3 does by itself


def test_a_client_with_the_key_may_do_everything(client, strict_sqs_server):
    queue = strict_sqs_server.create_queue("orders", max_receives=3)
    assert queue.startswith("https://")
    sqs = client()
    sqs.send_message(QueueUrl=queue, MessageBody="grün \N{SNOWMAN}")
    sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "1", "MessageBody": "a"}])
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)["Messages"]
    assert {message["Body"] for message in received} == {"grün \N{SNOWMAN}", "a"}
    for message in received:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def test_the_environment_is_all_that_a_client_needs(strict_sqs_environment, strict_sqs_server):
    strict_sqs_server.create_queue("orders")
    assert len(boto3.client("sqs").list_queues()["QueueUrls"]) == 1


def test_the_fixture_without_strict_checks_nothing(sqs_server):
    arguments = {"endpoint_url": sqs_server.endpoint_url, "region_name": "mars-1"}
    boto3.client("sqs", **arguments, aws_access_key_id="a", aws_secret_access_key="b").list_queues()
    boto3.client("sqs", **arguments, config=Config(signature_version=UNSIGNED)).list_queues()
    with pytest.raises(LocalSQSError, match="start it with --strict"):
        sqs_server.keys.issue()


def test_an_anonymous_client_is_denied(client, strict_sqs_server):
    sentence = f"Access to the resource {strict_sqs_server.endpoint_url}/ is denied."
    assert refused(client(signature_version=UNSIGNED)) == (403, "AccessDenied", sentence)


@pytest.mark.parametrize("key", [AccessKey("local", "local"), AccessKey("AKIAUNKNOWN", EXAMPLE_KEY.secret)])
def test_an_unknown_key_is_refused(client, key):
    assert refused(client(key)) == (403, "InvalidClientTokenId", UNKNOWN)


def test_a_wrong_secret_is_refused(client):
    status, code, sentence = refused(client(AccessKey(EXAMPLE_KEY.id, "wrong")))
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "does not match the signature you provided" in sentence


def test_another_region_is_refused(client):
    sentence = "Credential should be scoped to a valid region, not 'eu-west-1'. "
    assert refused(client(region="eu-west-1")) == (403, "SignatureDoesNotMatch", sentence)


def test_another_service_is_refused(client):
    sqs = client()
    sqs.meta.events.register("choose-signer.sqs", lambda context, **_: context.update(signing={"signing_name": "sns"}))
    sentence = "Credential should be scoped to correct service: 'sqs'. "
    assert refused(sqs) == (403, "SignatureDoesNotMatch", sentence)


def test_another_algorithm_is_refused(client):
    def spoil(request):
        header = request.headers["Authorization"].decode()
        request.headers["Authorization"] = header.replace("SHA256", "SHA1", 1)

    status, code, sentence = refused(client(spoil=spoil))
    assert (status, code) == (400, "IncompleteSignature")
    assert "Unsupported AWS 'algorithm'" in sentence


# --- clocks


def signed_at(seconds: float):
    """boto3 with a clock that is so far off."""
    return mock.patch("botocore.auth.get_current_datetime", return_value=datetime.now(UTC) + timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "sentence"), [(-960, "Signature expired: "), (960, "Signature not yet current: ")])
def test_a_client_whose_clock_is_off_is_refused(client, seconds, sentence):
    with signed_at(seconds):
        status, code, said = refused(client())
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert said.startswith(sentence)


@pytest.mark.parametrize("seconds", [-840, 840])
def test_a_clock_may_be_a_little_off(client, seconds):
    with signed_at(seconds):
        client().list_queues()


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_the_servers_clock_may_be_the_one_that_is_off_and_its_answers_say_so(client, strict_sqs_server, skew):
    strict_sqs_server.configure(clock_skew=skew)
    with pytest.raises(ClientError) as error:
        client().list_queues()
    assert error.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    date = parsedate_to_datetime(error.value.response["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert abs(date.timestamp() - time.time() - skew) < 60
    with signed_at(skew):
        client().list_queues()


def test_messages_and_sessions_do_not_mind_that(client, strict_sqs_server):
    key = strict_sqs_server.keys.issue(60)
    strict_sqs_server.configure(clock_skew=600)
    client(key).list_queues()


def test_time_that_passes_in_the_queues_makes_no_signature_old(client, strict_sqs_server):
    strict_sqs_server.clock.advance(86_400)
    client().list_queues()


# --- temporary credentials


def test_a_temporary_key_works_until_its_time_is_up(client, strict_sqs_server):
    key = strict_sqs_server.keys.issue(900)
    sqs = client(key)
    sqs.list_queues()
    strict_sqs_server.clock.advance(899)
    sqs.list_queues()
    strict_sqs_server.clock.advance(1)
    assert refused(sqs) == (403, "ExpiredToken", EXPIRED)


def test_a_temporary_key_can_be_ended_early_and_another_goes_on(client, strict_sqs_server):
    first, second = strict_sqs_server.keys.issue(), strict_sqs_server.keys.issue()
    strict_sqs_server.keys.expire(first)
    assert refused(client(first)) == (403, "ExpiredToken", EXPIRED)
    client(second).list_queues()


@pytest.mark.parametrize("token", [None, "another"])
def test_a_temporary_key_without_its_token_is_refused(client, strict_sqs_server, token):
    key = strict_sqs_server.keys.issue()
    assert refused(client(AccessKey(key.id, key.secret, token))) == (403, "InvalidClientTokenId", UNKNOWN)


def test_a_token_that_goes_with_no_key_is_refused(client):
    key = AccessKey(EXAMPLE_KEY.id, EXAMPLE_KEY.secret, "left over")
    assert refused(client(key)) == (403, "InvalidClientTokenId", UNKNOWN)


def test_a_revoked_session_is_denied(client, strict_sqs_server):
    key = strict_sqs_server.keys.issue()
    strict_sqs_server.keys.revoke(key)
    status, code, sentence = refused(client(key))
    assert (status, code) == (403, "AccessDenied")
    assert "is not authorized to perform: sqs:listqueues with an explicit deny" in sentence


def test_keys_can_be_rotated(client, strict_sqs_server):
    new = strict_sqs_server.keys.issue(None)
    client(new).list_queues()
    client(EXAMPLE_KEY).list_queues()
    strict_sqs_server.keys.revoke(EXAMPLE_KEY)
    assert refused(client(EXAMPLE_KEY)) == (403, "InvalidClientTokenId", UNKNOWN)
    client(new).list_queues()


def test_a_reset_forgets_keys_and_gives_the_first_one_back(client, strict_sqs_server):
    issued = strict_sqs_server.keys.issue()
    strict_sqs_server.keys.revoke(EXAMPLE_KEY)
    strict_sqs_server.reset()
    client(EXAMPLE_KEY).list_queues()
    assert refused(client(issued))[1] == "InvalidClientTokenId"


def test_what_makes_no_sense_is_refused_with_a_sentence(strict_sqs_server):
    with pytest.raises(LocalSQSError, match="more than 0 seconds"):
        strict_sqs_server.keys.issue(0)
    with pytest.raises(LocalSQSError, match="not a temporary one"):
        strict_sqs_server.keys.expire(EXAMPLE_KEY)
    with pytest.raises(LocalSQSError, match="no access key 'AKIAX'"):
        strict_sqs_server.keys.revoke(AccessKey("AKIAX", "x"))


def test_keys_are_listed_without_their_secrets(strict_sqs_server):
    key = strict_sqs_server.keys.issue(60)
    listed = strict_sqs_server._admin.call("GET", "keys")["keys"]
    assert [row["id"] for row in listed] == [EXAMPLE_KEY.id, key.id]
    assert key.secret not in str(listed)


# --- requests that were changed after they were signed


def change_body(request):
    request.body = request.body.replace(b"{}", b'{"MaxResults": 5}')
    request.headers["Content-Length"] = str(len(request.body))


def change_target(request):
    request.headers["X-Amz-Target"] = "AmazonSQS.ListQueueTags"


def change_type(request):
    request.headers["Content-Type"] = "application/json"


def lose_type(request):
    del request.headers["Content-Type"]


def change_path(request):
    request.url += "000000000000/orders"


def change_token(request):
    request.headers["X-Amz-Security-Token"] = "x"


def lose_host(request):
    header = request.headers["Authorization"].decode()
    request.headers["Authorization"] = header.replace("host;", "")


def lose_signature(request):
    request.headers["Authorization"] = request.headers["Authorization"].decode().partition(", Signature")[0]


def lose_date(request):
    del request.headers["X-Amz-Date"]


def spoil_date(request):
    request.headers["X-Amz-Date"] = "2026-01-02"


def another_scheme(request):
    request.headers["Authorization"] = "Basic eDp5"


@pytest.mark.parametrize(
    ("spoil", "status", "code", "says"),
    [
        (change_body, 403, "SignatureDoesNotMatch", "does not match the signature you provided"),
        (change_target, 403, "SignatureDoesNotMatch", "does not match the signature you provided"),
        (change_type, 403, "SignatureDoesNotMatch", "does not match the signature you provided"),
        (lose_type, 403, "SignatureDoesNotMatch", "does not match the signature you provided"),
        (change_path, 403, "SignatureDoesNotMatch", "does not match the signature you provided"),
        (change_token, 403, "SignatureDoesNotMatch", "'x-amz-security-token' must be a 'SignedHeader'"),
        (lose_host, 403, "SignatureDoesNotMatch", "'Host' or ':authority' must be a 'SignedHeader'"),
        (lose_signature, 400, "IncompleteSignature", "requires 'Signature' parameter"),
        (lose_date, 400, "IncompleteSignature", "a 'X-Amz-Date' or a 'Date' header"),
        (spoil_date, 400, "IncompleteSignature", "Date must be in ISO-8601 'basic format'. Got '2026-01-02'."),
        (another_scheme, 403, "MissingAuthenticationToken", "Request is missing Authentication Token"),
    ],
)
def test_a_request_that_was_changed_on_its_way_is_refused(client, spoil, status, code, says):
    got = refused(client(spoil=spoil))
    assert got[:2] == (status, code)
    assert says in got[2]


# --- the answer on the wire


def test_a_refusal_looks_as_aws_sends_it(strict_sqs_server):
    """As in the recordings that app/testing/sqs/authentication.py names."""
    context = ssl.create_default_context(cafile=strict_sqs_server.ca_file)
    host = strict_sqs_server.endpoint_url.removeprefix("https://")
    connection = http.client.HTTPSConnection(host, timeout=10, context=context)
    headers = {"X-Amz-Target": "AmazonSQS.ListQueues", "Content-Type": "application/x-amz-json-1.0"}
    connection.request("POST", "/", b"{}", headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == 403
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.0"
    assert answer.headers["x-amzn-query-error"] == "AccessDenied;Sender"
    assert answer.headers["x-amzn-RequestId"]
    assert body["__type"] == "com.amazon.coral.service#AccessDeniedException"
    assert set(body) == {"__type", "message"}
    assert answer.headers["Date"].endswith(" GMT")
    assert abs(parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()) < 60


# --- with all the rest


def test_refusals_are_counted_as_errors_and_change_nothing(client, strict_sqs_server):
    queue = strict_sqs_server.create_queue("orders")
    with pytest.raises(ClientError):
        client(AccessKey("x", "y")).send_message(QueueUrl=queue, MessageBody="x")
    assert strict_sqs_server.queues["orders"]["visible"] == 0
    assert strict_sqs_server.counts.of("SendMessage").errors == 1


def test_a_refusal_takes_the_round_trip_too_and_faults_hit_it(client, strict_sqs_server):
    strict_sqs_server.configure(round_trip=0.2)
    started = time.monotonic()
    assert refused(client(AccessKey("x", "y")))[1] == "InvalidClientTokenId"
    assert time.monotonic() - started >= 0.19
    strict_sqs_server.faults.add("ListQueues:error:code=503:count=1")
    sqs = client(AccessKey("x", "y"))
    assert refused(sqs)[1] == "InvalidClientTokenId"
    assert strict_sqs_server.counts.of("ListQueues").faults == 1


def test_the_key_can_be_chosen():
    key = AccessKey("AKIAMINE", "my:secret/+")
    with LocalSQS(strict=True, access_key=key, options=("--region", "eu-central-1")) as sqs:
        assert sqs.environment["AWS_ACCESS_KEY_ID"] == "AKIAMINE"
        assert sqs.environment["AWS_REGION"] == "eu-central-1"
        assert "AWS_CA_BUNDLE" not in sqs.environment
        arguments = {"endpoint_url": sqs.endpoint_url, "region_name": "eu-central-1"}
        secret = {"aws_access_key_id": "AKIAMINE", "aws_secret_access_key": "my:secret/+"}
        boto3.client("sqs", **arguments, **secret, config=Config(proxies={})).list_queues()
