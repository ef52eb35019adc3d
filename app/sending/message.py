"""A task message exactly as `.delay()` sends it: Celery, kombu and our channel make it, and nothing sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.result import denied_join_result
from kombu import Connection

from app.transport.channel import Channel
from app.transport.transport import Transport

if TYPE_CHECKING:
    from celery import Celery


class UnknownTask(Exception):
    """No task of this name is known to this checkout."""


class NotCallable(Exception):
    """The task does not take one positional argument; the message says what it takes instead."""


class _Kept:
    """Stands where SQS's client stands, and keeps what it is told to send."""

    def __init__(self) -> None:
        self.call: dict[str, Any] = {}

    def send_message(self, **call: Any) -> dict[str, str]:
        self.call = call
        return {"MessageId": "kept"}


class _Channel(Channel):
    """Our channel up to the call of SQS, so that whatever a channel does to a message is done to these too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = _Kept()

    def sqs(self, queue: str | None = None) -> _Kept:  # noqa: ARG002 - kombu asks per queue
        return self.kept

    def _resolve_queue_url(self, queue: str) -> str:
        return queue


class _Transport(Transport):
    Channel = _Channel


class Messages:
    """Makes messages for one task and one queue.

    Args:
        app: the Celery application, whose settings decide how a message looks.
        task_name: the task to be run.
        queue: the queue's name; by default the one that the application routes the task to.
        only_registered: refuse a name that no module of this checkout defines. Otherwise such a task is sent as the
            application's plain tasks are, for workers elsewhere.

    Raises:
        UnknownTask: the name is refused.
    """

    def __init__(self, app: Celery, task_name: str, *, queue: str | None = None, only_registered: bool = True) -> None:
        self._task = app.tasks.get(task_name)
        if self._task is None and only_registered:
            raise UnknownTask(task_name)
        if self._task is None:
            # Known by name only: an instance that is not registered, so that the base class's rules (what is hidden
            # from monitors, for one) are kept here too.
            elsewhere: Any = type("Elsewhere", (app.Task,), {"name": task_name, "typing": False})
            elsewhere.bind(app)
            self._task = elsewhere()
        routed = app.amqp.router.route({"queue": queue} if queue else {}, task_name, (None,), {}, self._task)
        self.queue: str = routed["queue"].name if "queue" in routed else app.amqp.default_queue.name
        connection = Connection(transport=_Transport, transport_options=app.conf.broker_transport_options)
        self._channel: _Channel = connection.channel()
        self._producer = app.amqp.Producer(self._channel, auto_declare=False)

    def __call__(self, event: Any, task_id: str) -> dict[str, Any]:
        """What SendMessage is to be told, but for the queue: the body and whatever else belongs to the message.

        Args:
            event: the task's one positional argument.
            task_id: the task's id.

        Raises:
            NotCallable: the task does not take one positional argument.
        """
        with denied_join_result():  # a result backend must not subscribe to each result: nobody waits for them here
            try:
                self._task.apply_async(
                    (event,), task_id=task_id, queue=self.queue, producer=self._producer, retry=False
                )
            except TypeError as error:
                raise NotCallable(str(error)) from None
        call = self._channel.kept.call
        return {name: value for name, value in call.items() if name != "QueueUrl"}


def message_body(app: Celery, task_name: str, event: Any, task_id: str) -> str:
    """The body of the SQS message that has `task_name` called with `event`."""
    body: str = Messages(app, task_name)(event, task_id)["MessageBody"]
    return body


def queue_url(app: Celery, queue: str) -> str:
    """The address that the application's settings, or SQS, have for a queue.

    Raises:
        QueueMissing: there is no such queue.
    """
    with Connection(transport=Transport, transport_options=app.conf.broker_transport_options) as connection:
        url: str = connection.channel()._resolve_queue_url(queue)  # noqa: SLF001 - kombu's name for a channel's hook
    return url
