"""What is in a message's body, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

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


KOMBUS = {
    "at": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    "day": dt.date(2026, 1, 2),
    "tenant": uuid.UUID(int=5),
    "price": Decimal("1.50"),
    "key": b"\xff",
    "stamps": {"when": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)]},
}


def test_what_only_kombu_writes_as_json_is_read_as_what_it_was():
    """A header that is a time is none of Sluice's business, and a time for the task."""
    payload = {**json.loads(made()), "headers": {"task": "t", "id": "1", **KOMBUS}}
    stock = kombu_json.dumps(payload)
    assert envelope.decode(stock)["headers"] == payload["headers"]
    assert envelope.decode(base64.b64encode(stock.encode()).decode()) == envelope.decode(stock)


def test_what_is_sent_is_plain_json_wherever_that_can_say_it_and_kombus_elsewhere():
    plain = json.loads(made())
    assert envelope.encode(plain) == made()
    odd = {**plain, "headers": {**plain["headers"], **KOMBUS}}
    assert envelope.encode(odd) == kombu_json.dumps(odd)
    with pytest.raises(TypeError, match="not JSON serializable"):
        envelope.encode({**plain, "headers": {"lock": object()}})


def test_an_id_that_is_a_uuid_or_a_number_is_its_text():
    """Stock Celery takes both. Here all that knows a task by its id has one kind to know."""
    ids = {"id": uuid.UUID(int=1), "root_id": 2, "parent_id": uuid.UUID(int=3), "group": 4}
    texts = {name: str(value) for name, value in ids.items()}
    assert envelope.decode(envelope.encode({**json.loads(made()), "headers": ids}))["headers"] == texts
    assert envelope.checked_body({"args": [], "task": "t", **ids}) == {"args": [], "task": "t", **texts}


@pytest.mark.parametrize(
    ("sent", "read"), [(["30", None], [30, None]), ([30.5, " 1.5"], [30.5, 1.5]), ([Decimal(5), "1e3"], [5, 1000])]
)
def test_a_time_limit_that_is_text_is_its_number(sent, read):
    text = envelope.encode({**json.loads(made()), "headers": {"timelimit": sent}})
    assert envelope.decode(text)["headers"]["timelimit"] == read
    assert envelope.checked_body({"args": [], "timelimit": sent})["timelimit"] == read


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
        ({"timelimit": ["inf", None]}, "two numbers"),
        ({"timelimit": ["1e999", ""]}, "two numbers"),
        ({"timelimit": [{"__type__": "decimal", "__value__": "sNaN"}, None]}, "two numbers"),
        ({"task": "t", "id": True}, "'id' is of the wrong kind"),
        ({"task": "t", "id": {"__type__": "bytes", "__value__": "1"}}, "'id' is of the wrong kind"),
        ({"eta": {"__type__": "datetime", "__value__": "2026-01-01"}}, "'eta' is of the wrong kind"),
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


_TYPED = st.fixed_dictionaries(
    {
        "__type__": st.sampled_from(["datetime", "date", "time", "decimal", "uuid", "bytes", "base64"]) | _JSON,
        "__value__": _JSON
        | st.sampled_from(["2026-01-01", "12:00", "sNaN", "1e999999999", "\ud800", "====", [0, [1], "F"]])
        | st.dictionaries(st.sampled_from(["hex", "int", "bytes", "fields", "is_safe"]), _JSON | st.just("0" * 32)),
    }
)


@given(st.dictionaries(st.sampled_from([*_PARTS, "stamps", "expires"]), _TYPED), _TYPED, st.integers(0, 3))
def test_whatever_type_it_says_to_be_of(parts, typed, depth):
    """Kombu makes it of whatever stands there."""
    for _ in range(depth):
        typed = {"__type__": "uuid", "__value__": typed}
    plain = {"body": "x", "properties": {}}
    for payload in (typed, {**plain, **parts}, {**plain, "headers": {**parts, "anything": typed}}):
        with contextlib.suppress(UndecodableMessage):
            assert isinstance(envelope.decode(json.dumps(payload))["body"], str)


def test_a_type_that_nests_too_deep_is_refused():
    with pytest.raises(UndecodableMessage, match="not kombu's JSON"):
        envelope.decode('{"__type__":' * 50_000)


def test_what_there_is_no_memory_for_is_not_taken_for_undecodable(monkeypatch):
    def no_memory(_):
        raise MemoryError

    monkeypatch.setattr(envelope.json, "loads", no_memory)
    with pytest.raises(MemoryError):
        envelope.read("{}")


def test_the_reason_never_shows_the_content():
    """It goes into the log."""
    typed = made(headers={"at": {"__type__": "datetime", "__value__": "secret"}})
    for text in (
        "secret",
        typed,
        '{"secret": 1}',
        base64.b64encode(b"secret").decode(),
        made(headers={"task": ["secret"]}),
    ):
        with pytest.raises(UndecodableMessage) as refused:
            envelope.decode(text)
        assert "secret" not in str(refused.value)
