"""Signature Version 4: AWS's own examples, and botocore's signer, neither of which it was written from."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from app.testing.http import Request
from app.testing.sqs import signature
from app.testing.sqs.signature import Scope

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SIGNED_AT = "20150830T123600Z"
SCOPE = Scope("AKIDEXAMPLE", "20150830", "us-east-1", "service", "aws4_request")
BASE = {b"host": b"example.amazonaws.com", b"x-amz-date": SIGNED_AT.encode()}


def signed(request: Request, *more: str) -> str:
    canonical = signature.canonical_request(request, sorted(["host", "x-amz-date", *more]))
    return signature.signature(
        signature.string_to_sign(canonical, signed_at=SIGNED_AT, scope=SCOPE), secret=SECRET, scope=SCOPE
    )


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("GET", "/example/..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "//", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/./", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ],
    ids=["get", "post", "query in another order", "parent", "two slashes", "dot"],
)
def test_awss_examples_have_the_signatures_that_aws_gives(method, target, expected):
    """From the test suite that AWS published for signers (aws-sig-v4-test-suite: get-vanilla and its neighbours)."""
    assert signed(Request(method=method, target=target, headers=BASE)) == expected


def test_spaces_around_and_within_a_header_make_no_difference():
    request = Request(headers=BASE | {b"my-header1": b" value1", b"my-header2": b' "a   b   c"'})
    expected = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"
    assert signed(request, "my-header1", "my-header2") == expected


def test_a_signed_header_that_is_missing_counts_as_empty():
    request = Request(headers=BASE)
    assert "\nx-amz-target:\n" in signature.canonical_request(request, ["host", "x-amz-date", "x-amz-target"])


def test_a_secret_is_in_no_part_of_what_is_signed():
    canonical = signature.canonical_request(Request(headers=BASE), ["host"])
    assert SECRET not in canonical + signature.string_to_sign(canonical, signed_at=SIGNED_AT, scope=SCOPE)


PATHS = st.text("abz019-_.~/%", max_size=20).map(lambda text: "/" + text.replace("%", "%20"))
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


@given(
    path=PATHS,
    body=st.binary(max_size=200),
    target=VALUES,
    token=VALUES,
    secret=st.text("abcXYZ019/+", min_size=1, max_size=40),
)
def test_botocore_signs_in_the_same_way(path, body, target, token, secret):
    ours = AWSRequest("POST", f"https://sqs.eu-west-1.amazonaws.com{path}", headers={"X-Amz-Target": target}, data=body)
    with mock.patch("botocore.auth.get_current_datetime", return_value=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)):
        SigV4Auth(Credentials("AKIA", secret, token), "sqs", "eu-west-1").add_auth(ours)
    authorization = ours.headers["Authorization"]
    del ours.headers["Authorization"]
    headers = {name.lower().encode(): value.encode() for name, value in ours.headers.items()}
    headers[b"host"] = b"sqs.eu-west-1.amazonaws.com"
    request = Request(method="POST", target=path, headers=headers, body=body)
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    scope = Scope("AKIA", "20260102", "eu-west-1", "sqs", "aws4_request")
    to_sign = signature.string_to_sign(
        signature.canonical_request(request, names), signed_at="20260102T030405Z", scope=scope
    )
    assert authorization.endswith(f"Signature={signature.signature(to_sign, secret=secret, scope=scope)}")
