from __future__ import annotations

import asyncio
import json

import pytest

from app.testing.clock import ManualClock
from app.testing.downstream import Behaviour, Downstream
from app.testing.http import Request


def post(service, event, target="/events"):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return service(Request(method="POST", target=target, body=body))


def get(service, target):
    return json.loads(service(Request(target=target)).body)


def test_an_event_is_taken_and_its_id_remembered():
    service = Downstream()
    assert post(service, {"id": "a", "name": "Zoë"}).status == 201
    assert get(service, "/ids") == ["a"]
    assert get(service, "/stats")["accepted"] == 1


def test_a_second_time_is_taken_too_and_counted_as_a_duplicate():
    service = Downstream()
    for event_id in ["a", "b", "a", "a"]:
        assert post(service, {"id": event_id}).status == 201
    stats = get(service, "/stats")
    assert (stats["accepted"], stats["duplicates"], stats["distinct_ids"]) == (4, 2, 2)
    assert get(service, "/ids") == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"id": 5}', b'{"id": ""}', b"\xff", b"[" * 100_000, b'{"id": "%s"}' % (b"x" * 257)],
    ids=range(9),
)
def test_what_is_no_event_is_refused(body):
    service = Downstream()
    assert post(service, body).status == 400
    assert service.stats()["refused"] == 1
    assert get(service, "/ids") == []


def test_an_error_takes_nothing_and_most_errors_are_503():
    service = Downstream(Behaviour(error_rate=0.5), seed=1)
    answered = [post(service, {"id": str(n)}).status for n in range(1000)]
    assert 400 < answered.count(201) < 600
    assert answered.count(503) > 3 * answered.count(500) > 0
    assert get(service, "/ids") == [str(n) for n, status in enumerate(answered) if status == 201]
    assert service.stats()["errors"] == 1000 - answered.count(201)


def test_chance_repeats_itself_for_a_seed():
    def answers(seed):
        service = Downstream(Behaviour(error_rate=0.3), seed=seed)
        return [post(service, {"id": "a"}).status for _ in range(100)]

    assert answers(5) == answers(5) != answers(6)


def test_the_error_rate_does_not_shift_which_answers_are_slow():
    def slow_ones(error_rate):
        service = Downstream(Behaviour(slow_rate=0.2, slow_latency_ms=9000, error_rate=error_rate), seed=5)
        return [service.decide()[1] for _ in range(200)]

    assert slow_ones(0.0) == slow_ones(0.9)
    assert 0 < slow_ones(0.0).count(9.0) < 80


def test_above_the_limit_the_answer_says_when_to_come_back():
    clock = ManualClock()
    service = Downstream(Behaviour(rate_limit=2), clock=clock)
    answers = [post(service, {"id": str(n)}) for n in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 429]
    assert dict(answers[2].headers)["Retry-After"] == "1"
    clock.advance(1.0)
    assert post(service, {"id": "2"}).status == 201
    assert service.stats()["limited"] == 1


def test_a_very_low_limit_says_how_long_it_takes():
    service = Downstream(Behaviour(rate_limit=0.1), clock=ManualClock())
    assert post(service, {"id": "a"}).status == 201
    assert dict(post(service, {"id": "b"}).headers)["Retry-After"] == "10"


def test_settings_change_while_it_runs_and_the_others_stay():
    service = Downstream(Behaviour(slow_rate=0.25, slow_latency_ms=0))
    assert post(service, {"error_rate": 1}, "/settings").status == 200
    assert get(service, "/settings")["slow_rate"] == 0.25
    assert post(service, {"id": "a"}).status in {500, 503}
    assert post(service, {"error_rate": 0}, "/settings").status == 200
    assert post(service, {"id": "a"}).status == 201


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"error_rate": 1.5}, "a share between 0 and 1"),
        ({"latency_ms": -1}, "0 or more"),
        ({"latency_ms": "5"}, "0 or more"),
        ({"latency_ms": True}, "0 or more"),
        ({"lateness": 5}, "lateness"),
        ([1], "latency_ms"),
        (b"{", "a JSON object"),
    ],
)
def test_settings_that_make_no_sense_change_nothing(change, reason):
    service = Downstream(Behaviour(slow_rate=0.25))
    answer = post(service, change, "/settings")
    assert answer.status == 400
    assert reason in json.loads(answer.body)["message"]
    assert service.behaviour == Behaviour(slow_rate=0.25)


def test_a_reset_forgets_what_happened_and_not_how_to_behave():
    service = Downstream(Behaviour(latency_ms=0, slow_rate=0.5, slow_latency_ms=0))
    post(service, {"id": "a"})
    assert post(service, b"", "/reset").status == 204
    assert set(service.stats().values()) == {0}
    assert service.behaviour.slow_rate == 0.5


def test_other_addresses_and_methods_are_told_what_there_is():
    service = Downstream()
    assert service(Request(target="/nowhere")).status == 404
    assert service(Request(target="/events")).status == 405
    assert b"POST /events" in service(Request(target="/")).body


def test_a_million_ids_are_one_list():
    service = Downstream()
    service.ids = dict.fromkeys(f"event-{n}" for n in range(1_000_000))
    assert get(service, "/ids")[999_999] == "event-999999"


def test_who_left_while_waiting_has_not_been_answered(monkeypatch):
    """Given a latency, when the client leaves before it is over, then the event has not arrived."""

    class Gone(Request):
        __slots__ = ()
        is_gone = True

    async def ask():
        service = Downstream(Behaviour(latency_ms=0.001))
        await service(Gone(method="POST", target="/events", body=b'{"id": "a"}'))
        return service.stats()

    stats = asyncio.run(ask())
    assert (stats["abandoned"], stats["accepted"], stats["distinct_ids"]) == (1, 0, 0)
