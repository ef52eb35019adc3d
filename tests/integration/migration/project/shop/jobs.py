"""The project's tasks. Each says in the file SHOP_NOTES, as a line of JSON, what it was called with and where."""

from __future__ import annotations

import json
import os
import time

from celery import Task
from celery.exceptions import Reject

from shop.celery import app


class Job(Task):
    """The project's own base class."""

    abstract = True

    def note(self, name, **more):
        request = self.request
        line = {
            "name": name,
            "by": os.environ["SHOP_WORKER"],
            "id": request.id,
            "retries": request.retries,
            "tenant": getattr(request, "tenant", None),
            "stamps": request.stamps,
            "limit": (request.timelimit or [None])[0],
            "at": time.time(),
            **more,
        }
        with open(os.environ["SHOP_NOTES"], "ab", buffering=0) as file:  # noqa: PTH123 - unbuffered: processes share it
            file.write(json.dumps(line, default=str).encode() + b"\n")


@app.task(bind=True, base=Job)
def record(self, name, *args, **kwargs):
    self.note(name, args=args, kwargs=kwargs)


@app.task(bind=True, base=Job)
def slow(self, name, seconds):
    self.note(f"start of {name}")
    time.sleep(seconds)
    self.note(name)


@app.task
def add(one, other):
    return one + other


@app.task(bind=True, base=Job)
def total(self, result, name):
    self.note(name, args=[result])


@app.task
def pass_on(name):
    record.delay(name)


@app.task(bind=True, base=Job)
def again(self, name):
    if self.request.retries == 0:
        raise self.retry(countdown=1)
    self.note(name)


@app.task(bind=True, base=Job)
def refuse(self, name):
    self.note(name)
    raise Reject("not today", requeue=False)


@app.task(bind=True, base=Job, acks_on_failure_or_timeout=True)
def fail_once_and_for_all(self, name):
    self.note(name)
    raise ValueError(name)
