"""The Procfiles, as honcho runs them: what production runs, and all of it on one machine."""

from __future__ import annotations

import re
import signal
import socket
import sys
from pathlib import Path

import pytest
import urllib3

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
HONCHO = [sys.executable, "-m", "honcho", "start", "--no-colour", "--app-root", str(ROOT), "-f"]


@pytest.fixture
def on_path(monkeypatch):
    """The lines call `celery` as a shell finds it."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


@pytest.fixture
def on_free_ports(tmp_path):
    """A copy of Procfile.dev whose fixed ports, of which others may have some, are free ones."""

    def copy() -> tuple[Path, dict[str, int]]:
        text = (ROOT / "Procfile.dev").read_text()
        ports = {}
        for name, fixed in {"sqs": "9324", "valkey": "6399", "downstream": "8089"}.items():
            assert text.count(fixed) > 1, f"{name} is not on port {fixed}"
            ports[name] = free_port()
            text = text.replace(fixed, str(ports[name]))
        ports["flower"] = free_port()
        copied = tmp_path / "Procfile.dev"
        copied.write_text(text)
        return copied, ports

    return copy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lines(procfile: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z]+): (.*)$", procfile.read_text(), re.MULTILINE))


def workers_in_flower(port: int, login: str):
    url = f"http://127.0.0.1:{port}/api/workers?refresh=true"
    try:
        answer = urllib3.request("GET", url, headers=urllib3.make_headers(basic_auth=login), retries=False, timeout=10)
    except urllib3.exceptions.HTTPError:
        return None
    return answer.json() if answer.status == 200 else None


def answers(port: int) -> bool:
    """Whether it does, be it with a refusal."""
    try:
        urllib3.request("GET", f"http://127.0.0.1:{port}/", retries=False, timeout=5)
    except urllib3.exceptions.HTTPError:
        return False
    return True


def test_all_of_it_runs_from_procfile_dev_and_stops(on_path, on_free_ports, start):
    # Given all lines, started at once and in no order
    procfile, ports = on_free_ports()
    one = start(*HONCHO, str(procfile), FLOWER_PORT=str(ports["flower"]))
    # When all are up
    for name in ("sqs", "valkey", "downstream", "flower"):
        one.says(rf"{name}.1 +\| .*:{ports[name]}")
    one.says(r"worker.1 .* ready\.")
    # Then Flower sees the worker over the control link
    assert one.until(lambda: workers_in_flower(ports["flower"], "sluice:local"), "worker in Flower")
    # And after SIGTERM to all of them at once nothing is left
    one.end(signal.SIGTERM)
    one.leaves_nothing()


@pytest.mark.parametrize("name", ["sqs", "valkey", "downstream", "worker", "flower"])
def test_each_line_of_procfile_dev_works_on_its_own(on_path, on_free_ports, start, name):
    procfile, ports = on_free_ports()
    one = start("/bin/sh", "-c", lines(procfile)[name], FLOWER_PORT=str(ports["flower"]))
    one.says({"worker": r"receiving fails|Cannot connect|ready\."}.get(name, rf":{ports.get(name)}"))
    if name == "flower":
        # It ends by an exception out of its signal handler, which is lost where Python ignores exceptions (in a
        # callback of the garbage collector's, say), as it may happen while it still starts.
        one.until(lambda: answers(ports["flower"]), "Flower that answers")
    one.end(signal.SIGTERM)
    one.nothing_is_left()


def test_procfile_runs_what_production_runs(on_path, on_free_ports, start):
    # Given servers elsewhere, told by the environment
    procfile, ports = on_free_ports()
    servers = start(*HONCHO, str(procfile), "sqs", "valkey")
    servers.says(rf"valkey.1 +\| redis:.*:{ports['valkey']}")
    servers.says(rf"sqs.1 +\| http.*:{ports['sqs']}")
    # When the Procfile is run
    assert sorted(lines(ROOT / "Procfile")) == ["flower", "worker"]
    one = start(
        *HONCHO,
        str(ROOT / "Procfile"),
        AWS_ENDPOINT_URL_SQS=f"http://127.0.0.1:{ports['sqs']}",
        AWS_REGION="us-east-1",
        SLUICE_CONTROL_URL=f"redis://:local@127.0.0.1:{ports['valkey']}/0",
        FLOWER_PORT=str(ports["flower"]),
        FLOWER_BASIC_AUTH="me:mine",
    )
    # Then a worker and Flower run, and stop
    one.says(r"worker.1 .* ready\.")
    assert one.until(lambda: workers_in_flower(ports["flower"], "me:mine"), "worker in Flower")
    one.end(signal.SIGTERM)
    one.leaves_nothing()
    servers.end(signal.SIGTERM)
    servers.leaves_nothing()
