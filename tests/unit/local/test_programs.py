"""What runs, and how it is stopped."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from app.local import programs
from app.local.options import Options
from app.supervisor.program import AddressFile, LogLine

FOLDER = Path("/runs/up")


def words(program) -> str:
    return " ".join(program.command()[3:])  # without `python -m celery`


def test_the_embedded_servers_take_free_ports_and_end_with_us():
    options = Options(events=0, latency=5.0, error_rate=0.05, slow_rate=0.1, rate_limit=50.0, round_trip=30.0)
    sqs, valkey, downstream = programs.servers(options, folder=FOLDER, environment={})
    common = "--port 0 --address-file /runs/up/{0}.address --exit-with-parent"
    assert words(sqs) == f"-A app sqs {common.format('sqs')} --round-trip 30"
    assert words(valkey) == f"-A app valkey {common.format('valkey')}"
    how = "--latency 5 --error-rate 0.05 --slow-rate 0.1 --rate-limit 50"
    assert words(downstream) == f"-A app downstream {common.format('downstream')} {how}"
    assert [server.restarts for server in (sqs, valkey, downstream)] == [None] * 3
    assert sqs.ready == AddressFile(FOLDER / "sqs.address")


def test_the_events_are_written_meanwhile_and_that_ends_by_itself():
    *_, sample = programs.servers(Options(events=5, seed=7), folder=FOLDER, environment={})
    assert words(sample) == "-A app sample 5 --seed 7 --out /runs/up/events.jsonl"
    assert sample.ends
    assert isinstance(sample.ready, LogLine)
    assert not sample.ready.pattern.search("anything at all")


def test_a_worker_has_its_drain_timeout_before_it_is_hurried_and_is_restarted():
    [worker] = programs.workers(Options(pool="gevent", concurrency=9), drain_timeout=30.0, environment={"A": "b"})
    assert words(worker) == "-A app worker -E -P gevent -c 9 -l INFO -n worker@%h"
    assert [step.signal for step in worker.stop] == [signal.SIGTERM, signal.SIGQUIT]
    assert worker.stop[0].patience > 30.0
    assert worker.restarts == 5
    assert worker.environment == {"A": "b"}


def test_several_workers_have_names_of_their_own_and_know_their_own_readiness():
    first, second = programs.workers(Options(workers=2), drain_timeout=30.0, environment={})
    assert [first.name, second.name] == ["worker1", "worker2"]
    line = "[2026-01-31 12:00:00,000: INFO/MainProcess] worker2@host.example ready."
    assert second.ready.pattern.search(line)
    assert not first.ready.pattern.search(line)


@pytest.mark.parametrize(("pool", "places"), [("prefork", 8), ("gevent", 50), ("threads", 16), ("solo", 1)])
def test_each_pool_has_a_concurrency_that_suits_it(pool, places):
    assert Options(pool=pool).places == places
    assert Options(pool=pool, concurrency=3).places == 3


def test_flower_is_asked_for_a_port_anew_at_each_start(monkeypatch):
    ports = iter([5555, 5557])
    monkeypatch.setattr(programs, "free_port", lambda host, first: next(ports))
    flower = programs.flower(Options(flower_address="::1"), environment={})
    assert words(flower) == "-A app flower --address=::1 --port=5555 --logging=info"
    assert words(flower) == "-A app flower --address=::1 --port=5557 --logging=info"
    found = flower.ready.pattern.search("[I 260131 12:00:00 command:177] Visit me at http://127.0.0.1:5557")
    assert found[1] == "http://127.0.0.1:5557"


def test_the_real_input_is_sent_as_events():
    sender = programs.sender(folder=FOLDER, environment={})
    assert words(sender) == "-A app send /runs/up/events.jsonl --task tasks.events.post"
    assert sender.ends


def test_they_are_the_programs_of_the_procfiles():
    """`up` runs what Procfile.dev runs, and production what Procfile runs: none is forgotten in one of them."""
    options = Options(events=0)
    servers = programs.servers(options, folder=FOLDER, environment={})
    production = [
        *programs.workers(options, drain_timeout=1.0, environment={}),
        programs.flower(options, environment={}),
    ]
    for file, expected in (("Procfile", production), ("Procfile.dev", servers + production)):
        lines = (Path(__file__).parents[3] / file).read_text().splitlines()
        found = {line.partition(":")[0] for line in lines if not line.startswith("#")}
        assert found == {program.name for program in expected}
