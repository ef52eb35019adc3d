"""What Celery may be told, by whatever module, and nothing here would follow: said at the worker's start.

What is asked for with a single call is refused when it is sent, by the channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.app.defaults import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Settings of Celery's that have no effect, and what to do instead. Only their defaults are taken.
_WITHOUT_EFFECT = {
    "broker_use_ssl": "AWS_ENDPOINT_URL_SQS says how SQS is reached",
    "task_queue_max_priority": "SQS has no order of priority; give what is urgent a queue and workers (-Q) of its own",
    "worker_direct": "SQS has no queue for each worker; add a queue to settings/queues.py, and consume from it with -Q",
    "worker_disable_prefetch": "with SLUICE_PREFETCH_SECONDS=0 a worker never holds more than runs",
    "worker_eta_task_limit": "what is not due waits in SQS, and takes no place here",
}
#: How the names of Celery's exchange and queues for events begin: by that the control link knows them (app/control).
_EVENTS = "celeryev"
#: All that `broker_transport_options` has (app/celery.py).
_TRANSPORT_OPTIONS = {"sqs", "control", "body_encoding"}
#: All that `accept_content` may have.
_JSON = {"json", "application/json"}


def check(conf: Any, **_: Any) -> None:
    """Refuse what cannot be had; a receiver of the signal `celeryd_init`.

    Raises:
        SystemExit: a sentence for each, with what to do. (Celery logs any other exception of a signal, and goes on.)
    """
    if getattr(conf, "sluice", None) is None:
        return  # another application's worker, which has imported ours
    if found := [*_settings(conf), *_brokers(conf), *_names(conf)]:
        raise SystemExit("\n".join(found))


def _settings(conf: Any) -> Iterator[str]:
    for name, instead in _WITHOUT_EFFECT.items():
        if conf[name] != DEFAULTS[name]:
            yield f"Celery's setting {name} has no effect on Sluice: leave it out; {instead}."
    if set(conf.accept_content) - _JSON:
        yield "Sluice's workers read JSON only (pickle runs what it is sent): leave accept_content at json."
    if conf.result_backend and conf.sluice.result_url is None:
        yield "Celery's setting result_backend is not enough to keep results: set SLUICE_RESULT_URL instead."


def _brokers(conf: Any) -> Iterator[str]:
    if conf.broker_url != "sqs://":
        yield "Celery's setting broker_url has no effect on Sluice: leave it out; the broker is SQS."
    if strange := sorted(set(conf.broker_transport_options) - _TRANSPORT_OPTIONS):
        yield (
            f"Sluice reads no {', '.join(strange)} from broker_transport_options: leave it out; docs/settings.md has "
            "what can be set."
        )


def _names(conf: Any) -> Iterator[str]:
    for name in ("event_exchange", "event_queue_prefix"):
        if not conf[name].startswith(_EVENTS):
            yield f"Celery's setting {name} must begin with {_EVENTS!r}: by that the control link knows it."
    for queue in conf.task_queues:
        if queue.exchange.type != "direct":
            yield (
                f"The exchange {queue.exchange.name!r} is of type {queue.exchange.type!r}, and SQS has queues only: "
                "make each queue a row of settings/queues.py, and send once for each."
            )
