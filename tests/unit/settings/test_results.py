"""SLUICE_RESULT_URL: a store that Celery does not know, or has no library for, is told at start, in a sentence."""

from __future__ import annotations

import sys

import pytest

from settings import SettingsError, load


def problem(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load({"SLUICE_RESULT_URL": url}, table=())
    assert "hunter2" not in str(caught.value)
    (found,) = caught.value.problems
    assert found.name == "SLUICE_RESULT_URL"
    return str(found)


@pytest.mark.parametrize(
    "url", ["foo://:hunter2@x", "foo+redis://:hunter2@x", "json://:hunter2@x", "REDIS://:hunter2@x"]
)
def test_a_scheme_that_celery_does_not_know_is_refused_with_those_it_knows(url):
    found = problem(url)
    assert "not a store of results that Celery knows" in found
    assert "mongodb, redis, rediss, s3" in found
    assert "rpc" not in found


def test_a_class_that_cannot_be_imported_is_refused():
    assert "the class that it names cannot be imported" in problem("no.such.module:Backend://:hunter2@x")
    assert "the class that it names cannot be imported" in problem("json.decoder://:hunter2@x")


def test_a_class_of_ones_own_is_taken():
    url = "celery.backends.filesystem:FilesystemBackend:///tmp/results"
    assert load({"SLUICE_RESULT_URL": url}, table=()).result_url.get_secret_value() == url


def test_a_store_whose_module_does_not_import_without_its_library_is_refused_with_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "celery.backends.database", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    assert "pip install 'celery[sqlalchemy]'" in problem("db+postgresql://u:hunter2@h/d")


def test_a_store_whose_module_imports_without_its_library_is_refused_with_the_extra(monkeypatch):
    from celery.backends import mongodb

    monkeypatch.setattr(mongodb, "pymongo", None)
    assert "pip install 'celery[mongodb]'" in problem("mongodb://u:hunter2@h/d")


def test_who_stores_no_results_does_not_wait_for_the_check(monkeypatch):
    monkeypatch.setitem(sys.modules, "celery.app.backends", None)
    assert load({}, table=()).result_url is None
