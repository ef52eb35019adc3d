"""What a failed call asks for, and what of it is told."""

from __future__ import annotations

import pytest

from app.transport.engine import Failure, Kind, failure_of

PREFIX = "com.amazonaws.sqs#"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "RequestThrottled", Kind.THROTTLED),
        (400, "ThrottlingException", Kind.THROTTLED),
        (400, "OverLimit", Kind.THROTTLED),
        (400, "KmsThrottled", Kind.THROTTLED),
        (503, "SlowDown", Kind.THROTTLED),
        (403, "ExpiredTokenException", Kind.CREDENTIALS),
        (403, "AccessDeniedException", Kind.CREDENTIALS),
        (403, "InvalidSignatureException", Kind.CREDENTIALS),
        (403, "UnrecognizedClientException", Kind.CREDENTIALS),
        (400, "IncompleteSignatureException", Kind.CREDENTIALS),
        (403, "RequestTimeTooSkewed", Kind.CREDENTIALS),
        (400, "QueueDoesNotExist", Kind.QUEUE_MISSING),
        (400, "AWS.SimpleQueueService.NonExistentQueue", Kind.QUEUE_MISSING),
        (400, "ReceiptHandleIsInvalid", Kind.RECEIPT),
        (400, "MessageNotInflight", Kind.RECEIPT),
        (400, "InvalidParameterValueException", Kind.PERMANENT),
        (400, "SomethingNew", Kind.PERMANENT),
        (500, "InternalFailure", Kind.PASSING),
        (503, "ServiceUnavailable", Kind.PASSING),
        (500, "SomethingNew", Kind.PASSING),
        (429, "SomethingNew", Kind.PASSING),
        (408, "", Kind.PASSING),
        (302, "", Kind.PASSING),
        (403, "", Kind.PASSING),
        (502, "", Kind.PASSING),
    ],
)
@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_a_failure_is_told_by_its_code_else_by_its_status(status, code, kind, prefix):
    failure = failure_of(status, prefix + code if code else "")
    assert failure.kind is kind
    assert str(failure) == (code.rpartition(".")[2] or f"HTTP {status}")


@pytest.mark.parametrize("code", ["InvalidParameterValue", "InvalidParameterValueException"])
def test_what_is_wrong_with_the_receipt_is_known_by_the_words(code):
    detail = "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist"
    assert failure_of(400, code, detail).kind is Kind.RECEIPT
    assert failure_of(400, code, "Value 11 for parameter MaxNumberOfMessages is invalid").kind is Kind.PERMANENT


@pytest.mark.parametrize("kind", list(Kind))
def test_what_may_pass_is_tried_again_and_nothing_else(kind):
    assert Failure(kind, "Code").may_pass is (kind not in (Kind.RECEIPT, Kind.PERMANENT))


def test_of_what_sqs_says_the_first_line_is_kept():
    """The others repeat the request, with its session token."""
    detail = "The request signature does not match.\n\nThe Canonical String was\nx-amz-security-token:SECRET"
    failure = failure_of(403, "SignatureDoesNotMatch", detail)
    assert str(failure) == "SignatureDoesNotMatch: The request signature does not match."
    assert len(failure_of(400, "A", "x" * 10_000).detail) == 300


@pytest.mark.parametrize("code", ["x" * 81, "a b", "a\nb", "<html>", "{'a': 1}", "é"])
def test_what_is_no_code_is_not_taken_for_one(code):
    assert failure_of(403, code) == Failure(Kind.PASSING, "HTTP 403")
