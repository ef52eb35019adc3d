"""A consumer that is no worker of Celery's: kombu's own."""

from __future__ import annotations

import datetime as dt

from harness import body
from kombu import Connection

from app.transport import Transport
from app.transport.options import Options


def test_a_plain_consumer_gets_a_message_at_once_whatever_its_headers_mean_to_celery(queues):
    queues.server.create_queue("sluice")
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    queues.send(body("probe.work", headers={"eta": due.isoformat()}))
    options = Options(endpoint_url=queues.server.endpoint_url, region="us-east-1", wait=1)
    with Connection("sqs://", transport=Transport, transport_options={"sqs": options}) as connection:
        message = connection.SimpleQueue("sluice").get(timeout=15)
        assert message.headers["eta"] == due.isoformat()
        assert dt.datetime.now(dt.UTC) < due
        message.ack()
    queues.wait_until_empty()
