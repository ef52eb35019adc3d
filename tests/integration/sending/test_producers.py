"""A process that only sends has no engine: it may be short, fork, have threads or none, or greenlets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import HERE, ROOT, python

PROGRAM = Path(__file__).parent / "producers.py"


@pytest.fixture
def run(sqs_server):
    sqs_server.create_queue("sluice")

    def run(*arguments, **environment):
        own = {"PYTHONPATH": f"{ROOT}:{HERE}", "AWS_ENDPOINT_URL_SQS": sqs_server.endpoint_url}
        done = python(PROGRAM, *arguments, **{**own, **environment})
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run


def names(queues):
    return sorted(json.loads(json.loads(sent)["body"])[0][0] for sent in queues.bodies("sluice"))


def test_a_script_sends_and_ends_without_a_thread_with_its_control_link_down(run, queues):
    found = run("script", SLUICE_CONTROL_URL="redis://127.0.0.1:1/0")
    assert found == {"threads": ["MainThread"], "native threads": 1, "engines": 0}
    assert names(queues) == ["script 0"]


@pytest.mark.parametrize("first", [pytest.param("after-an-import", marks=pytest.mark.long), "after-a-send"])
def test_a_server_that_forks_has_children_that_send_by_connections_of_their_own(first, run, queues):
    found = run("forks", first)
    assert found == {"threads": ["MainThread"], "native threads": 1, "engines": 0, "statuses": [0] * 4}
    expected = [f"child {child} {number}" for child in range(4) for number in range(3)]
    expected += [f"parent later {number}" for number in range(3)]
    expected += ["parent 0"] * (first == "after-a-send")
    assert names(queues) == sorted(expected)


@pytest.mark.long
def test_children_forked_while_threads_send_do_not_hang(run, queues):
    found = run("forks_beside_threads", PYTHONWARNINGS="ignore")
    assert found["statuses"] == [0] * 8
    assert {f"child {number} 0" for number in range(8)} <= set(names(queues))


def test_many_threads_send_at_once(run, queues):
    found = run("threads")
    assert found == {"threads": ["MainThread"], "native threads": 1, "engines": 0}
    assert names(queues) == sorted(f"thread {thread} {number}" for thread in range(8) for number in range(5))


def test_greenlets_send_at_once(run, queues):
    found = run("greenlets", PYTHONWARNINGS="ignore")
    assert found["engines"] == 0
    assert names(queues) == sorted(f"greenlet {greenlet} {number}" for greenlet in range(10) for number in range(2))
