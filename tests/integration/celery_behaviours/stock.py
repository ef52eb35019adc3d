"""Plain Celery on Redis, as its documentation has it: `celery -A stock worker`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import Queue


def application(broker: str, results: str) -> Celery:
    """A Celery application on that Redis; JSON only and late acks, as Sluice's."""
    told: dict[str, Any] = {
        "broker_url": broker,
        "result_backend": results,
        "imports": ["behaviours"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_default_queue": "sluice",
        "task_queues": [Queue("sluice")],
        "task_create_missing_queues": False,
        "accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
    }
    app = Celery("stock", set_as_current=False)
    app.conf.update(told)
    return app


if "STOCK_BROKER" in os.environ:
    app = application(os.environ["STOCK_BROKER"], os.environ["STOCK_RESULTS"])
    app.set_default()
