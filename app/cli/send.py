"""`celery -A app send FILE --task NAME`: a file of JSON lines into a queue."""

from __future__ import annotations

import difflib
import os
import signal
import stat
import sys
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from celery.exceptions import QueueNotFound

from app.cli.options import Finite, Rate
from app.errors import QueueMissing
from app.sending.answers import CallFailed, entries_for, fate_of, read_answer
from app.sending.batches import gather
from app.sending.entries import entries
from app.sending.lines import chunks_of, split
from app.sending.message import Messages, NotCallable, UnknownTask, queue_url
from app.sending.record import NoRecord, RecordError
from app.sending.resume import open_record
from app.sending.sender import GaveUp, Sender
from app.supervisor.terminal import Terminal
from app.transport import aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

    from celery import Celery

    from app.sending.answers import Answer
    from app.sending.entries import Entry
    from app.sending.progress import Progress
    from app.sending.record import Record


@click.command(name="send")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--task", "name", metavar="NAME", required=True, help="The task: each line is its one argument.")
@click.option("-Q", "--queue", metavar="NAME", help="The queue; by default the one that the task is routed to.")
@click.option("--rate", type=Rate(), help="Messages in a time; default: as fast as SQS takes them.")
@click.option("--resume", is_flag=True, help="Go on with FILE where an earlier send stopped.")
@click.option("--run-id", metavar="ID", help="What task ids derive from, beside the line; default: a new one.")
@click.option("--concurrency", type=click.IntRange(1, 32), default=4, show_default=True, help="Calls at a time.")
@click.option(
    "--retry-for",
    type=Finite(min=0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when SQS has not taken a message for so long.",
)
@click.option("--unregistered", is_flag=True, help="Send a task that this checkout does not have.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    file: Path,
    name: str,
    queue: str | None,
    rate: float | None,
    resume: bool,
    run_id: str | None,
    concurrency: int,
    retry_for: float,
    unregistered: bool,
) -> None:
    """Send each line of FILE, a JSON value, as a message that has a task called with it ("-": standard input).

    A bad line is named and the rest is sent; the exit status is then 1. What SQS has taken is recorded in FILE.sent,
    so that --resume sends the rest and no line twice, but for those whose call was not answered: they keep their ids.

    \b
    celery -A app sample 20000 --out events.jsonl
    celery -A app send events.jsonl --task tasks.events.post --rate 500/s
    """  # noqa: D301 - \b tells click to leave the lines after it as they are
    app = ctx.obj.app
    messages = _messages(app, name, queue, only_registered=not unregistered)
    call = _call(app, messages.queue)
    with ExitStack() as stack:
        stream: Any = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb", buffering=0))
        record: Record | NoRecord
        if str(file) != "-" and stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            record = stack.enter_context(_record(file, name, messages.queue, run_id, resume=resume))
            run_id = record.run_id
        elif resume:
            raise click.UsageError(
                "Standard input and pipes cannot be resumed: save the lines to a file and send that."
            )
        else:
            record, run_id = NoRecord(), run_id or uuid.uuid4().hex
        screen = _Screen()
        sender = Sender(
            send_batch=call,
            record=record,
            report=screen.bad,
            shown=screen.progress,
            concurrency=concurrency,
            rate=rate,
            retry_for=retry_for,
        )
        sender.progress.sent_before = len(record.sent.lines)
        lines = split(chunks_of(stream))
        messages_to_send = entries(lines, message=messages, run_id=run_id, done=record.sent.lines, bad=sender.bad)
        status, why = _run(sender, gather(messages_to_send, max_entries=sender.max_entries))
        screen.end(sender.progress, run_id, why, file=None if isinstance(record, NoRecord) else file)
    ctx.exit(status)


def _messages(app: Celery, name: str, queue: str | None, *, only_registered: bool) -> Messages:
    app.loader.import_default_modules()
    app.finalize()
    try:
        messages = Messages(app, name, queue=queue, only_registered=only_registered)
    except UnknownTask:
        near = difflib.get_close_matches(name, [task for task in app.tasks if not task.startswith("celery.")])
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise click.ClickException(
            f"No task here is called {name!r}.{meant} Add --unregistered if workers elsewhere have it."
        ) from None
    except QueueNotFound:
        known = ", ".join(sorted(app.amqp.queues))
        raise click.ClickException(f"No queue is called {queue!r}; the settings have {known}.") from None
    if messages.queue.endswith(".fifo"):
        raise click.ClickException(f"{messages.queue} is a FIFO queue; only standard queues can be sent to so far.")
    return messages


def _call(app: Celery, queue: str) -> Callable[[Sequence[Entry]], Answer]:
    """One call of SendMessageBatch, its failures classified."""
    options = app.conf.broker_transport_options["sqs"]
    try:
        url = queue_url(app, queue)
        client: Any = aws.sqs_client(endpoint_url=options.endpoint_url, region=options.region)
    except QueueMissing as error:
        raise click.ClickException(str(error)) from None
    except aws.AWSError as error:
        raise click.ClickException(f"SQS could not be asked for the queue {queue!r}: {error}") from None

    def call(batch: Sequence[Entry]) -> Answer:
        try:
            return read_answer(client.send_message_batch(QueueUrl=url, Entries=entries_for(batch)))
        except aws.AWSError as error:
            code, response = aws.error_code(error), getattr(error, "response", None) or {}
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            raise CallFailed(fate_of(code, status), code, str(error)) from None

    return call


def _record(file: Path, task: str, queue: str, run_id: str | None, *, resume: bool) -> Record:
    try:
        return open_record(file, task=task, queue=queue, run_id=run_id, resume=resume)
    except RecordError as error:
        raise click.ClickException(str(error)) from None


class _Interrupted(BaseException):
    """A signal that ends the send."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP raises `_Interrupted`; a second one ends the process at once."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def interrupt(number: int, _frame: object) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise _Interrupted(number)

    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # nohup
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(sender: Sender, batches: Iterator[Sequence[Entry]]) -> tuple[int, str]:
    """Send; the exit status (0: all is sent; 128 and its number: a signal), and why it ended early, if it did."""
    try:
        with _signals_interrupt():
            sender.run(batches)
    except _Interrupted as interrupted:
        return 128 + interrupted.number, "told to"
    except (GaveUp, OSError) as error:
        return 1, str(error)
    except NotCallable as error:
        return 1, f"the task cannot be called with one argument: {error}"
    return int(sender.progress.bad > 0), ""


class _Screen:
    """What the user sees: bad lines, and how far it is. Several threads tell it."""

    def __init__(self) -> None:
        self._terminal = Terminal(sys.stderr)
        self._lock = threading.Lock()
        self._began = self._shown_at = time.monotonic()

    def bad(self, number: int, reason: str) -> None:
        with self._lock:
            self._terminal.say(f"line {number}: {reason}")

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._shown_at >= 0.1:  # a terminal need not see each of hundreds of calls a second
            with self._lock:
                self._shown_at = now
                self._terminal.progress(progress.line(seconds=now - self._began))

    def end(self, progress: Progress, run_id: str, why: str, *, file: Path | None) -> None:
        with self._lock:
            self._terminal.settle()
            self._terminal.say(f"{progress.line(seconds=time.monotonic() - self._began)} (run {run_id})")
            if not why:
                return
            self._terminal.say(f"Stopped: {why}.")
            if file is not None:
                self._terminal.say("To send the rest, run the same command with --resume.")
            else:
                self._terminal.say(
                    "Standard input cannot be resumed. To send the same lines again under the same task ids, "
                    f"add --run-id {run_id}."
                )
