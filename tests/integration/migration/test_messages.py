"""What one writes the other reads, in both directions: every kind of message that Celery's producers send."""

from __future__ import annotations

import time
import uuid

import pytest
from environments import python_environment

ODD_OPTIONS = {"id as UUID", "id as number", "limit as text"}
SENT = {
    "plain",
    "headers",
    "countdown",
    "eta",
    "still good",
    "limit",
    "urgent",
    "retried",
    "passed on",
    "chain",
    "group 0",
    "group 1",
    "group 2",
    "link",
    "header as time",
    "stamp as time",
    *ODD_OPTIONS,
}


@pytest.mark.parametrize(
    ("producer", "base64", "worker"),
    [
        pytest.param("stock", "yes", "sluice", id="stock to Sluice"),
        pytest.param("stock", "no", "sluice", id="stock without base64 to Sluice", marks=pytest.mark.long),
        pytest.param("sluice", "yes", "stock", id="Sluice to stock"),
        pytest.param("sluice", "yes", "sluice", id="Sluice to Sluice"),
    ],
)
def test_every_kind_of_message_is_worked_off_once_and_as_it_was_meant(producer, base64, worker, shop, queues):
    send_and_work_off(shop, queues, producer, worker, SHOP_BASE64=base64)


@pytest.mark.long
@pytest.mark.parametrize(("producer", "worker"), [("stock", "sluice"), ("sluice", "stock")])
def test_so_it_is_with_celery_5_3(producer, worker, shop, queues):
    """Its kombu knows fewer names for how a body is encoded."""
    shop.stock_python = str(python_environment("celery53") / "bin" / "python")
    send_and_work_off(shop, queues, producer, worker)


def send_and_work_off(shop, queues, producer, worker, **environment):
    sent = time.time()
    shop.send(producer, "all", **environment)
    shop.start(worker)
    shop.wait_for(SENT)
    queues.wait_until_empty("orders")

    assert sorted(shop.names) == sorted(SENT)
    assert {note["by"] for note in shop.notes} == {worker}
    plain = shop.note("plain")
    assert (plain["args"], plain["kwargs"]) == ([1, [2.5, None]], {"text": "Zoë"})
    assert shop.note("headers")["tenant"] == "north"
    assert shop.note("countdown")["at"] >= sent + 2
    assert shop.note("eta")["at"] >= sent + 2
    assert shop.note("limit")["limit"] == 30
    assert shop.note("retried")["retries"] == 1
    assert shop.note("chain")["args"] == [3]
    assert shop.note("link")["args"] == [4]
    assert shop.note("header as time")["tenant"] == "2026-01-01 00:00:00+00:00"
    assert shop.note("stamp as time")["stamps"] == {"when": "2026-01-01 00:00:00+00:00"}
    check_odd_options(shop)
    assert queues.bodies("orders-dead") == []


@pytest.mark.parametrize(
    ("producer", "worker"),
    [("stock", "sluice"), *(pytest.param("sluice", worker, marks=pytest.mark.long) for worker in ("sluice", "stock"))],
)
def test_so_it_is_by_the_older_protocol(producer, worker, shop, queues):
    """Celery's first, in which ids and time limits stand in the inner body."""
    shop.send(producer, "older")
    shop.start(worker)
    shop.wait_for(ODD_OPTIONS)
    queues.wait_until_empty("orders")

    assert sorted(shop.names) == sorted(ODD_OPTIONS)
    check_odd_options(shop)
    assert queues.bodies("orders-dead") == []


def check_odd_options(shop):
    assert shop.note("id as UUID")["id"] == str(uuid.UUID(int=5))
    assert str(shop.note("id as number")["id"]) == "12345"
    assert float(shop.note("limit as text")["limit"]) == 30
