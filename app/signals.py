"""Signals for what operators and their code want to know; Celery's own stay as they are.

    from app.signals import queue_parked

    @queue_parked.connect
    def tell(queue, reason, **_):
        ...

They are sent in the worker's main process, and there in the thread that consumes (under gevent its greenlet), where
Celery sends its own: a slow receiver holds up the giving of messages to the pool, but neither leases nor deletes. With
solo they come when the running task has ended. A receiver that raises is logged. What is sent when nobody consumes any
more, at the end, comes to nobody. `sender` is the queue's name, so that `connect(sender="orders")` hears of that queue
only; for the drain it is the worker.

Take `**_`, as with all of Celery's signals: more may be given later.
"""

from __future__ import annotations

from celery.utils.dispatch import Signal

#: A queue is not there; it is looked for again, and `episode_ended` tells when it was found. `queue`; `reason`, for
#: people, with what to do.
queue_parked = Signal(name="queue_parked", providing_args={"queue", "reason"})

#: Something fails that had worked. `queue`; `action`: "receiving", "deleting", "changing visibility", "sending copies"
#: or "sending again what is due later"; `reason`, for people. Once for each episode, however often it is tried.
episode_began = Signal(name="episode_began", providing_args={"queue", "action", "reason"})

#: It works again. `queue`, `action`; `seconds` that it lasted; `failures`, the calls that failed.
episode_ended = Signal(name="episode_ended", providing_args={"queue", "action", "seconds", "failures"})

#: A message may run a second time: SQS may have given it to somebody else. `queue`, `message_id`; `reason`, for people.
lease_lost = Signal(name="lease_lost", providing_args={"queue", "message_id", "reason"})

#: The worker is to stop, and takes nothing more. `timeout`: seconds for the running tasks.
drain_began = Signal(name="drain_began", providing_args={"timeout"})

#: All tasks have ended, and SQS was told, after a cold shutdown too. `seconds` since it began. Not sent by a worker
#: that gives up on tasks which cannot be killed, nor where a third SIGQUIT breaks it off: those end with status 1.
drain_ended = Signal(name="drain_ended", providing_args={"seconds"})
