"""The consumer: whose requests it takes, and in which order it does what it was asked for."""

from __future__ import annotations

from celery.worker.request import Request as CeleryRequest

from app.base_task import Request
from app.consumer import Consumer, kept_by_ours


class Ours(Request):
    pass


class Theirs(CeleryRequest):
    def on_timeout(self, soft, timeout):
        return "theirs"


def test_celerys_own_requests_become_ours():
    assert kept_by_ours(CeleryRequest) is Request


def test_ours_and_what_derives_from_them_stay():
    assert kept_by_ours(Request) is Request
    assert kept_by_ours(Ours) is Ours


def test_others_keep_what_they_change_and_get_the_rest():
    mixed = kept_by_ours(Theirs)
    assert mixed.on_timeout is Theirs.on_timeout
    assert mixed.enter_pool is Request.enter_pool
    assert mixed.acknowledge is Request.acknowledge


def test_what_remote_control_asks_for_is_done_in_the_order_of_asking():
    consumer, done = Consumer.__new__(Consumer), []
    consumer.hub, consumer._pending_operations = None, []
    for name in ("cancel", "add", "cancel again"):
        consumer.call_soon(done.append, name)
    consumer.perform_pending_operations()
    assert done == ["cancel", "add", "cancel again"]
