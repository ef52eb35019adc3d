"""The control link in trouble: tasks go on, the log says so once, and it comes back by itself."""

from __future__ import annotations

import pytest
from harness import body, until


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_tasks_go_on_while_the_server_is_frozen_or_gone(pool, start_worker, queues, own_valkey, controller):
    valkey = own_valkey.server
    queues.server.create_queue("sluice")
    worker = start_worker("-P", pool, "-c", 2, "-E", environment={"SLUICE_CONTROL_URL": valkey.url})
    app = controller(valkey)
    # A gevent worker says that it is ready before its remote control listens.
    until(lambda: app.control.ping(timeout=1, limit=1), "answer")

    valkey.server.suspend()
    frozen = [f"frozen-{n}" for n in range(50)]
    queues.send(*(body("probe.work", [name]) for name in frozen))
    worker.wait_for_notes("end", frozen)
    queues.wait_until_empty()
    until(lambda: worker.log.count("The control link is down") == 1, "word of it")
    valkey.server.resume()
    until(lambda: worker.log.count("The control link is up again") == 1, "recovery")
    assert len(app.control.ping(timeout=10, limit=1)) == 1

    valkey.stop()
    gone = [f"gone-{n}" for n in range(50)]
    queues.send(*(body("probe.work", [name]) for name in gone))
    worker.wait_for_notes("end", gone)
    until(lambda: worker.log.count("The control link is down") == 2, "word of it")
    own_valkey.again()
    until(lambda: worker.log.count("The control link is up again") == 2, "recovery")
    until(lambda: len(app.control.ping(timeout=2, limit=1)) == 1, "answer to a ping")
    assert "Traceback" not in worker.log


def test_a_wrong_password_is_one_clear_line_and_tasks_run(start_worker, queues, valkey):
    queues.server.create_queue("sluice")
    wrong = valkey.url.replace(valkey.password, "not-the-password")
    worker = start_worker("-P", "prefork", "-c", 1, "-E", environment={"SLUICE_CONTROL_URL": wrong})
    queues.send(body("probe.work", ["one"]))
    worker.wait_for_notes("end", ["one"])
    worker.wait_for("The control link is down")
    assert worker.log.count("The control link is down") == 1
    assert "password" in worker.log.partition("The control link is down")[2].splitlines()[0]
    assert "not-the-password" not in worker.log
    assert worker.stop() == 0
