"""docker-compose.yml, as far as it can be held to account without an engine: schema, references, commands."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from settings import load

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"


def test_the_compose_file_follows_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    answer = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def config(**environment: str) -> subprocess.CompletedProcess[str]:
    """What docker-compose makes of the file: variables put in, references followed. It needs no engine for that."""
    without = {key: value for key, value in os.environ.items() if key != "FLOWER_BASIC_AUTH"}
    return subprocess.run(
        ["docker-compose", "-f", str(COMPOSE), "config"],
        env=without | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def services() -> dict:
    answer = config(FLOWER_BASIC_AUTH="me:secret")
    assert answer.returncode == 0, answer.stderr
    return YAML(typ="safe").load(answer.stdout)["services"]


@pytest.mark.needs("docker-compose")
def test_the_containers_environments_are_settings_that_we_accept(services):
    for name in ("worker", "flower", "queues"):
        environment = {key: str(value) for key, value in services[name]["environment"].items()}
        settings = load(environment)
        assert [queue.name for queue in settings.queues] == ["sluice"]
        assert settings.control_url is not None


@pytest.mark.needs("docker-compose")
def test_the_containers_commands_are_commands_that_we_have(services):
    for name in ("downstream", "queues"):
        command, *arguments = services[name]["command"]
        assert command == name
        real = importlib.import_module(f"app.cli.{name}").command
        real.make_context(command, list(arguments))  # raises click.UsageError at an option that is not there


@pytest.mark.needs("docker-compose")
def test_flower_is_published_on_loopback_only_and_has_a_login(services):
    assert all(str(port).startswith("127.0.0.1:") for port in services["flower"]["ports"])
    assert services["flower"]["environment"]["FLOWER_BASIC_AUTH"] == "me:secret"
    assert [name for name, service in services.items() if service.get("ports")] == ["flower"]


@pytest.mark.needs("docker-compose")
def test_without_a_login_for_flower_nothing_starts():
    answer = config()
    assert answer.returncode != 0
    assert "set it to user:password" in answer.stderr
