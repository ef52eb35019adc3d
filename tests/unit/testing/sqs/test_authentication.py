"""Every reason for which a strict server refuses a request, with the answer that AWS gives; botocore signs."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import format_datetime
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app.testing.http import Request
from app.testing.sqs.authentication import MAX_SKEW, Authentication
from app.testing.sqs.keys import EXAMPLE_KEY, AccessKey, Keys

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
WALL = NOW.timestamp()
HOST = "sqs.eu-west-1.amazonaws.com"
UNKNOWN = "The security token included in the request is invalid."


def signed(
    key: AccessKey = EXAMPLE_KEY,
    *,
    at: datetime = NOW,
    region: str = "eu-west-1",
    service: str = "sqs",
    headers: dict[str, str] | None = None,
) -> Request:
    """A request that botocore signed, as it arrives."""
    made = AWSRequest(
        "POST",
        f"https://{HOST}/",
        headers={"X-Amz-Target": "AmazonSQS.ListQueues", "Content-Type": "application/x-amz-json-1.0"}
        | (headers or {}),
        data=b'{"MaxResults": 5}',
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4Auth(Credentials(key.id, key.secret, key.session_token), service, region).add_auth(made)
    arrived = {name.lower().encode(): value.encode() for name, value in made.headers.items()}
    return Request(method="POST", target="/", headers=arrived | {b"host": HOST.encode()}, body=made.body)


@pytest.fixture
def authentication() -> Authentication:
    keys = Keys(EXAMPLE_KEY, random_source=random.Random(1))
    return Authentication(keys, region="eu-west-1", account_id="123456789012")


@pytest.fixture
def refusal(authentication):
    """The refusal's type, status, Query code and sentence; `None` for a request that passes."""

    def ask(request: Request, *, wall: float = WALL, now: float = WALL):
        error = authentication.refusal(request, action="ListQueues", base_url=f"https://{HOST}", now=now, wall=wall)
        return None if error is None else (error.name, error.status, error.query_code, error.message)

    return ask


def invalid(message: str) -> tuple[str, int, str, str]:
    return "InvalidSignatureException", 403, "SignatureDoesNotMatch", message


def incomplete(message: str) -> tuple[str, int, str, str]:
    return "IncompleteSignatureException", 400, "IncompleteSignature", message


def with_authorization(request: Request, old: str, new: str) -> Request:
    header = request.headers[b"authorization"].decode()
    assert old in header
    request.headers[b"authorization"] = header.replace(old, new).encode()
    return request


def test_what_is_signed_as_it_should_be_passes(refusal):
    assert refusal(signed()) is None


def test_a_request_dated_by_date_instead_of_x_amz_date_passes(refusal):
    request = signed(headers={"Date": format_datetime(NOW, usegmt=True)})
    assert b"x-amz-date" not in request.headers
    assert refusal(request) is None


def test_an_anonymous_request_is_denied(refusal):
    request = signed()
    del request.headers[b"authorization"]
    sentence = f"Access to the resource https://{HOST}/ is denied."
    assert refusal(request) == ("AccessDeniedException", 403, "AccessDenied", sentence)


def test_another_kind_of_authorization_is_none(refusal):
    request = signed()
    request.headers[b"authorization"] = b"Basic eDp5"
    sentence = "Request is missing Authentication Token"
    assert refusal(request) == ("MissingAuthenticationTokenException", 403, "MissingAuthenticationToken", sentence)


@pytest.mark.parametrize("name", ["Credential", "Signature", "SignedHeaders"])
def test_a_part_that_is_missing_is_named(refusal, name):
    request = with_authorization(signed(), f"{name}=", "Other=")
    header = request.header(b"authorization")
    assert refusal(request) == incomplete(f"Authorization header requires '{name}' parameter. Authorization={header}")


def test_a_date_that_is_missing_is_asked_for(refusal):
    request = signed()
    del request.headers[b"x-amz-date"]
    assert "requires existence of either a 'X-Amz-Date' or a 'Date' header. " in refusal(request)[3]


