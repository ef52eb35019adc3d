"""Celery's prefork pool, with other answers to SIGTERM and to the end of the event loop.

A host that stops a service tells every process of it at once (systemd, Heroku, honcho, a terminal). SIGTERM is then for
the worker's main process, which drains; a child process that obeyed it would lose its task. So children ignore it,
and the pool, which has always ended them by SIGTERM (to shrink, for `revoke(terminate=True)`, at a time limit), ends
them by another signal.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.common import _shutdown_cleanup
from billiard.einfo import ExceptionInfo
from celery.concurrency import asynpool, prefork

from app import outcome

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

#: Ends a child as SIGTERM does elsewhere: the task's `finally` blocks run.
_END_CHILD = signal.SIGUSR2
#: Seconds to wait for any child to say something, at the end.
_LISTEN = 0.05


class Worker(asynpool.Worker):
    """What runs in a child process."""

    def on_loop_start(self, pid: int) -> None:
        """The child is ready for its first task; billiard has set its own handlers just before."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(_END_CHILD, _end_child)
        super().on_loop_start(pid)

    def prepare_result(self, result: Any) -> Any:
        """The task has ended: what that means for its message is decided here, where its exception is whole."""
        if isinstance(result, tuple) and result[0] and isinstance(result[1], ExceptionInfo):
            outcome.decide(result[1])
        return result

    def _do_exit(self, pid: int, exitcode: int, exc: BaseException | None = None) -> None:
        """The child has no task any more, and says so: the pool answers with a SIGTERM, for which it waits a second."""
        signal.signal(signal.SIGTERM, _shutdown_cleanup)
        super()._do_exit(pid, exitcode, exc)


def _end_child(_: int, frame: FrameType | None) -> None:
    _shutdown_cleanup(signal.SIGTERM, frame)


class ResultHandler(asynpool.ResultHandler):
    """Reads what the children say."""

    def _flush_outqueue(self, fd: int, remove: Any, process_index: Any, on_state_change: Any) -> Any:
        """At the end, read one message of one child. Celery's own sleeps half a second where there is none."""
        is_silent = fd in process_index and not _is_readable([fd], 0.0)
        if is_silent:
            _is_readable(process_index, _LISTEN)  # by any: then the round goes on at once
            return None
        return super()._flush_outqueue(fd, remove, process_index, on_state_change)


def _is_readable(descriptors: Iterable[int], timeout: float) -> bool:
    """Whether one of them has something to be read, or has ended; waits for it up to `timeout` seconds."""
    poll = select.poll()
    for descriptor in list(descriptors):
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


class AsynPool(asynpool.AsynPool):
    """The processes, and what is written to them and read from them."""

    Worker = Worker
    ResultHandler = ResultHandler

    def WorkerProcess(self, worker: Any) -> Any:  # noqa: N802 - billiard's
        """A process that is ended by our signal."""
        process = super().WorkerProcess(worker)
        process.terminate = partial(_terminate, process)
        return process

    def terminate_job(self, pid: int, sig: int | None = None) -> None:
        """End the child that runs a task, as `revoke(terminate=True)` asks for."""
        super().terminate_job(pid, _END_CHILD if sig in (None, signal.SIGTERM) else sig)

    def flush(self) -> None:
        """The loop that writes to the children ends: give up what none was given, and finish what is half written.

        Celery's own also gives up what a child was given and has not said to have begun. That runs all the same, nobody
        hears how it ended, and the child waits half a minute for somebody who does.
        """
        while self.outbound_buffer:
            self._hand_back(self.outbound_buffer.popleft())
        for job in list(self._cache.values()):
            writer = job._writer() if callable(getattr(job, "_writer", None)) else None  # noqa: SLF001 - as Celery's own
            if writer not in self._active_writers:
                continue
            if job._write_to is not None and job._write_to._is_alive():  # noqa: SLF001
                self._flush_writer(job._write_to, writer)  # noqa: SLF001
            else:
                self._hand_back(job)
        self._active_writers.clear()
        self._active_writes.clear()
        self._busy_workers.clear()

    def _hand_back(self, job: Any) -> None:
        job.discard()
        # The request itself, and not one of its id: a task may have been sent twice.
        if (request := getattr(job._callback, "__self__", None)) is not None:  # noqa: SLF001
            request.hand_back()


def _terminate(process: Any) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, _END_CHILD)


class TaskPool(prefork.TaskPool):
    """The pool as Celery's worker knows it."""

    Pool = AsynPool
