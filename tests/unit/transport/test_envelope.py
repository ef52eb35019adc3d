"""What is in a message's body, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UndecodableMessage
from app.transport import envelope


def made(**changes):
    payload = {"body": "[[], {}, {}]", "headers": {"task": "t", "id": "1"}, "properties": {"delivery_info": {}}}
    return json.dumps({**payload, **changes})


def test_kombus_json_is_read():
    """Ours, and that of kombu with its base64 off."""
    assert envelope.decode(made())["headers"] == {"task": "t", "id": "1"}


def test_stock_kombus_base64_around_it_is_read():
    """So that a running system can migrate."""
    assert envelope.decode(base64.b64encode(made().encode()).decode()) == envelope.decode(made())


def test_what_may_be_missing_is_there():
    """Headers and delivery_info are taken for granted later on."""
    payload = envelope.decode(json.dumps({"body": "x", "properties": {}}))
    assert payload["headers"] == {}
    assert payload["properties"]["delivery_info"] == {}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"task": "t"}, "'id' is missing"),
        ({"task": 5, "id": "1"}, "'task' is of the wrong kind"),
        ({"timelimit": 5}, "'timelimit' is of the wrong kind"),
        ({"timelimit": [5]}, "two numbers"),
        ({"timelimit": [5, "x"]}, "two numbers"),
        ({"timelimit": [True, None]}, "two numbers"),
        ({"timelimit": [-1, None]}, "two numbers"),
        ({"timelimit": [10**400, None]}, "two numbers"),
        ({"timelimit": [float("inf"), None]}, "two numbers"),
        ({"eta": ""}, "must be times"),
        ({"expires": ""}, "must be times"),
        ({"expires": 0}, "must be times"),
        ({"retries": None}, "'retries' is of the wrong kind"),
        ({"stamped_headers": [[]]}, "'stamped_headers' must be names"),
        ({"eta": "0001-01-01T00:00:00+14:00"}, "'eta' is out of all bounds"),
        ({"eta": "9999-12-31T23:59:59"}, "'eta' is out of all bounds"),
    ],
)
def test_headers_that_would_fail_where_nothing_is_settled_any_more_are_refused(headers, reason):
    """In the pool Celery has taken a place for the task, and gives none back."""
    with pytest.raises(UndecodableMessage, match=reason):
        envelope.decode(made(headers=headers))


@pytest.mark.parametrize("wrong", [{"content-encoding": 5}, {"content-type": []}])
def test_neither_is_a_content_type_that_is_none_taken(wrong):
    with pytest.raises(UndecodableMessage, match="must be strings"):
        envelope.decode(made(**wrong))


@pytest.mark.parametrize(
    "headers",
    [
        {"timelimit": [None, None]},
        {"timelimit": [5, 4.5]},
        {"timelimit": None},
        {"eta": None},
        {"eta": "2026-01-01T00:00:00+00:00"},
        {"eta": "tomorrow"},  # Celery's to refuse
        {"expires": 5},
        {"anything": {"else": 1}},
    ],
)
def test_what_celery_sends_is_taken(headers):
    """Also headers that nobody here knows."""
    assert envelope.decode(made(headers=headers))["headers"] == headers


@pytest.mark.parametrize("body", [[[], {}, {}], [[1], {"a": 1}, None], {"args": []}, {"args": [], "kwargs": {}}])
def test_the_arguments_of_a_task_pass(body):
    """By protocol 2, and by name as in protocol 1."""
    assert envelope.checked_body(body) is body


@pytest.mark.parametrize(
    "body",
    [
        *(None, 5, "x", [], [[], {}], [{}, {}, {}], [[], [], {}], [[], {}, 5], {}, {"args": {}}, {"kwargs": {}}),
        *({"args": [], "task": "t", "id": []}, {"args": [], "task": "t"}, {"args": [], "timelimit": "ab"}),
        {"args": [], "eta": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_what_is_no_call_of_a_task_is_refused(body):
    """Before Celery has promised anything."""
    with pytest.raises(UndecodableMessage):
        envelope.checked_body(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_PARTS = ["body", "headers", "properties", "task", "id", "timelimit", "eta", "delivery_info", "body_encoding"]


@given(st.text() | _JSON.map(json.dumps) | st.dictionaries(st.sampled_from(_PARTS), _JSON).map(json.dumps))
def test_whatever_it_is_it_is_an_envelope_or_refused(text):
    """No other exception comes out."""
    with contextlib.suppress(UndecodableMessage):
        assert isinstance(envelope.decode(text)["body"], str)


def test_the_reason_never_shows_the_content():
    """It goes into the log."""
    for text in ("secret", '{"secret": 1}', base64.b64encode(b"secret").decode(), made(headers={"task": ["secret"]})):
        with pytest.raises(UndecodableMessage) as refused:
            envelope.decode(text)
        assert "secret" not in str(refused.value)
