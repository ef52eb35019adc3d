"""Sluice drains Amazon SQS into the service behind it.

The map, in the order in which a message meets it:

    SQS -> transport/receiver -> transport/intake -> Celery (strategy, pool) -> your function in tasks/ -> downstream
        -> outcome -> transport/custody: delete, or come back later

    celery.py      the composition root: settings in, each part installed; nothing imports it
    base_task.py   the base task, and what the worker keeps of a message while its task runs
    consumer.py    Celery's consumer: what becomes of messages that it can make nothing of
    autoscaler.py  Celery's, which sees what waits for the pool
    worker.py      what a worker checks, logs and promises around its run
    loader.py      how the modules with tasks are imported
    report.py      what is in force here
    flower_guard.py   what Flower must be told before it listens
    transport/     message in, ack out: kombu's SQS transport, receiving and settling in parts of our own
    control/       the control link: remote control and events beside SQS
    resilience/    policies that know neither Celery nor SQS
    cli/           `celery -A app up | send | sqs | ...`, a command per file, imported when it is run
    sending/       a file of JSON lines into a queue
    local/         what `up` runs on this machine, and what it says of it
    supervisor/    how processes are started, watched and stopped; knows nothing of which
    testing/       what you need to test your own tasks: a local SQS server, a clock set by hand
    outcome.py lease.py errors.py clock.py parent.py native.py   leaves

This module is the one public door for authors of tasks: `from app import task`. It loads what is asked for, when it is
asked for, so that `import app.resilience` builds no Celery application.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.base_task import task

__all__ = ["task"]


def __getattr__(name: str) -> Any:
    if name != "task":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Who asks for `task` defines one, and wants `.delay` to find the broker in a plain program too.
    importlib.import_module("app.celery")
    return importlib.import_module("app.base_task").task
