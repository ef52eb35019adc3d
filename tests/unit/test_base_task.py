"""The base task: what it hides, which limits hold."""

from __future__ import annotations

import pickle
from functools import partial
from types import SimpleNamespace

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated, WorkerLostError
from celery import Celery
from celery.concurrency.base import BasePool
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded, TaskRevokedError
from celery.worker.request import create_request_cls

from app import outcome
from app.base_task import HIDDEN, Request, Task
from app.outcome import LOST, reject, retry
from app.pools.contained import KILLED
from app.pools.prefork import Worker


class Message:
    """As much of a kombu message as a request needs."""

    content_type, content_encoding, properties, delivery_info = "application/json", "utf-8", {}, {}

    def __init__(self, **headers):
        self.payload = [["secret"], {"also": "secret"}, {}]
        self.body = "body"
        self.headers = {
            "id": "1",
            "task": "t",
            "argsrepr": "('secret',)",
            "kwargsrepr": "{'also': 'secret'}",
            **headers,
        }


class Pool:
    def apply_async(self, *_, **options):
        self.options = options


class Eventer:
    enabled = True

    def __init__(self):
        self.sent = []

    def send(self, kind, **fields):
        self.sent.append((kind, fields))


@pytest.fixture
def app():
    return Celery("test", task_cls=Task, set_as_current=False, broker="memory://")


def nothing(*_):
    """What the tasks of these tests do."""


class Delivery:
    """A request on its way, with what it did to its message."""

    def __init__(self, app, headers=(), **options):
        options = {"acks_late": True, "acks_on_failure_or_timeout": False, "reject_on_worker_lost": True, **options}
        task = app.task(name="t", **options)(nothing)
        self.settled, self.eventer, self.pool = [], Eventer(), Pool()
        self.request = create_request_cls(Request, task, self.pool, "host", self.eventer, app=app)(
            Message(**dict(headers)),
            on_ack=lambda *_: self.settled.append("ack"),
            on_reject=lambda *_: self.settled.append("reject"),
            app=app,
            task=task,
            hostname="host",
            eventer=self.eventer,
        )


def test_arguments_and_results_are_hidden_whatever_the_producer_wrote(app):
    delivery = Delivery(app)
    told = delivery.request.info(safe=True)
    delivery.request.on_success((0, "the secret result", 0.1))
    assert (delivery.request.argsrepr, delivery.request.kwargsrepr) == (HIDDEN, HIDDEN)
    assert "secret" not in f"{told} {delivery.eventer.sent}"
    assert delivery.eventer.sent[-1][1]["result"] == HIDDEN


def test_a_task_may_allow_them(app):
    delivery = Delivery(app, show_arguments=True)
    delivery.request.on_success((0, "the result", 0.1))
    assert delivery.request.argsrepr == "('secret',)"
    assert delivery.request.info()["args"] == ["secret"]
    assert delivery.eventer.sent[-1][1]["result"] == "the result"


@pytest.mark.parametrize(
    ("options", "headers", "limits"),
    [
        ({}, {}, (None, None)),
        ({}, {"timelimit": [None, None]}, (None, None)),
        ({"time_limit": 5}, {}, (5, 4.5)),
        ({"time_limit": 600}, {}, (600, 570)),
        ({"time_limit": 5, "soft_time_limit": 3}, {}, (5, 3)),
        ({"time_limit": 5, "soft_time_limit": 8}, {}, (5, 4.5)),
        ({"soft_time_limit": 3}, {}, (None, 3)),
        ({}, {"timelimit": [10, None]}, (10, 9)),
        ({"soft_time_limit": 870}, {"timelimit": [10, None]}, (10, 9)),
        ({"time_limit": 5}, {"timelimit": [None, 2]}, (5, 2)),
        ({"soft_time_limit": 1200}, {}, (None, 870)),
        ({"time_limit": "20", "soft_time_limit": "10"}, {}, (20, 10)),
        ({"time_limit": "5"}, {}, (5, 4.5)),
        ({}, {"timelimit": [None, 1200]}, (None, 870)),
    ],
)
def test_a_hard_limit_has_a_soft_one_below_it(app, options, headers, limits):
    """Under prefork the hard one's time would only begin after the soft one's, which is the default of minutes."""
    app.conf.task_time_limit = 900
    assert Delivery(app, headers, **options).request.time_limits == limits


