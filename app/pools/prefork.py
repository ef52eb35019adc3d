"""Celery's prefork pool, with other answers to SIGTERM and to the end of the event loop.

A host that stops a service tells every process of it at once (systemd, Heroku, honcho, a terminal). SIGTERM is then for
the worker's main process, which drains; a child process that obeyed it would lose its task. So children ignore it,
and the pool, which has always ended them by SIGTERM (to shrink, for `revoke(terminate=True)`, at a time limit), ends
them by another signal.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from billiard.common import _shutdown_cleanup, terminate_handler_fired
from billiard.einfo import ExceptionInfo
from celery.concurrency import asynpool, prefork

from app import outcome
from app.pools.limits import TimeLimits, TimeoutHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

logger = logging.getLogger(__name__)

#: Ends a child as SIGTERM does elsewhere: the task's `finally` blocks run.
_END_CHILD = signal.SIGUSR2
#: Seconds to wait for any child to say something, at the end; and until what should have been done is done.
_LISTEN, _AT_ONCE = 0.05, 0.001
#: Seconds between two looks at whether children have ended, beside those for a reason.
_LONGEST_LOOK = 5.0


class Worker(asynpool.Worker):
    """What runs in a child process."""

    def on_loop_start(self, pid: int) -> None:
        """The child is ready for its first task; billiard has set its own handlers just before."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(_END_CHILD, _end_child)
        self.wait_for_job: Any = partial(_readable_job, self.wait_for_job)
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


def _readable_job(wait: Callable[[], Any]) -> Any:
    """The next job, as one of which the parent can read whatever it raises: what it cannot read would end it."""
    if not (request := wait()):
        return request
    kind, (job, number, function, args, kwargs) = request
    return kind, (job, number, partial(_raise_readably, function), args, kwargs)


