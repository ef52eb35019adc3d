"""The project's Celery application: stock, or Sluice's once the project has moved (SHOP_ON=sluice)."""

from __future__ import annotations

import os

from celery import Celery

if os.environ.get("SHOP_ON") == "sluice":
    from app.celery import app
else:
    app = Celery("shop", include=["shop.jobs"])
    app.conf.update(
        broker_url=os.environ.get("SHOP_BROKER_URL", "sqs://"),
        broker_transport_options={
            "region": "us-east-1",
            "is_secure": False,
            "wait_time_seconds": 1,
            "polling_interval": 0.1,
            "sqs_base64_encoding": os.environ.get("SHOP_BASE64") != "no",
        },
        broker_connection_retry_on_startup=True,
        task_default_queue="orders",
        task_acks_late=True,
        worker_prefetch_multiplier=4,
    )
