"""The composition root: settings in, each part installed. It may import everything; nothing of ours imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery

from app import flower_guard, pools, report, worker
from app.control.link import LinkOptions
from app.drain import Drain
from app.transport import provision
from app.transport.options import Options, QueueOptions
from settings import SettingsError, load
from settings.celery import celery_config

if TYPE_CHECKING:
    from settings.environment import Settings
    from settings.queue import QueueSettings


class Sluice(Celery):
    """The Celery application."""

    task_cls = "app.base_task:Task"
    loader_cls = "app.loader:Loader"

    def bugreport(self) -> str:
        """What `celery report` prints: checkout, endpoint, queues and versions in force, then Celery's own."""
        return f"{report.text(settings)}{super().bugreport()}"


def _queue_options(queue: QueueSettings) -> QueueOptions:
    return QueueOptions(
        name=queue.sqs_name,
        account=queue.address.account if queue.address else None,
        url=queue.url if queue.url and "://" in queue.url else None,
        visibility=queue.visibility,
        polls_min=queue.polls_min,
        polls_max=queue.polls_max,
        prefetch=queue.prefetch,
        max_age=queue.max_age,
    )


def _transport_options(settings: Settings) -> dict[str, Any]:
    return {
        "sqs": Options(
            endpoint_url=settings.aws_endpoint_url_sqs,
            region=settings.aws_region,
            queues={queue.name: _queue_options(queue) for queue in settings.queues},
            default=QueueOptions(
                visibility=settings.visibility_timeout, polls_min=settings.polls_min, polls_max=settings.polls_max
            ),
            make=tuple(provision.wanted(settings.queues)) if settings.is_local else (),
            wait=settings.poll_wait,
            prefetch_seconds=settings.prefetch_seconds,
            prefetch_bytes=settings.prefetch_bytes,
            settle_linger=settings.settle_linger,
            max_deaths=settings.max_worker_losses,
            retry_first=settings.retry_backoff,
            retry_most=settings.retry_backoff_max,
        ),
        "control": LinkOptions(settings.control_url.get_secret_value()) if settings.control_url else None,
        # The inner body as it is: JSON in JSON needs no base64 around it. Unnamed, since kombu before 5.4, which may
        # read the same queue, takes every name for one of its codecs.
        "body_encoding": None,
    }


try:
    settings = load()
except SettingsError as error:
    # Not an exception but an exit: `celery -A app` would print a traceback around what is the user's to mend.
    raise SystemExit(f"Sluice cannot start:\n{error}") from None

app = Sluice("sluice")
# Also for threads and greenlets other than the one that imports this: there Celery would make itself an application,
# whose broker is an AMQP server on this machine.
app.set_default()
app.config_from_object(celery_config(settings))
app.conf.broker_transport_options = _transport_options(settings)
app.conf.sluice = settings
pools.install()
worker.install(settings)
Drain(settings.drain_timeout).install(app.steps["worker"])
app.steps["consumer"].add("app.control.while_draining:WhileDraining")
flower_guard.install(settings)