def raised(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    return ExceptionInfo((caught.type, caught.value, caught.tb))


@pytest.mark.parametrize("error", [ValueError(), MemoryError()])
def test_a_failure_is_rejected_and_never_acked(app, error):
    """For a MemoryError Celery would end the whole worker."""
    delivery = Delivery(app)
    delivery.request.on_success((1, raised(error), 0.1))
    assert delivery.settled == ["reject"]
    assert delivery.eventer.sent[-1][0] == "task-failed"


@pytest.mark.parametrize("error", [ValueError(), MemoryError()])
def test_a_failure_that_is_final_is_acked(app, error):
    delivery = Delivery(app, acks_on_failure_or_timeout=True)
    delivery.request.on_success((1, raised(error), 0.1))
    assert delivery.settled == ["ack"]
    assert delivery.eventer.sent[-1][0] == "task-failed"


def test_what_a_child_process_decided_holds_for_its_parent(app):
    """As much of an exception as can be pickled may say something else."""
    delivery = Delivery(app)
    info = raised(ValueError())
    info.outcome = reject("as decided")
    delivery.request.on_success((1, info, 0.1))
    assert delivery.request._outcome == reject("as decided")


@pytest.mark.parametrize(
    ("error", "decided"),
    [
        (ValueError("with content"), retry(reason="ValueError")),
        (Reject("no good"), reject("the task rejected it: no good")),
        (Reject(lambda: None), reject("the task rejected it: function")),
        (Reject(lambda: None, requeue=True), retry(reason="Reject")),
        (WorkerLostError(), LOST),
    ],
)
def test_it_decides_while_it_has_the_exception_and_what_it_decided_can_leave_the_process(error, decided):
    info = raised(error)
    Worker.prepare_result(None, (1, info, 0.1))
    assert outcome.of(pickle.loads(pickle.dumps(info))) == decided


class OfOneProcess(Exception):
    """Cannot be made again of what it has kept."""

    def __init__(self, number, *, text):
        super().__init__(number)
        self.text = text


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OfOneProcess(5, text="x"), "OfOneProcess(5)"),
        (ValueError(OfOneProcess(5, text="x")), "ValueError(OfOneProcess(5))"),
        (Retry("later", exc=OfOneProcess(5, text="x"), when=5), "OfOneProcess(5)"),
        (ValueError("plain"), "ValueError('plain')"),
    ],
)
def test_what_it_sends_can_be_read_by_a_process_that_has_not_the_exceptions_class(error, shown, monkeypatch):
    info = raised(error)
    Worker.prepare_result(None, (1, info, 0.1))
    sent = pickle.dumps(info)
    monkeypatch.delattr(f"{OfOneProcess.__module__}.OfOneProcess", raising=False)
    received = pickle.loads(sent)
    error = outcome.exception_in(received)
    assert repr(error.exc if isinstance(error, Retry) else error) == shown


@pytest.mark.parametrize("kind", [MemoryError, SystemExit, Ignore, Retry, Reject, SoftTimeLimitExceeded])
def test_what_celery_looks_for_in_the_parent_is_still_there(kind):
    info = raised(kind("x"))
    Worker.prepare_result(None, (1, info, 0.1))
    assert type(outcome.exception_in(pickle.loads(pickle.dumps(info)))) is kind


def test_of_a_task_that_succeeded_there_is_nothing_to_decide():
    assert Worker.prepare_result(None, (0, "result", 0.1)) == (0, "result", 0.1)
    assert Worker.prepare_result(None, None) is None


def test_what_a_pool_reports_of_a_task_that_left_by_system_exit_is_settled(app):
    """Celery's own would fail on it, and leave message and slot where they are."""
    delivery = Delivery(app)
    delivery.request.on_success(raised(OSError("worker lost")))
    assert delivery.settled == ["reject"]


@pytest.mark.parametrize(
    "end",
    [
        lambda request: request.on_success((0, None, KILLED)),  # as our gevent pool reports a killed greenlet
        lambda request: request.on_success((1, raised(ValueError("of its finally block")), 0.1)),
        lambda request: request.on_failure(raised(Terminated(15))),
        lambda request: request.on_failure(raised(WorkerLostError())),
        lambda request: request.on_success((0, "result", 0.1)),
    ],
)
@pytest.mark.parametrize("is_slow", [False, True])
def test_what_is_revoked_while_it_runs_is_done_with_whoever_reports_its_end_first(app, end, is_slow):
    delivery = Delivery(app)

    def terminate_job(*_):
        if not is_slow:
            end(delivery.request)
            assert delivery.settled == ["ack"]  # at once: what is unsettled when the pool has ended goes back

    delivery.pool.terminate_job = terminate_job
    delivery.request.on_accepted(1, 0.0)
    delivery.request.terminate(delivery.pool)
    if is_slow:
        end(delivery.request)
    assert delivery.settled == ["ack"]
    assert [kind for kind, _ in delivery.eventer.sent].count("task-revoked") == 1


