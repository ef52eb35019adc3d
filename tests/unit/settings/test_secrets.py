"""No password gets into an error, a repr, or a traceback, however badly the URL around it is written."""

from __future__ import annotations

import string
import traceback

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import SettingsError, load, masked
from settings.celery import celery_config

SHAPES = [
    "redis://:{}@host:6379/0",
    "redis://user:{}@host:6379/0",
    "redis://{}@host:6379/0",
    "redis://user:{}@host:port/0",
    "redis://user:{}@host:99999/0",
    "redis://user:{}@",
    "redis://user:{}@/0",
    "redis://user:{}@[::1/0",
    "redis://user:{}@ho st/0",
    "redis://user:x/{}@host/0",
    "redis://user:12/{}@host/0",
    "redis://user:x?{}@host/0",
    "redis://user:x#{}@host/0",
    "redis://user:x@{}@host/0",
    "redis://host/0?password={}",
    "redis://host/x#{}",
    "redis:/user:{}@host/0",
    "redis:user:{}@host",
    "user:{}@host",
    "{}@host",
    "{}",
    "sentinel://:{}@host",
    "rediss+cluster://:{}@host",
    "valkey://:{}@host",
    "amqp://user:{}@host//",
    "https://user:{}@sqs.eu-west-1.amazonaws.com/123456789012/orders",
    "http://user:{}@127.0.0.1/queue/a b",
    "unix://user:{}@run/valkey.sock",
    " redis://user:{}@host/x ",
]
SECRET_ONLY = {"SLUICE_CONTROL_URL", "SLUICE_RESULT_URL", "SLUICE_CONTROL_ULR", "SLUICE_REDIS_PASSWORD"}
EVERYWHERE = [
    *sorted(SECRET_ONLY),
    "SLUICE_DOWNSTREAM_URL",
    "SLUICE_QUEUE",
    "SLUICE_QUEUE_SLUICE_URL",
    "AWS_ENDPOINT_URL_SQS",
    "CELERY_BROKER_URL",
    "SLUICE_POLL_WAIT",
]
CASES = [
    (name, shape) for name in EVERYWHERE for shape in SHAPES if name in SECRET_ONLY or "@" in shape or "://" in shape
]
# Marked, so that no word of a message can hold it by chance; with the characters that break URLs.
PASSWORDS = st.text(alphabet=string.ascii_letters + string.digits + "/?#@:%[]+ \\'\"", max_size=12).map(
    lambda text: f"hunter2{text}".replace("://", ":/")  # or it would itself be the scheme of a URL
)


def all_that_is_printed(environ: dict[str, str]) -> str:
    try:
        return repr(load(environ, table=()))
    except SettingsError as error:
        return f"{error}{error!r}{error.__cause__}{error.__context__}{''.join(traceback.format_exception(error))}"


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_password_is_never_shown(name):
    for case, shape in CASES:
        if case == name:
            assert "hunter2" not in all_that_is_printed({name: shape.format("hunter2")}), shape


@hypothesis.settings(max_examples=500)
@given(case=st.sampled_from(CASES), password=PASSWORDS)
def test_a_password_is_never_shown_whatever_is_in_it(case, password):
    name, shape = case
    assert "hunter2" not in all_that_is_printed({name: shape.format(password)})


def test_settings_print_without_their_secrets():
    settings = load(
        {"SLUICE_CONTROL_URL": "redis://:hunter2@h/0", "SLUICE_RESULT_URL": "redis://:hunter2@h/1"}, table=()
    )
    assert "hunter2" not in f"{settings!r}{settings}{settings.model_dump()}{settings.model_dump_json()}"
    assert settings.control_url.get_secret_value() == "redis://:hunter2@h/0"
    assert celery_config(settings)["result_backend"] == "redis://:hunter2@h/1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:pw@host:6379/0", "redis://***@host:6379/0"),
        ("rediss://:pw@[::1]:6379/0?ssl=none", "rediss://***@[::1]:6379/0?***"),
        ("unix://user:pw@/run/valkey.sock?db=1", "unix://***@/run/valkey.sock?***"),
        ("https://host/a/b#c", "https://host/a/b#***"),
        ("https://host/a=b", "https://host/***"),
        ("redis://:pw", "redis://***"),
        ("redis://:12", "redis://***"),
        ("redis://:a/b@host", "redis://***"),
        ("redis://:12/b@host", "redis://***"),
        ("not a url", "***"),
        ("://x", "***"),
    ],
)
def test_a_masked_url_still_says_where_it_leads(url, shown):
    assert masked(url) == shown


def test_a_long_value_is_cut():
    with pytest.raises(SettingsError) as caught:
        load({"SLUICE_POLL_WAIT": "9" * 5000}, table=())
    assert len(str(caught.value)) < 400
