"""Bodies that nobody should send: none ends a worker, takes a slot for good, is deleted, or is shown in the log."""

from __future__ import annotations

import base64
import json

import pytest
from harness import body, until

SECRET = "what-nobody-may-read"


def with_headers(**headers):
    return body("probe.work", [SECRET], headers=headers)


def with_inner(inner, **outer):
    envelope = json.loads(body("probe.work"))
    return json.dumps({**envelope, "body": inner, **outer})


def without(path):
    envelope = json.loads(body("probe.work", [SECRET]))
    *to, last = path.split(".")
    part = envelope
    for name in to:
        part = part[name]
    del part[last]
    return json.dumps(envelope)


POISON = {
    "properties are a number": '{"properties": 5}',
    "plain JSON": json.dumps({"event": SECRET}),
    "a JSON list": json.dumps([SECRET]),
    "a JSON string": json.dumps(SECRET),
    "nearly nothing": "{}",
    "a blank": " ",
    "text": f"hello {SECRET}",
    "deep nesting": "[" * 200_000,
    "deep nesting of objects": '{"properties":' * 50_000,
    "base64 of no JSON": base64.b64encode(SECRET.encode()).decode(),
    "base64 of deep nesting": base64.b64encode(b"[" * 200_000).decode(),
    "inner body is deep nesting": with_inner("[" * 200_000),
    "inner body is no JSON": with_inner(SECRET),
    "inner body is an object": with_inner(json.dumps({"no": SECRET})),
    "inner body is not base64": with_inner(f"!{SECRET}", properties={"body_encoding": "base64"}),
    "args are an object": with_inner(json.dumps([{"name": SECRET}, {}, {}])),
    "kwargs are a list": with_inner(json.dumps([[], [SECRET], {}])),
    "embed is a number": with_inner(json.dumps([[SECRET], {}, 5])),
    "args by name are an object": with_inner(json.dumps({"task": "probe.work", "id": "1", "args": {"name": SECRET}})),
    "pickle": with_inner("gAR9lC4=", **{"content-type": "application/x-python-serialize"}),
    "unknown content type": with_inner(SECRET, **{"content-type": "application/x-unknown"}),
    "unknown compression": with_headers(compression="zip-me"),
    "unknown task": body("probe.nobody_knows_this", [SECRET], {"password": SECRET}, headers={"argsrepr": SECRET}),
    "task is a list": with_headers(task=["probe.work"]),
    "no id": without("headers.id"),
    "no headers": without("headers"),
    "time limit is a number": with_headers(timelimit=5),
    "time limits are words": with_headers(timelimit=["soon", "later"]),
    "retries are words": with_headers(retries="many"),
    "a header is no time, and says it is": with_headers(at={"__type__": "datetime", "__value__": SECRET}),
    "a header's type is a list": with_headers(at={"__type__": [SECRET], "__value__": SECRET}),
    "the envelope is bytes": json.dumps({"__type__": "bytes", "__value__": SECRET}),
    "eta is no time": with_headers(eta="tomorrow"),
    "eta is before all times": with_headers(eta="0001-01-01T00:00:00+14:00"),
    "expires is no time": with_headers(expires={"in": 5}),
    "wrong number of arguments": body("probe.work", [SECRET, 0, 0, 0, 0]),
    "huge headers": body("probe.nobody_knows_this", headers={"x": SECRET * 20_000}),
}


#: These come back: the first two since another worker may know the task, the other as any task that fails.
COMES_BACK = {"unknown task", "huge headers", "wrong number of arguments"}


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_poison_goes_to_the_dead_letter_queue_at_once_and_the_worker_works_on(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=3)
    worker = start_worker("-P", pool, "-c", 2, environment={"SLUICE_RETRY_BACKOFF": "0.1"})

    queues.send(*POISON.values())
    queues.wait_until_empty()
    fine = [f"fine-{n}" for n in range(30)]
    queues.send(*(body("probe.work", [name]) for name in fine))

    worker.wait_for_notes("end", fine)
    queues.wait_until_empty()
    assert worker.is_alive
    letters = queues.letters("sluice-dead")
    assert sorted(body for body, _ in letters) == sorted(POISON.values())
    for name, text in POISON.items():
        [note] = [note for body, note in letters if body == text]
        if name in COMES_BACK:
            assert note is None, name  # SQS itself moved it
        else:
            assert (note["queue"], note["receive_count"]) == ("sluice", 1), name
            assert note["reason"], name
    assert SECRET not in worker.log
    assert SECRET not in str([note for _, note in letters])
    assert worker.log.count("sent to its dead-letter queue") == len(POISON) - len(COMES_BACK)
    assert worker.log.count("has a task") == 3 * 2
    assert worker.log.count("Traceback") == 3
    assert SECRET not in worker.notes("start")


@pytest.mark.parametrize("pool", ["prefork", pytest.param("gevent", marks=pytest.mark.long)])
def test_what_the_pool_cannot_be_given_comes_back_later_and_keeps_no_place_of_it(pool, start_worker, queues):
    queues.server.create_queue("sluice", max_receives=50)
    worker = start_worker("-P", pool, "-c", 1, environment={"SLUICE_RETRY_BACKOFF": "120"})
    queues.send(body("probe.unfit"), body("probe.unfit"))
    worker.wait_for("The pool could not be given task probe.unfit", times=2)
    queues.send(body("probe.work", ["after"]))
    worker.wait_for_notes("end", ["after"])
    assert worker.notes("start") == ["after"]
    until(lambda: queues.left() == 2, "two messages that come back")
    assert queues.server.queues["sluice"]["visible"] == 0