def _raise_readably(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        readable = outcome.readable(error)
        if readable is error or terminate_handler_fired():
            raise
        raise readable.with_traceback(error.__traceback__) from None


def _end_child(_: int, frame: FrameType | None) -> None:
    _shutdown_cleanup(signal.SIGTERM, frame)


class ResultHandler(asynpool.ResultHandler):
    """Reads what the children say."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: What is half read of each child. The event loop may end meanwhile, and who reads on must not begin anew.
        self._half_read: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def _recv_message(self, add_reader: Any, fd: int, callback: Any) -> Iterator[None]:
        """Read one message of one child, or the rest of it; yields when there is nothing to be read at the moment."""
        child = self.fileno_to_outq[fd]
        reading = self._half_read.pop(child, None) or super()._recv_message(add_reader, fd, callback)
        for _ in reading:
            self._half_read[child] = reading
            yield
            del self._half_read[child]

    def hear_out(self, child: Any) -> None:
        """A child is dead: take in all that it has said before."""
        reader = child.outq._reader  # noqa: SLF001
        while not reader.closed and self.fileno_to_outq.get(reader.fileno()) is child and _is_readable([reader], 0.0):
            try:
                for _ in self._recv_message(_add_no_reader, reader.fileno(), self.on_state_change):
                    return  # it has not written more of it
            except (EOFError, OSError):
                return
            except Exception:
                logger.exception("What a child process said could not be taken in")

    def _flush_outqueue(self, fd: int, remove: Any, process_index: Any, on_state_change: Any) -> Any:
        """At the end, read one message of one child.

        Celery's own sleeps half a second where there is none, and waits for ever for the rest of one whose child was
        killed as it wrote it: other children hold the pipe open.
        """
        if (child := process_index.get(fd)) is None:
            return remove(fd)
        if not _is_readable([fd], 0.0):
            _is_readable(process_index, _LISTEN)  # by any: then the round goes on at once
            return None
        try:
            is_alive = True
            for _ in self._recv_message(_add_no_reader, fd, on_state_change):
                if not _is_readable([fd], _LISTEN) and not is_alive:
                    return remove(fd)
                is_alive = child._is_alive()  # noqa: SLF001 - what it has written is all there by the next look
        except (EOFError, OSError):
            return remove(fd)
        except Exception:
            logger.exception("What a child process said could not be taken in")
        return None


def _add_no_reader(*_: Any) -> None:
    """The event loop has ended."""


def _is_readable(descriptors: Iterable[Any], timeout: float) -> bool:
    """Whether one of them has something to be read, or has ended; waits for it up to `timeout` seconds."""
    poll = select.poll()
    for descriptor in list(descriptors):
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


class AsynPool(asynpool.AsynPool):
    """The processes, and what is written to them and read from them."""

    Worker = Worker
    ResultHandler = ResultHandler
    TimeoutHandler = TimeoutHandler

    #: Whether the system gave no process for the last child that was to be started.
    _lacks_process = False

    def did_start_ok(self) -> bool:
        """Whether any child lives: Celery asks as its event loop begins, and ends the worker if not.

        Its own says no as soon as one has died, as by a machine that is short of memory at that moment.
        """
        return any(child._is_alive() for child in self._pool)  # noqa: SLF001

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        """A child has ended. The system may say so a moment before it can be waited for: then look again, soon.

        Celery's own leaves that to a look every five seconds, in which the child's place is empty.
        """
        super()._event_process_exit(hub, proc)
        self._look_after(proc, hub, _AT_ONCE)

    def _look_after(self, proc: Any, hub: Any, delay: float) -> None:
        if proc in self._pool and delay < _LONGEST_LOOK:
            hub.call_later(delay, self._look_again, proc, hub, delay)

    def _look_again(self, proc: Any, hub: Any, delay: float) -> None:
        self.maintain_pool()
        self._look_after(proc, hub, 2 * delay)

    def _repopulate_pool(self, exitcodes: Any) -> None:
        """Start children in the place of those that have ended.

        Where the system gives no process (a limit on them, no memory), the worker goes on with the children there are,
        and tries again with the pool's next look, in at most five seconds. Billiard's own leaves one in the pool that
        was never born, and Celery takes the error for a lost connection, begins anew, and ends of that.
        """
        if self._lacks_process and not _can_fork():
            return
        try:
            super()._repopulate_pool(exitcodes)
        except (OSError, MemoryError) as error:
            for child in [each for each in self._pool if each._popen is None]:  # noqa: SLF001
                self._pool.remove(child)
                self._process_cleanup_queues(child)
            if not self._lacks_process:
                logger.error(  # noqa: TRY400 - the traceback would say nothing more
                    "The system gives no process for a child (%s): %d of %d run; it is asked again every few seconds",
                    error,
                    len(self._pool),
                    self._processes,
                )
            self._lacks_process = True
        else:
            if self._lacks_process:
                logger.warning("The system gives processes again: %d children run", len(self._pool))
            self._lacks_process = False

    def process_flush_queues(self, proc: Any) -> None:
        """A child is dead: take in what it has said. Celery's own begins in the middle of what is half read."""
        self._result_handler.hear_out(proc)

    def _create_timelimit_handlers(self, hub: Any) -> None:
        """The event loop begins, or begins anew, which has cost it all timers: also those of the tasks that run."""
        limits = TimeLimits(
            self._cache, call_later=hub.call_later, on_soft=self.on_soft_timeout, on_hard=self.on_hard_timeout
        )
        self.on_timeout_set, self.on_timeout_cancel = limits.begun, None
        limits.look()

    def on_job_process_lost(self, job: Any, pid: int, exitcode: int) -> None:
        """A child has died with its task: what a time limit has killed is told by that."""
        if self._timeout_handler is None or not self._timeout_handler.is_killed(job):
            super().on_job_process_lost(job, pid, exitcode)

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
        hears how it ended, and the child waits half a minute for somebody who does. And it takes all children for idle,
        so that after a new beginning a task could wait behind one that runs.
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

    def _hand_back(self, job: Any) -> None:
        job.discard()
        # The request itself, and not one of its id: a task may have been sent twice.
        if (request := getattr(job._callback, "__self__", None)) is not None:  # noqa: SLF001
            request.hand_back()


def _can_fork() -> bool:
    """Whether the system gives a process now. Billiard's own way to try leaves two descriptors behind each time."""
    try:
        pid = os.fork()
    except OSError:
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def _terminate(process: Any) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, _END_CHILD)


class TaskPool(prefork.TaskPool):
    """The pool as Celery's worker knows it."""

    Pool = AsynPool
