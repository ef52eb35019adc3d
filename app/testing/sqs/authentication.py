"""Who may call a strict server: each request's signature is checked, and answered as SQS answers when it is wrong.

What is checked, in this order, and where the answer is from:

| the request | the answer | from |
|---|---|---|
| has no Authorization | AccessDeniedException, 403 | 1: to SQS it is anonymous, which a queue's policy may allow |
| has one that is not AWS4 | MissingAuthenticationTokenException, 403 | 2, its status 3 |
| lacks a part of it, its date, or has them in another form | IncompleteSignatureException, 400 | 2 |
| was signed 15 minutes ago or will be in 15 | InvalidSignatureException, 403 | 1, its sentences 4 and 2 |
| does not sign its host, or an x-amz- header that it has | InvalidSignatureException, 403 | 2; 5 says which must be |
| is signed for another region, service or day | InvalidSignatureException, 403 | 2, for SQS 6 |
| is signed with a key that is not known, or was deactivated | UnrecognizedClientException, 403 | 1 |
| has not the session token that goes with its key | UnrecognizedClientException, 403 | 2 |
| has one that has expired | ExpiredTokenException, 403 | 7 |
| has another signature than it should have | InvalidSignatureException, 403 | 1, its sentence 8 |
| is signed with a temporary key that was revoked | AccessDeniedException, 403 | 9: a policy then denies everything |

1. AWS's answers as recorded by github.com/yavosh/pail (test/diff/testdata/golden/sqs-auth-errors.json)
2. those of DynamoDB, which has the same front door, as noted in github.com/mhart/dynalite (index.js)
3. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
4. SQS in github.com/async-aws/aws/issues/1634 and github.com/terricain/aioboto3/issues/326
5. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
6. github.com/celery/celery/issues/3672
7. SQS in github.com/celery/kombu/issues/2031
8. SQS in github.com/async-aws/aws/issues/1948
9. https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html

The answers of 1 carry the older Query codes too, which boto3 reports: AccessDenied, SignatureDoesNotMatch,
InvalidClientTokenId. So do SQS's older answers for ExpiredToken (github.com/aws/aws-sdk-go/issues/249).
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from app.testing.sqs import signature
from app.testing.sqs.errors import SQSError
from app.testing.sqs.signature import ALGORITHM, TERMINATOR, Scope

if TYPE_CHECKING:
    from app.testing.http import Request
    from app.testing.sqs.keys import AccessKey, Keys

MAX_SKEW = 15 * 60
"""Seconds that the client's clock and the server's may differ."""
_TIME = "%Y%m%dT%H%M%SZ"
_PARAMETERS = ("Credential", "Signature", "SignedHeaders")
_UNKNOWN = "The security token included in the request is invalid."
_MISMATCH = """\
The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and \
signing method. Consult the service documentation for details.

The Canonical String for this request should have been
'{canonical}'

