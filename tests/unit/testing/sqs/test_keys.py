"""The access keys of a strict server."""

from __future__ import annotations

import random

import pytest

from app.testing.sqs import keys as module
from app.testing.sqs.keys import EXAMPLE_KEY, AccessKey, Keys


def keys(seed: int = 1) -> Keys:
    return Keys(EXAMPLE_KEY, random_source=random.Random(seed))


def test_the_first_key_is_there_and_stays():
    key = keys().known(EXAMPLE_KEY.id)
    assert (key.secret, key.session_token, key.expires_at) == (EXAMPLE_KEY.secret, None, None)


def test_what_happens_to_the_first_key_is_forgotten_with_the_keys():
    keys().known(EXAMPLE_KEY.id).is_revoked = True
    assert not EXAMPLE_KEY.is_revoked
    assert not keys().known(EXAMPLE_KEY.id).is_revoked


def test_a_temporary_key_looks_like_awss_and_lasts_as_long_as_was_asked():
    key = keys().issue(1000.0, 60)
    assert key.id.startswith("ASIA")
    assert len(key.id) == 20
    assert len(key.secret) == 40
    assert len(key.session_token) > 300
    assert key.expires_at == 1060.0


def test_a_key_that_stays_has_no_token_and_no_end():
    key = keys().issue(1000.0, None)
    assert key.id.startswith("AKIA")
    assert key.session_token is None
    assert key.expires_at is None


def test_issued_keys_are_known_and_the_same_for_the_same_seed():
    known = keys()
    key = known.issue(0.0)
    assert known.known(key.id) is key
    assert keys().issue(0.0) == key
    assert keys(2).issue(0.0) != key


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_session_lasts_a_while_and_ends(seconds):
    with pytest.raises(ValueError, match="more than 0 seconds"):
        keys().issue(0.0, seconds)


@pytest.mark.parametrize("key_id", ["missing", None, 1, ["x"]])
def test_a_key_that_is_not_there_is_an_error(key_id):
    with pytest.raises(ValueError, match="there is no access key"):
        keys().known(key_id)


def test_there_is_an_end_to_issuing(monkeypatch):
    monkeypatch.setattr(module, "MAX_KEYS", 3)
    known = keys()
    known.issue(0.0)
    known.issue(0.0)
    with pytest.raises(ValueError, match="reset the server"):
        known.issue(0.0)


def test_secrets_are_in_no_repr():
    key = keys().issue(0.0)
    assert key.secret not in repr(key)
    assert key.session_token not in repr(key)


def test_a_key_is_read_from_an_option():
    assert AccessKey.parse("AKIAX:a/b+c:d") == AccessKey("AKIAX", "a/b+c:d")


@pytest.mark.parametrize("text", ["", "AKIA", "AKIA:", ":secret", "A/B:secret", "A B:secret"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="ID:SECRET"):
        AccessKey.parse(text)


def test_an_environment_has_a_token_only_for_a_temporary_key():
    assert set(EXAMPLE_KEY.environment) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert keys().issue(0.0).environment["AWS_SESSION_TOKEN"]