def test_where_the_pool_kills_no_task_one_that_is_revoked_goes_on_and_is_settled_as_it_ends(app):
    delivery = Delivery(app)
    delivery.request.on_accepted(1, 0.0)
    with pytest.raises(NotImplementedError):
        delivery.request.terminate(BasePool())
    assert delivery.settled == []
    delivery.request.on_success((1, raised(ValueError()), 0.1))
    assert delivery.settled == ["reject"]


def test_and_so_does_one_that_is_revoked_before_it_begins(app):
    """In the pool's thread, where an error would be the last that is heard of it."""
    delivery = Delivery(app)
    delivery.request.terminate(BasePool())
    delivery.request.on_accepted(1, 0.0)
    delivery.request.on_success((0, "result", 0.1))
    assert delivery.settled == ["ack"]


def test_what_goes_wrong_before_the_pool_has_a_task_gives_its_place_back_and_the_message_comes_again(app, caplog):
    def fail(**_):
        raise TypeError("odd")

    request, settled = Delivery(app).request, []
    intake = SimpleNamespace(ended=lambda _: None)
    request.delivery = SimpleNamespace(enter_pool=fail, intake=intake, settle=settled.append)
    with pytest.raises(TaskRevokedError):  # the only one for which Celery's worker does so
        request.execute_using_pool(Pool())
    assert settled == [retry(reason="TypeError")]
    assert "could not be given" in caplog.text


def test_a_success_of_which_something_cannot_be_told_is_settled_all_the_same(app, monkeypatch, caplog):
    """Under threads, Celery's list of what was done may be changed by two of them at once."""

    def fail(*_, **__):
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setitem(globals(), "create_request_cls", partial(create_request_cls, task_ready=fail))
    delivery = Delivery(app)
    delivery.request.on_success((False, "result", 0.1))
    assert delivery.settled == ["ack"]
    assert "could not be told" in caplog.text


def test_a_failure_that_the_store_of_results_does_not_take_is_settled_all_the_same(app, monkeypatch):
    delivery = Delivery(app)
    monkeypatch.setattr(app.backend, "mark_as_failure", lambda *_, **__: 1 / 0)
    delivery.request.on_failure(raised(WorkerLostError()))
    delivery.request.on_failure(raised(ValueError()))
    assert delivery.settled == ["reject"]


def test_a_hard_time_limit_rejects_and_a_soft_one_leaves_it_to_the_task(app):
    delivery = Delivery(app)
    delivery.request.on_timeout(soft=True, timeout=1)
    assert delivery.settled == []
    delivery.request.on_timeout(soft=False, timeout=2)
    assert delivery.settled == ["reject"]


def test_and_so_it_does_when_that_cannot_be_told(app, monkeypatch):
    delivery = Delivery(app)
    monkeypatch.setattr(app.backend, "mark_as_failure", lambda *_, **__: 1 / 0)
    delivery.request.on_timeout(soft=False, timeout=2)
    assert delivery.settled == ["reject"]


def test_what_needed_no_run_since_its_result_is_known_is_done(app):
    """With `worker_deduplicate_successful_tasks` Celery reports it so; a killed greenlet is reported by us."""
    known, killed = Delivery(app), Delivery(app)
    known.request.on_success((0, None, None))
    killed.request.on_success((0, None, KILLED))
    assert (known.settled, killed.settled) == (["ack"], ["reject"])


@pytest.mark.parametrize(("shown", "told"), [(False, HIDDEN), (True, None)])
def test_arguments_are_written_into_the_message_once(app, shown, told, monkeypatch):
    """Not a second time for monitors to read, unless they may."""
    sent = {}
    monkeypatch.setattr(app, "send_task", lambda *_, **options: sent.update(options))
    app.task(name="t", show_arguments=shown)(nothing).delay("secret")
    assert (sent.get("argsrepr"), sent.get("kwargsrepr")) == (told, told)