The String-to-Sign should have been
'{to_sign}'
"""


class Authorization(NamedTuple):
    """What a request says of its signature."""

    scope: Scope
    signed_headers: list[str]
    signature: str
    signed_at: str


class Authentication:
    """Checks requests against the keys that are known.

    Args:
        keys: the keys.
        region: the region that requests must be signed for.
        account_id: whose a revoked key was, for the sentence that says so.
    """

    def __init__(self, keys: Keys, *, region: str, account_id: str) -> None:
        self.keys = keys
        self._region = region
        self._account_id = account_id

    def refusal(self, request: Request, *, action: str, base_url: str, now: float, wall: float) -> SQSError | None:
        """Why this request is refused; `None` if it is not.

        Args:
            request: the request.
            action: what it asks for, as `SendMessage`.
            base_url: where it was sent.
            now: the time by the clock that sessions expire by.
            wall: the time by the clock that signatures are dated by.
        """
        try:
            self._check(request, action, base_url, now, wall)
        except SQSError as error:
            return error
        return None

    def _check(self, request: Request, action: str, base_url: str, now: float, wall: float) -> None:
        header = request.header(b"authorization")
        if not header:
            raise SQSError("AccessDeniedException", f"Access to the resource {base_url}/ is denied.")
        if not header.startswith("AWS4-"):
            raise SQSError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
        given = _authorization(request, header, wall)
        _check_scope(given, self._region)
        key = self._key(given.scope.key_id, request, now)
        canonical = signature.canonical_request(request, given.signed_headers)
        to_sign = signature.string_to_sign(canonical, signed_at=given.signed_at, scope=given.scope)
        expected = signature.signature(to_sign, secret=key.secret, scope=given.scope)
        if not hmac.compare_digest(expected.encode(), given.signature.encode()):
            raise _invalid(_MISMATCH.format(canonical=canonical, to_sign=to_sign))
        if key.is_revoked:
            raise SQSError(
                "AccessDeniedException",
                f"User: arn:aws:sts::{self._account_id}:assumed-role/local/{key.id} is not authorized to perform: "
                f"sqs:{action.lower()} with an explicit deny in an identity-based policy",
            )

    def _key(self, key_id: str, request: Request, now: float) -> AccessKey:
        key = self.keys.find(key_id)
        if key is None or (key.is_revoked and key.session_token is None):
            raise SQSError("UnrecognizedClientException", _UNKNOWN)
        token = request.header(b"x-amz-security-token")
        if not hmac.compare_digest(token.encode(), (key.session_token or "").encode()):
            raise SQSError("UnrecognizedClientException", _UNKNOWN)
        if key.expires_at is not None and now >= key.expires_at:
            raise SQSError("ExpiredTokenException", "The security token included in the request is expired")
        return key


def _authorization(request: Request, header: str, wall: float) -> Authorization:
    """Read the Authorization header, and check what can be checked without a key."""
    algorithm, _, rest = header.partition(" ")
    pairs = (part.partition("=") for part in rest.replace(",", " ").split())
    values = {name: value for name, _, value in pairs}
    missing = [f"Authorization header requires '{name}' parameter. " for name in _PARAMETERS if not values.get(name)]
    date = request.header(b"x-amz-date") or request.header(b"date")
    if not date:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
    if missing:
        raise _incomplete(f"{''.join(missing)}Authorization={header}")
    signed_at = _time(date)
    _check_age(signed_at, wall)
    signed_headers = values["SignedHeaders"].lower().split(";")
    _check_signed(request, signed_headers)
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). ")
    parts = values["Credential"].rstrip("/").split("/")
    if len(parts) != len(Scope._fields):
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got "
            f"'{values['Credential']}'"
        )
    return Authorization(Scope(*parts), signed_headers, values["Signature"], signed_at.strftime(_TIME))


def _time(date: str) -> datetime:
    try:
        return datetime.strptime(date, _TIME).replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(date).astimezone(UTC)
    except ValueError:
        raise _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def _check_age(signed_at: datetime, wall: float) -> None:
    def text(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)

    if signed_at.timestamp() < wall - MAX_SKEW:
        raise _invalid(
            f"Signature expired: {signed_at:{_TIME}} is now earlier than {text(wall - MAX_SKEW)} "
            f"({text(wall)} - 15 min.)"
        )
    if signed_at.timestamp() > wall + MAX_SKEW:
        raise _invalid(
            f"Signature not yet current: {signed_at:{_TIME}} is still later than {text(wall + MAX_SKEW)} "
            f"({text(wall)} + 15 min.)"
        )


def _check_signed(request: Request, signed_headers: list[str]) -> None:
    if "host" not in signed_headers:
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    for name in request.headers:
        text = name.decode("latin-1")
        if text.startswith("x-amz-") and text not in signed_headers:
            raise _invalid(f"'{text}' must be a 'SignedHeader' in the AWS Authorization.")


def _check_scope(given: Authorization, region: str) -> None:
    scope, today = given.scope, given.signed_at[:8]
    wrong = []
    if scope.region != region:
        wrong.append(f"Credential should be scoped to a valid region, not '{scope.region}'. ")
    if scope.service != "sqs":
        wrong.append("Credential should be scoped to correct service: 'sqs'. ")
    if scope.terminator != TERMINATOR:
        wrong.append(f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{scope.terminator}'. ")
    if scope.date != today:
        wrong.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date}' != '{today}', from '{given.signed_at}'."
        )
    if wrong:
        raise _invalid("".join(wrong))


def _invalid(message: str) -> SQSError:
    return SQSError("InvalidSignatureException", message)


def _incomplete(message: str) -> SQSError:
    return SQSError("IncompleteSignatureException", message)
