"""Sluice drains Amazon SQS into the service behind it.

The map, in the order in which a message meets it:

    SQS -> transport/ (engine, receiver, window, intake) -> consumer.py -> base_task.py -> pools/
        -> your function in tasks/ -> downstream -> outcome.py
        -> transport/ (custody, outbox): delete, come back later, or the dead-letter queue

    celery.py      the composition root: settings in, each part installed; nothing imports it
    loader.py      how the modules with tasks are imported
    worker.py      what a worker checks and says around its run
    refusals.py    what Celery may be told and nothing here would follow
    transport/     message in, ack out: kombu's SQS transport, receiving and settling in parts of our own
    consumer.py    Celery's consumer: what becomes of messages that it can make nothing of
    base_task.py   the base task, and what the worker keeps of a message while its task runs
    pools/         how much each pool runs at once, how it is killed, and what ours do otherwise
    autoscaler.py  Celery's, which sees what waits for the pool
    lease.py       what a task can know of its message's lease, in whatever process it runs
    outcome.py     what became of a message, as a small value
    drain.py       how a worker stops, from SIGTERM to its exit
    signals.py     what your code can hear of: a queue parked, an episode, a lost lease, the drain
    control/       the control link: remote control and events beside SQS
    report.py      what is in force here
    flower_guard.py   what Flower must be told before it listens
    resilience/    policies that know neither Celery nor SQS
    cli/           `celery -A app up | send | sqs | ...`, a command per file, imported when it is run
    sending/       a file of JSON lines into a queue
    local/         what `up` runs on this machine, and what it says of it
    supervisor/    how processes are started, watched and stopped; knows nothing of which
    testing/       what you need to test your own tasks: a local SQS server, a clock set by hand
    native.py      threads of the system's that step aside while the process forks
    shared_lock.py what these and gevent's greenlets both lock: logging
    errors.py clock.py parent.py   leaves

docs/transport.md goes through transport/ part by part.

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
