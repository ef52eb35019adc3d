"""Celery's autoscaler, which sees what waits for the pool: the transport holds it back, so Celery has none of it."""

from __future__ import annotations

from celery.worker.autoscale import Autoscaler as CeleryAutoscaler

from app.pools import places


class Autoscaler(CeleryAutoscaler):
    """Grows and shrinks the pool between the two bounds of `--autoscale`."""

    @property
    def qty(self) -> int:
        """Tasks in the pool, and messages that wait for it."""
        connection = self.worker.consumer.connection
        waiting = connection.transport.waiting if connection is not None else 0
        return int(super().qty) + int(waiting)

    @property
    def processes(self) -> int:
        """The pool's size; of a gevent pool Celery takes the tasks that run now, and lets it grow for ever."""
        return places(self.pool)

    def scale_up(self, n: int) -> None:
        """Grow, and fill the new places at once."""
        super().scale_up(n)
        if (connection := self.worker.consumer.connection) is not None:
            connection.transport.fill_places()
