"""The drain of a worker that is not the whole of its process."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from app.drain import Drain, _Step


def test_a_worker_in_a_thread_of_somebody_elses_program_does_not_end_that(monkeypatch):
    """As Celery's own test helper runs one; when it is started again, it drains again."""
    drain, begun = Drain(0.0), []
    monkeypatch.setattr(drain._thread, "start", lambda: begun.append("deadline"))
    step = type("Step", (_Step,), {"drain": drain})
    worker = SimpleNamespace(
        consumer=SimpleNamespace(begin_drain=lambda then: begun.append("drain")), terminate=lambda: None
    )
    for _ in range(2):
        drain._watch(worker)
        thread = threading.Thread(target=step(worker).close, args=(worker,))
        thread.start()
        thread.join(10)
    assert begun == ["drain", "drain"]
    drain._watch(worker)
    step(worker).close(worker)
    assert begun[2:] == ["drain", "deadline"]
