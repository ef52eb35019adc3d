"""Tasks that both brokers' workers have: nothing in them knows which broker it is."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import group, shared_task, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded


def note(*words: Any) -> None:
    """One line, written in one go: processes share the file."""
    with open(os.environ["PROBE_FILE"], "ab", buffering=0) as file:  # noqa: PTH123 - unbuffered
        file.write((" ".join(map(str, words)) + "\n").encode())


@signals.task_prerun.connect
def note_each_run(task: Any, task_id: str, **_: Any) -> None:
    note("run", task_id, task.name)


@shared_task
def add(x: int, y: int) -> int:
    return x + y


@shared_task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task
def nothing() -> str:
    return "immutable"


@shared_task(bind=True)
def context(self: Any, word: str, *, named: int = 0) -> dict[str, Any]:
    """What a task sees of its message."""
    request = self.request
    fields = ("id", "root_id", "parent_id", "group", "correlation_id", "retries", "eta", "expires", "timelimit")
    more = ("is_eager", "called_directly", "shadow", "task", "args", "kwargs", "hostname", "headers", "stamps", "lang")
    seen = {
        name: getattr(request, name, None)
        for name in (*fields, *more, "ignore_result", "argsrepr", "kwargsrepr", "tenant")
    }
    return {**seen, "delivery_info": request.delivery_info, "word": word, "named": named, "name": self.name}


@shared_task(bind=True)
def parent(self: Any) -> list[str]:
    """Sends a child; says what the child's ids must be."""
    child = context.apply_async(["child"])
    return [self.request.id, self.request.root_id, child.id]


@shared_task(bind=True)
def replaced(self: Any, x: int) -> None:
    raise self.replace(add.s(x, 1))


@shared_task(bind=True)
def replaced_by_group(self: Any) -> None:
    raise self.replace(group(add.si(1, n) for n in range(3)))


@shared_task(bind=True)
def grows_its_chord(self: Any) -> None:
    """Adds to the chord of which it is a part."""
    return self.add_to_chord(add.s(10, 20))


@shared_task
def fail(text: str = "as asked") -> None:
    raise ValueError(text)


@shared_task(bind=True)
def fail_at_first(self: Any) -> str:
    """Fails the first time that its message is received."""
    if not self.request.delivery_info["redelivered"]:
        raise ValueError("as asked")
    return "in the end"


@shared_task(acks_on_failure_or_timeout=True)
def fail_once(text: str = "as asked") -> None:
    raise ValueError(text)


@shared_task
def note_error(request: Any, error: Any, traceback: Any) -> None:
    note("error-of", request.id, type(error).__name__)


@shared_task
def note_result(result: Any, name: str) -> None:
    note("result-of", name, result)


@shared_task(bind=True, max_retries=3)
def retry(self: Any, times: int) -> int:
    note("began", self.request.id, time.time())
    if self.request.retries < times:
        raise self.retry(countdown=1)
    return self.request.retries


@shared_task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=1, retry_jitter=False, max_retries=2)
def retry_by_itself(self: Any, times: int) -> int:
    note("began", self.request.id, time.time())
    if self.request.retries < times:
        raise ConnectionError("away")
    return self.request.retries


@shared_task(bind=True, max_retries=1)
def give_up(self: Any, with_error: bool = False) -> None:
    """Tries once more, and no more."""
    raise self.retry(countdown=0, **({"exc": ValueError("as asked")} if with_error else {}))


@shared_task(bind=True, max_retries=1, acks_on_failure_or_timeout=True)
def give_up_for_good(self: Any) -> None:
    raise self.retry(countdown=0)


@shared_task(bind=True)
def reject(self: Any, requeue: bool) -> bool:
    """Rejects what it is given, the first time; says then whether it was told that this is not the first."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("as asked", requeue=requeue)
    return True


@shared_task
def ignore() -> None:
    raise Ignore


@shared_task
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@shared_task(acks_on_failure_or_timeout=True)
def sleep_once(seconds: float) -> str:
    return str(sleep(seconds))


@shared_task
def sleep_until_told(seconds: float) -> str:
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "told"
    return "slept"


def wait_for(file: str) -> None:
    ends = time.monotonic() + 20
    while not os.path.exists(file) and time.monotonic() < ends:  # noqa: PTH110
        time.sleep(0.02)


@shared_task(bind=True)
def progress(self: Any, file: str) -> str:
    """Reports a state of its own, until that file is there."""
    self.update_state(state="PROGRESS", meta={"done": 1})
    wait_for(file)
    return "done"


@shared_task(track_started=True)
def tracked(file: str) -> None:
    wait_for(file)


@shared_task(ignore_result=True)
def forgettable() -> str:
    return "never stored"


@shared_task(acks_late=False)
def acknowledged_early() -> str:
    return "ran"
