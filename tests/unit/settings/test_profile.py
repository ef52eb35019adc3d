"""AWS_PROFILE: one that the SDK does not find is told at start, since a worker would poll in vain for ever."""

from __future__ import annotations

import sys

import pytest

from settings import SettingsError, load

CONFIG = "[default]\nregion = eu-west-1\n[profile staging]\nregion = eu-west-1\n"


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config"
    path.write_text(CONFIG)
    credentials = tmp_path / "credentials"
    credentials.write_text("[billing]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    return path


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, table=())
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["default", "staging", "billing"])
def test_a_profile_that_is_there_is_taken(name, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", name)
    assert load({"AWS_PROFILE": name}, table=()).aws_profile == name


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nope")  # as in a worker, where the SDK sees it too
    (line,) = problems({"AWS_PROFILE": "nope"})
    assert line.startswith("AWS_PROFILE='nope': no such profile")
    assert "there are billing, default, staging: correct the name" in line


def test_without_any_profile_it_says_so(monkeypatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere/to/be/found")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/to/be/found")
    (line,) = problems({"AWS_PROFILE": "default"})
    assert "there are none: correct" in line


def test_a_file_that_cannot_be_read_is_named(config):
    config.write_text("[oops\n")
    (line,) = problems({"AWS_PROFILE": "staging"})
    assert line.startswith("AWS_PROFILE='staging': the profiles cannot be read")
    assert str(config) in line


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9324", "http://localhost:9324"])
def test_it_does_not_matter_where_sqs_is_on_this_machine(endpoint):
    assert load({"AWS_PROFILE": "nope", "AWS_ENDPOINT_URL_SQS": endpoint}, table=()).is_local


def test_it_matters_where_sqs_has_another_address():
    assert len(problems({"AWS_PROFILE": "nope", "AWS_ENDPOINT_URL_SQS": "https://vpce.example.com"})) == 1


def test_where_the_address_is_wrong_it_is_not_known_whether_it_matters():
    (line,) = problems({"AWS_PROFILE": "nope", "AWS_ENDPOINT_URL": "127.0.0.1:9324"})
    assert line.startswith("AWS_ENDPOINT_URL=")


def test_who_has_no_profile_does_not_wait_for_the_check(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    assert load({}, table=()).aws_profile is None
