"""Which commands a worker that drains answers, and what it does with what is none."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker.control import Panel

from app.control.while_draining import WhileDraining

OTHER = {"body": "{}", "content-type": "application/x-other", "properties": {"delivery_tag": "1"}}


@pytest.fixture
def answering():
    app = Celery("test", set_as_current=False, broker="memory://")
    return WhileDraining(SimpleNamespace(app=app, hostname="worker@here"))


@pytest.fixture
def commands():
    """Commands that a test registers are gone after it."""
    kept = dict(Panel.data), dict(Panel.meta)
    yield Panel
    for table, before in zip((Panel.data, Panel.meta), kept, strict=True):
        table.clear()
        table.update(before)


@pytest.mark.parametrize("name", ["ping", "active", "dump_active", "stats", "query_task", "revoke", "terminate"])
def test_what_looks_and_what_revokes_is_celerys_own(answering, name):
    assert answering._node.handlers[name] is Panel.data[name]


@pytest.mark.parametrize("name", ["shutdown", "pool_grow", "pool_restart", "add_consumer", "rate_limit", "autoscale"])
def test_what_would_change_the_worker_is_refused_with_a_sentence(answering, name):
    assert "this worker is shutting down" in answering._node.handle(name, {"any": "argument"})["error"]


def test_a_projects_own_commands_are_told_apart_by_the_same(answering, commands):
    commands.register(type="inspect", name="depth", alias="how_deep")(lambda state: state.hostname)
    commands.register(type="control", name="flush")(lambda _: "flushed")
    assert answering._node.handle("how_deep") == answering._node.handle("depth") == "worker@here"
    assert "error" in answering._node.handle("flush")


@pytest.mark.parametrize(
    "payload", ["", "garbage", "5", "{}", "[]", '{"properties": 5}', '{"body": 5, "properties": {}}', json.dumps(OTHER)]
)
def test_what_is_no_command_is_one_line_of_the_log(answering, payload, caplog):
    answering._answer(payload)
    [record] = caplog.records
    assert "could not be used" in record.getMessage()
    assert record.exc_info is None
    assert ("ContentDisallowed" in record.getMessage()) is ("x-other" in payload)


def test_what_changes_while_it_is_looked_at_is_looked_at_again(answering):
    class Changing:
        looks = 0

        def __iter__(self):
            self.looks += 1
            yield self.looks
            if self.looks < 3:
                raise RuntimeError("Set changed size during iteration")

    assert answering._node.state.tset(Changing()) == {3}
