"""What Celery is told, each line with its reason. The rest is Celery's default, on purpose (see the end)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu import Exchange, Queue

if TYPE_CHECKING:
    from settings.environment import Settings


def celery_config(settings: Settings) -> dict[str, Any]:
    """Celery's settings, for `app.config_from_object`: a dict, so that no stray name of a module gets in.

    `broker_transport_options` is not here: app/celery.py makes it, since it is about our transport and not Celery.
    """
    has_results = settings.result_url is not None
    return {
        # -- The broker: ours, which knows its address from its options. ----------------------------------------------
        "broker_url": "sqs://",
        # By name, since kombu takes no class path in the URL, and settings import nothing of the application.
        "broker_transport": "app.control.transport:Transport",
        # A worker that starts before its broker, or outlives it for an hour, waits. Celery would end after 100 tries.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # -- Queues. --------------------------------------------------------------------------------------------------
        "task_default_queue": settings.default_queue,
        # Each with an exchange of its own name, as Celery makes them itself. Without one they would all hang on the
        # default exchange, under the default queue's routing key, and each message would go to all of them.
        "task_queues": [
            Queue(queue.name, Exchange(queue.name, type="direct"), routing_key=queue.name) for queue in settings.queues
        ],
        # A misspelt queue name is an error, in `-Q` as in `apply_async`, and not a queue that nobody reads.
        "task_create_missing_queues": False,
        # -- When a message is settled. -------------------------------------------------------------------------------
        # After the task and not before it, or a crash loses what was in work.
        "task_acks_late": True,
        # The message of a child that was killed comes back; the queue's maxReceiveCount ends that.
        "task_reject_on_worker_lost": True,
        # A failed task is not an acked task: Celery rejects, and our channel makes of that a delayed return.
        "task_acks_on_failure_or_timeout": False,
        # The lease hangs on a receipt handle and not on a connection: what runs goes on, and can still be acked.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Celery would count what it takes back by acks that go past it here, and hold less from then on.
        "worker_enable_prefetch_count_reduction": False,
        # -- What a message may hold. JSON only: pickle runs what it is sent. ----------------------------------
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_serializer": "json",
        "result_accept_content": ["json"],
        "event_serializer": "json",
        # What Celery can make nothing of stays in the queue and out of the log; its own consumer deletes some of it.
        "worker_consumer": "app.consumer:Consumer",
        # What waits for the pool is held back by the transport; its own autoscaler would see no reason to grow.
        "worker_autoscaler": "app.autoscaler:Autoscaler",
        # -- How much a worker takes. ---------------------------------------------------------------------------------
        "worker_prefetch_multiplier": settings.prefetch_multiplier,
        # Every task ends: one that hangs would keep its place and its message for ever. The task's own limits win.
        "task_time_limit": settings.task_time_limit,
        "task_soft_time_limit": settings.task_soft_time_limit,
        # Children of a busy machine need their time to start; Celery kills them after 4 s, and again, and again.
        "worker_proc_alive_timeout": 30.0,
        # -- Stopping. Soft shutdown, which Celery's docs recommend for SQS, sleeps in the signal handler: under prefork
        #    no result is read meanwhile, under gevent it is refused (app/worker.py). SLUICE_DRAIN_TIMEOUT is ours.
        "worker_soft_shutdown_timeout": 0.0,
        "worker_enable_soft_shutdown_on_idle": False,
        # -- Results. Without a store nobody could read them, and each costs a write. ---------------------------------
        "result_backend": settings.result_url.get_secret_value() if settings.result_url else None,
        "task_ignore_result": not has_results,
        # One backend object for all threads and greenlets. Otherwise each greenlet looks it up anew, entry points and
        # all: 2.4 ms instead of 0.4 ms a task under gevent, even without results.
        "result_backend_thread_safe": True,
        # One that stands still must not stop whoever stores a result for long, and with prefork that may be the main
        # process. Celery would wait for 120 s, twenty times.
        "redis_socket_timeout": 5.0,
        "redis_socket_connect_timeout": 5.0,
        "result_backend_transport_options": {"retry_policy": {"timeout": 10.0}},
        # STARTED would be a second write per task; Flower sees starts by events.
        "task_track_started": False,
        # -- Remote control and events: over the control link, where there is one. ------------------------------------
        "worker_enable_remote_control": settings.control_url is not None,
        # Some four events a message. `-E`, or Flower's button, turns them on while somebody looks.
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        # -- Sending. Bounded: `delay` stands in somebody's web request. Three tries more, 1.2 s of waits. ----------
        "task_publish_retry": True,
        "task_publish_retry_policy": {
            "max_retries": 3,
            "interval_start": 0.1,
            "interval_step": 0.3,
            "interval_max": 1.0,
        },
        # -- Where the tasks are. -------------------------------------------------------------------------------------
        "imports": settings.task_modules,
    }


# Left at Celery's default after a look:
#   worker_hijack_root_logger (on): the worker's process is ours, and `--loglevel` and `--logfile` keep their meaning
#   worker_redirect_stdouts (on): a task's print() becomes a log line with its time and process
#   worker_deduplicate_successful_tasks (off): it reads results, which are off unless asked for
#   worker_eta_task_limit (none): it caps the whole prefetch window, and shrinks one that was larger
