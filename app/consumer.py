"""Celery's consumer, with other answers to messages that it can make nothing of.

Celery writes the whole message into the log and, if its body cannot be decoded, deletes it. Here its content stays
private, and it goes to the dead-letter queue with the reason. One that names a task unknown here comes back after a
growing delay, until a worker takes it that knows the task or the queue's redrive policy ends that.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.utils.imports import symbol_by_name
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.utils.limits import TokenBucket

from app import outcome
from app.base_task import Request
from app.pools import places

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery.worker.request import Request as CeleryRequest

logger = logging.getLogger(__name__)


def kept_by_ours(request: type[CeleryRequest]) -> type[CeleryRequest]:
    """A task's class of requests, as one that also keeps the message's lease and settles it.

    A task whose base class is Celery's own, or one derived from it, brings Celery's class: its messages would be taken
    for such as nobody has begun, and be handed back while they run.
    """
    if issubclass(Request, request):
        return Request
    return request if issubclass(request, Request) else type(request.__name__, (request, Request), {})


class Consumer(CeleryConsumer):
    """What takes messages from the transport and gives them to the pool."""

    #: The most messages held, as Celery keeps it; 0: no limit.
    initial_prefetch_count: int

    def __init__(self, *args: Any, **options: Any) -> None:
        #: The connection's, and those of earlier ones: their tasks may still run.
        self._transport: Any = None
        self._earlier: list[Any] = []
        self._is_draining = False
        #: What is to be called once a connection drains.
        self._then: list[Callable[[], None]] = []
        super().__init__(*args, **options)

    def connect(self) -> Any:
        """The connection to the broker, whose intake knows from now on how many tasks the pool runs at once."""
        connection = super().connect()
        transport = connection.transport
        transport.places = self._places
        transport.most_places = self._most_places
        transport.is_revoked = self.controller.state.revoked.__contains__
        if self._transport is not None:
            self._earlier = [each for each in (*self._earlier, self._transport) if each.in_pool]
        for each in self._earlier:
            each.when_place_is_free(transport.fill_places)
        self._transport = transport
        if self._is_draining:  # told to stop before there was this connection
            transport.begin_drain(self._tell)
        return connection

    def _update_prefetch_count(self, index: int = 0) -> Any:
        """The pool has grown or shrunk by so many places.

        Celery's own goes by `num_processes`, which under gevent is how many tasks run now, and does nothing where that
        is none: a pool that was shrunk to no place and grown again got no message any more.
        """
        if self.initial_prefetch_count:  # else there is no limit
            self.initial_prefetch_count = max(1, places(self.pool)) * self.prefetch_multiplier
            self._update_qos_eventually(index)
        self._transport.fill_places()

    def _places(self) -> int:
        """How many tasks the pool runs at once, beside those of earlier connections."""
        return places(self.pool) - self._running_earlier

    def _most_places(self) -> int:
        """How many it can grow to, likewise."""
        scaler = getattr(self.controller, "autoscaler", None)
        most = places(self.pool) if scaler is None else max(places(self.pool), int(scaler.max_concurrency))
        return most - self._running_earlier

    @property
    def _running_earlier(self) -> int:
        return sum(int(each.in_pool) for each in self._earlier)

    def update_strategies(self) -> None:
        """Make ready for the messages of each task, whatever its base class is."""
        for task in self.app.tasks.values():
            task.Request = kept_by_ours(symbol_by_name(task.Request))
        super().update_strategies()

    def bucket_for_task(self, type: Any) -> Any:  # noqa: A002 - Celery's signature
        """What holds the task's messages back where it has a rate limit."""
        bucket = super().bucket_for_task(type)
        return bucket and _Bucket(bucket.fill_rate, capacity=bucket.capacity)

    def reset_rate_limits(self) -> None:
        """Take the tasks' limits as they are now, also for what waits already: Celery leaves that to the earlier limit.

        What waits for no limit any more goes back to its queue, to come as the pool has places.
        """
        earlier = [(name, bucket) for name, bucket in self.task_buckets.items() if bucket]
        super().reset_rate_limits()
        for name, bucket in earlier:
            waiting = list(bucket.contents)
            bucket.clear_pending()
            if (newer := self.task_buckets[name]) is None:
                for request, _ in waiting:
                    request.hand_back()
            else:
                newer.contents.extend(waiting)
                self._schedule_bucket_request(newer)

    def _limit_move_to_pool(self, request: Any) -> None:
        """The rate limit of its task lets it go: once there is a place, and not into a pool that is full."""
        go = partial(super()._limit_move_to_pool, request)
        if (delivery := getattr(request, "delivery", None)) is None:
            go()
        else:
            delivery.intake.when_there_is_a_place(go)

    def perform_pending_operations(self) -> None:
        """Do what remote control asked for where there is no event loop (gevent), in the order of asking.

        Celery's own begins with the last: a queue that was cancelled and added again was received no more.
        """
        while not self.hub and self._pending_operations:
            try:
                self._pending_operations.pop(0)()
            except Exception:
                logger.exception("What remote control asked for could not be done")

    def begin_drain(self, then: Callable[[], None]) -> None:
        """Ask for nothing more and begin nothing more; from any thread and any signal handler.

        Args:
            then: is called in the thread that consumes.
        """
        self._then.append(then)
        self._is_draining = True
        if self._transport is not None:
            self._transport.begin_drain(self._tell)

    def _tell(self) -> None:
        while self._then:
            self._then.pop()()

    def on_close(self) -> None:
        """The connection ends, the tasks in the pool go on.

        Celery's own also forgets their requests; these can still be revoked, and report how they end.
        """
        if self.controller.semaphore is not None:
            self.controller.semaphore.clear()
        for bucket in self.task_buckets.values():
            if bucket:
                bucket.clear_pending()
        if self.pool.flush is not None:
            self.pool.flush()

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's signature
        """The message names no task."""
        self._settle(message, outcome.reject("it names no task"))
        signals.task_rejected.send(sender=self, message=message, exc=None)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """The message names a task that this worker does not have: in the middle of a deployment the next one may."""
        name, task_id = message.headers.get("task"), message.headers.get("id")
        reason = f"no module of SLUICE_TASK_MODULES has a task {name!r}"
        info = message.delivery_info
        logger.error("Queue %s: message %s comes back: %s", info.get("routing_key"), info.get("sqs_message_id"), reason)
        self._settle(message, outcome.retry(reason=reason))
        signals.task_unknown.send(sender=self, message=message, exc=exc, name=name, id=task_id)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """The message is no valid call of its task."""
        self._settle(message, outcome.reject(f"it is no valid call of a task ({exc})"))
        signals.task_rejected.send(sender=self, message=message, exc=exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The message's inner body is not what its content type says."""
        self._settle(message, outcome.reject(f"its inner body cannot be decoded ({type(exc).__name__})"))
        signals.task_rejected.send(sender=self, message=message, exc=exc)

    def _settle(self, message: Any, result: outcome.Outcome) -> None:
        if getattr(message, "delivery", None) is None:
            message.reject_log_error(logger, self.connection_errors, requeue=result.kind == "retry")
        else:
            message.delivery.settle(result)


class _Bucket(TokenBucket):
    """A rate limit that tells each message that it waits for it."""

    def add(self, item: Any) -> None:
        """Have this request wait for its turn."""
        request, _ = item
        if (delivery := getattr(request, "delivery", None)) is not None:
            delivery.limit_rate()
        super().add(item)