@pytest.mark.parametrize("date", ["201", "2026-03-04T12:00:00Z", "20261304T120000Z", "yesterday"])
def test_a_date_in_another_form_is_refused(refusal, date):
    request = signed()
    request.headers[b"x-amz-date"] = date.encode()
    assert refusal(request) == incomplete(
        f"Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )


@pytest.mark.parametrize("seconds", [-MAX_SKEW, 0, MAX_SKEW])
def test_clocks_may_differ_by_fifteen_minutes(refusal, seconds):
    assert refusal(signed(), wall=WALL + seconds) is None


def test_a_signature_from_more_than_fifteen_minutes_ago_has_expired(refusal):
    assert refusal(signed(), wall=WALL + MAX_SKEW + 1) == invalid(
        "Signature expired: 20260304T120000Z is now earlier than 20260304T120001Z (20260304T121501Z - 15 min.)"
    )


def test_a_signature_from_the_future_is_not_yet_current(refusal):
    assert refusal(signed(), wall=WALL - MAX_SKEW - 1) == invalid(
        "Signature not yet current: 20260304T120000Z is still later than 20260304T115959Z (20260304T114459Z + 15 min.)"
    )


def test_sessions_expire_by_another_clock_than_signatures(authentication, refusal):
    key = authentication.keys.issue(5000.0, 60)
    assert refusal(signed(key), now=5059.0) is None
    assert refusal(signed(key), now=5060.0) == (
        "ExpiredTokenException",
        403,
        "ExpiredToken",
        "The security token included in the request is expired",
    )


def test_the_host_must_be_signed(refusal):
    request = with_authorization(signed(), "host;", "")
    assert refusal(request) == invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")


def test_a_header_of_amazons_must_be_signed(refusal):
    request = signed()
    request.headers[b"x-amz-extra"] = b"1"
    assert refusal(request) == invalid("'x-amz-extra' must be a 'SignedHeader' in the AWS Authorization.")


def test_a_header_of_somebody_elses_need_not_be_signed(refusal):
    request = signed()
    request.headers |= {b"user-agent": b"x", b"x-amzn-trace-id": b"y", b"via": b"a proxy"}
    assert refusal(request) is None


def test_another_algorithm_is_refused(refusal):
    request = with_authorization(signed(), "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")
    assert refusal(request) == incomplete(
        "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now). "
    )


def test_a_credential_has_five_parts(refusal):
    request = with_authorization(signed(), "/aws4_request", "")
    assert refusal(request) == incomplete(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got "
        f"'{EXAMPLE_KEY.id}/20260304/eu-west-1/sqs'"
    )


@pytest.mark.parametrize("region", ["us-east-1", "queue", "EU-WEST-1", "eu-west-1a"])
def test_another_region_is_refused(refusal, region):
    request = signed(region=region)
    assert refusal(request) == invalid(f"Credential should be scoped to a valid region, not '{region}'. ")


def test_another_service_is_refused(refusal):
    assert refusal(signed(service="sns")) == invalid("Credential should be scoped to correct service: 'sqs'. ")


def test_another_day_and_another_end_are_refused_together(refusal):
    request = with_authorization(signed(), "/20260304/eu-west-1/sqs/aws4_request", "/20260303/eu-west-1/sqs/aws5")
    assert refusal(request) == invalid(
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'. "
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        "'20260303' != '20260304', from '20260304T120000Z'."
    )


def test_a_key_that_is_not_known_is_refused(refusal):
    request = signed(AccessKey("AKIAUNKNOWN", EXAMPLE_KEY.secret))
    assert refusal(request) == ("UnrecognizedClientException", 403, "InvalidClientTokenId", UNKNOWN)


def test_a_key_that_was_deactivated_is_no_longer_known(authentication, refusal):
    authentication.keys.known(EXAMPLE_KEY.id).is_revoked = True
    assert refusal(signed())[3] == UNKNOWN


@pytest.mark.parametrize("token", [None, "another", ""])
def test_a_temporary_key_needs_its_session_token(authentication, refusal, token):
    key = authentication.keys.issue(WALL)
    assert refusal(signed(key)) is None
    assert refusal(signed(AccessKey(key.id, key.secret, token)))[2:] == ("InvalidClientTokenId", UNKNOWN)


def test_a_key_that_stays_has_no_session_token(refusal):
    request = signed(AccessKey(EXAMPLE_KEY.id, EXAMPLE_KEY.secret, "left over from somebody else"))
    assert refusal(request)[2:] == ("InvalidClientTokenId", UNKNOWN)


def test_a_revoked_session_is_denied_everything(authentication, refusal):
    key = authentication.keys.issue(WALL)
    key.is_revoked = True
    name, status, code, sentence = refusal(signed(key))
    assert (name, status, code) == ("AccessDeniedException", 403, "AccessDenied")
    assert sentence.startswith("User: arn:aws:sts::123456789012:assumed-role/")
    assert "is not authorized to perform: sqs:listqueues with an explicit deny" in sentence


def test_whoever_does_not_know_the_secret_learns_nothing_of_a_revoked_session(authentication, refusal):
    key = authentication.keys.issue(WALL)
    key.is_revoked = True
    assert refusal(signed(AccessKey(key.id, "wrong", key.session_token)))[2] == "SignatureDoesNotMatch"


def test_a_wrong_secret_is_told_what_should_have_been_signed(refusal):
    name, status, code, sentence = refusal(signed(AccessKey(EXAMPLE_KEY.id, "wrong")))
    assert (name, status, code) == ("InvalidSignatureException", 403, "SignatureDoesNotMatch")
    assert sentence.startswith("The request signature we calculated does not match the signature you provided. ")
    assert "The Canonical String for this request should have been\n'POST\n/\n\ncontent-type:application" in sentence
    assert "The String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20260304T120000Z\n20260304/eu-west-1" in sentence
    assert EXAMPLE_KEY.secret not in sentence


def change_body(request: Request) -> None:
    request.body = request.body.replace(b"5", b"6")


def change_header(request: Request) -> None:
    request.headers[b"x-amz-target"] = b"AmazonSQS.DeleteQueue"


def lose_header(request: Request) -> None:
    del request.headers[b"content-type"]


def change_host(request: Request) -> None:
    request.headers[b"host"] = b"elsewhere"


def change_path(request: Request) -> None:
    request.target = "/elsewhere"


def change_query(request: Request) -> None:
    request.target = "/?a=b"


def change_method(request: Request) -> None:
    request.method = "PUT"


def change_signature(request: Request) -> None:
    header = request.headers[b"authorization"]
    request.headers[b"authorization"] = header[:-1] + (b"0" if header[-1:] != b"0" else b"1")


def cut_signature(request: Request) -> None:
    request.headers[b"authorization"] = request.headers[b"authorization"][:-1]


@pytest.mark.parametrize(
    "change",
    [
        change_body,
        change_header,
        lose_header,
        change_host,
        change_path,
        change_query,
        change_method,
        change_signature,
        cut_signature,
    ],
)
def test_what_was_changed_after_it_was_signed_does_not_match(refusal, change):
    request = signed()
    assert refusal(request) is None
    change(request)
    assert refusal(request)[2:][0] == "SignatureDoesNotMatch"
    assert "does not match the signature you provided" in refusal(request)[3]


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ,,,===",
        "AWS4-HMAC-SHA256 Credential=/////, SignedHeaders=host;x-amz-date;x-amz-target, Signature=\xff",
        "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;host;x-amz-date;x-amz-target, Signature=x",
        (
            "AWS4-HMAC-SHA256 Credential=\xe4/20260304/eu-west-1/sqs/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-target;\xe4, Signature=\xe4"
        ),
        (
            f"AWS4-HMAC-SHA256 Credential={EXAMPLE_KEY.id}/20260304/eu-west-1/sqs/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-target;\xe4, Signature=\xe4"
        ),
    ],
)
def test_nonsense_is_refused_and_breaks_nothing(refusal, header):
    request = signed()
    request.headers[b"authorization"] = header.encode("latin-1")
    assert refusal(request)[1] in {400, 403}
