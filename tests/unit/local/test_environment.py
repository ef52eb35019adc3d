"""What the programs of `up` are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.local.environment import Addresses, exports, make, take_up

ADDRESSES = Addresses("http://127.0.0.1:1", "redis://:secret@127.0.0.1:2/0", "http://127.0.0.1:3")


def made(caller: dict[str, str] | None = None, *, visibility_timeout: int | None = None):
    return make(caller or {}, ADDRESSES, visibility_timeout=visibility_timeout, flower_password="pass")


def test_the_embedded_servers_are_named_and_what_is_needed_has_a_default():
    assert made().variables == {
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1",
        "AWS_REGION": "us-east-1",
        "SLUICE_CONTROL_URL": "redis://:secret@127.0.0.1:2/0",
        "SLUICE_DOWNSTREAM_URL": "http://127.0.0.1:3",
        "SLUICE_VISIBILITY_TIMEOUT": "30",
        "FLOWER_BASIC_AUTH": "sluice:pass",
        "PYTHONUNBUFFERED": "1",
    }
    assert made().overridden == ()


def test_the_callers_own_settings_are_kept():
    caller = {
        "AWS_REGION": "eu-west-1",
        "SLUICE_VISIBILITY_TIMEOUT": "7",
        "SLUICE_DRAIN_TIMEOUT": "3",
        "FLOWER_BASIC_AUTH": "me:mine",
        "PATH": "/bin",
    }
    assert caller.items() <= made(caller).variables.items()
    assert made(caller).overridden == ()


def test_an_option_wins_over_the_environment_and_that_is_told():
    found = made({"SLUICE_VISIBILITY_TIMEOUT": "7"}, visibility_timeout=5)
    assert found.variables["SLUICE_VISIBILITY_TIMEOUT"] == "5"
    assert found.overridden == ("SLUICE_VISIBILITY_TIMEOUT",)


def test_nothing_leads_to_the_callers_own_servers_and_account_and_that_is_told():
    found = made(
        {
            "AWS_ENDPOINT_URL_SQS": "https://sqs.eu-west-1.amazonaws.com",
            "SLUICE_CONTROL_URL": "redis://production:6379/0",
            "SLUICE_DOWNSTREAM_URL": "https://production/",
            "AWS_PROFILE": "production",
        }
    )
    assert found.overridden == ("AWS_ENDPOINT_URL_SQS", "AWS_PROFILE", "SLUICE_CONTROL_URL", "SLUICE_DOWNSTREAM_URL")
    assert "production" not in str(found.variables)
    assert "amazonaws" not in str(found.variables)


def test_an_empty_variable_is_as_good_as_none():
    found = made({"AWS_REGION": "", "SLUICE_CONTROL_URL": "", "FLOWER_BASIC_AUTH": ""})
    assert found.variables["AWS_REGION"] == "us-east-1"
    assert found.variables["FLOWER_BASIC_AUTH"] == "sluice:pass"
    assert found.overridden == ()


def test_boto3s_own_name_of_the_region_counts():
    assert made({"AWS_DEFAULT_REGION": "eu-north-1"}).variables["AWS_REGION"] == "eu-north-1"


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_a_proxy_is_not_asked_for_this_machine(name):
    found = made({"http_proxy": "http://proxy:3128", name: "internal"}).variables
    assert found["no_proxy"] == found["NO_PROXY"] == "internal,127.0.0.1,localhost"


def test_another_terminal_gets_the_addresses_and_not_the_rest():
    text = exports(made({"PATH": "/bin", "SLUICE_QUEUE": "it's mine"}))
    assert "export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:1\n" in text
    assert "export SLUICE_CONTROL_URL=redis://:secret@127.0.0.1:2/0\n" in text
    assert """export SLUICE_QUEUE='it'"'"'s mine'\n""" in text
    assert "PATH" not in text
    assert "FLOWER" not in text


def test_what_another_terminal_is_to_type_is_quoted():
    assert take_up(Path("/runs/up/up.env")) == ". /runs/up/up.env"
    assert take_up(Path("/my runs/$x/up.env")) == ". '/my runs/$x/up.env'"
