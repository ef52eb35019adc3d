"""Sends what the arguments name: `all`, `older`, `many NAME COUNT`, `delayed NAME SECONDS`, ….

Which Celery application sends it, SHOP_ON says (shop/celery.py).
"""

from __future__ import annotations

import datetime as dt
import sys
import uuid

from celery import group
from shop import jobs

NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def send_all():
    """One message of each kind."""
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    jobs.record.delay("plain", 1, [2.5, None], text="Zoë")
    jobs.record.apply_async(["headers"], headers={"tenant": "north"})
    jobs.record.apply_async(["countdown"], countdown=2)
    jobs.record.apply_async(["eta"], eta=soon)
    jobs.record.apply_async(["still good"], expires=600)
    jobs.record.apply_async(["too old"], expires=0.01)
    jobs.record.apply_async(["limit"], time_limit=30, soft_time_limit=20)
    jobs.record.apply_async(["urgent"], priority=9)
    jobs.again.delay("retried")
    jobs.pass_on.delay("passed on")
    (jobs.add.s(1, 2) | jobs.total.s("chain")).delay()
    group(jobs.record.s(f"group {number}") for number in range(3)).delay()
    jobs.add.apply_async([2, 2], link=jobs.total.s("link"))
    send_odd_options()
    jobs.record.apply_async(["header as time"], headers={"tenant": NEW_YEAR})
    jobs.record.s("stamp as time").stamp(when=NEW_YEAR).apply_async()


def send_odd_options():
    """Options that are not of the kind that they should be: Celery does not mind."""
    jobs.record.apply_async(["id as UUID"], task_id=uuid.UUID(int=5))
    jobs.record.apply_async(["id as number"], task_id=12345)
    jobs.record.apply_async(["limit as text"], time_limit="30")


def main(kind, *arguments):
    if kind == "all":
        send_all()
    elif kind == "older":
        jobs.app.conf.task_protocol = 1
        send_odd_options()
    elif kind == "many":
        name, count = arguments
        for number in range(int(count)):
            jobs.record.delay(f"{name} {number}")
    elif kind == "delayed":
        name, seconds = arguments
        jobs.record.apply_async([name], countdown=float(seconds))
    elif kind == "pickled":
        jobs.record.apply_async(arguments, serializer="pickle")
    elif kind == "slow":
        name, seconds = arguments
        jobs.slow.delay(name, float(seconds))
    else:
        getattr(jobs, kind).delay(*arguments)


main(*sys.argv[1:])
