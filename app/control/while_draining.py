"""Remote control of a worker that drains.

Celery closes its mailbox when a worker begins to stop, and only then waits for the tasks. That may take minutes in
which nobody sees what it waits for, and nobody can revoke it. So from the drain's beginning until the pool has stopped,
commands are answered where they arrive: in the thread that reads the control link (under gevent its greenlet), since
the main thread waits for the pool or, with solo, sits in the task. Celery's signal `task_revoked` comes there, too.

Answered is what only looks (Celery's `inspect`), and what revokes. All else is refused: it would change what the worker
takes and how it runs that, and it takes nothing any more. So is a second `shutdown`: it is under way, and whoever tells
all workers to stop must not have one's tasks killed that was told before.
"""

from __future__ import annotations

import json
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.utils.collections import AttributeDict
from celery.worker.consumer.control import Control
from celery.worker.control import Panel
from kombu.serialization import prepare_accept_content

from app import pools

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.control.link import ControlLink

logger = logging.getLogger(__name__)

#: What is done beside what only looks.
_REVOKING = ("revoke", "revoke_by_stamped_headers", "terminate")
_REFUSAL = "this worker is shutting down: until its last task has ended it can be inspected, and tasks can be revoked"


class WhileDraining(bootsteps.StartStopStep):
    """The part of Celery's consumer that takes over from its remote control."""

    requires = (Control,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._topic: str = consumer.app.control.mailbox.exchange.name
        self._link: ControlLink | None = None

    def start(self, consumer: Any) -> None:
        """The worker is connected, and Celery's remote control listens, or is about to."""
        self._link = consumer.connection.transport.link
        signals.worker_shutting_down.connect(self._take_over)

    def close(self, _: Any) -> None:
        """The worker is about to stop, which not every time a signal has said.

        Under gevent Celery's remote control has ended by then, where it was that which said so.
        """
        if self._link is not None and not self._link.take_over(self._topic, self._answer):
            self._link.subscribe(self._topic, self._answer, wait=0.0)

    def shutdown(self, _: Any) -> None:
        """The pool has stopped."""
        signals.worker_shutting_down.disconnect(self._take_over)
        if self._link is not None:
            self._link.unsubscribe(self._topic, self._answer)

    def _take_over(self, **_: Any) -> None:
        """In a signal handler, so nothing here may wait."""
        if self._link is not None:
            self._link.take_over(self._topic, self._answer)

    @cached_property
    def _node(self) -> Any:
        app, name = self._consumer.app, self._consumer.hostname
        state = AttributeDict(app=app, hostname=name, consumer=self._consumer, tset=pools.snapshot)
        channel = app.connection_for_write().channel()  # opens nothing: what is sent goes over the link
        return app.control.mailbox.Node(name, state, channel, _handlers())

    def _answer(self, payload: str) -> None:
        """In the link's thread; anybody who reaches the link may have sent this, so it may be anything."""
        try:
            message = self._node.channel.message_to_python(json.loads(payload))
            message.accept = prepare_accept_content(self._node.mailbox.accept)
            self._node.mailbox.clock.forward()
            self._node.handle_message(message.decode(), message)
        except Exception as error:  # noqa: BLE001 - nothing that comes this way may end the thread
            logger.warning("A message of the control link could not be used (%s: %s)", type(error).__name__, error)


def _handlers() -> dict[str, Callable[..., Any]]:
    """Celery's commands, and a project's own, by name and by alias."""
    handlers = {}
    for name, command in Panel.meta.items():
        handler = Panel.data[name] if command.type == "inspect" or name in _REVOKING else _refuse
        handlers.update({each: handler for each in (name, command.alias) if each})
    return handlers


def _refuse(_: Any, **__: Any) -> dict[str, str]:
    return {"error": _REFUSAL}
