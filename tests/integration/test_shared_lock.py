"""The locks that threads of the system's share with gevent's greenlets: in processes of their own, where gevent is."""

from __future__ import annotations

import textwrap

from harness import HERE, body, python

#: Before anything else is imported.
PATCHED = """
    import gevent.monkey; gevent.monkey.patch_all()
    import gevent, logging
    from gevent.monkey import get_original
    from app import native
    from app.shared_lock import SharedLock
    start, thread_sleeps = get_original("_thread", "start_new_thread"), get_original("time", "sleep")
"""


def run(program):
    done = python("-c", textwrap.dedent(PATCHED) + textwrap.dedent(program))
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_greenlets_and_a_thread_that_log_all_come_to_their_end():
    """With gevent's own locks one of them stands still for ever, or has a LoopExit, in every run of this."""
    said = run("""
        handler = logging.StreamHandler(open("/dev/null", "w"))
        logging.basicConfig(handlers=[handler])
        log, ended = logging.getLogger("log"), []

        def in_thread():
            while len(ended) < 16:
                log.warning("from a thread")
        start(in_thread, ())

        def in_greenlet(number):
            for n in range(1500):
                log.warning("from a greenlet")
                gevent.sleep(0 if n % 3 else 0.0005)
            ended.append(number)
        gevent.joinall([gevent.spawn(in_greenlet, number) for number in range(16)], timeout=45)
        print(sorted(ended) == list(range(16)))
    """)
    assert said == "True\n"


def test_what_logs_with_waiting_keeps_other_greenlets_out_and_is_waited_for_by_threads():
    """As a handler that sends what is logged over a network."""
    said = run("""
        seen, inside = [], []

        class Slow(logging.Handler):
            def emit(self, record):
                inside.append(record.msg)
                assert len(inside) == 1, inside
                gevent.sleep(0.002) if record.msg == "greenlet" else thread_sleeps(0.001)
                seen.append(inside.pop())
        log = logging.getLogger("log")
        log.addHandler(Slow())
        start(lambda: [log.warning("thread") for _ in range(20)], ())
        gevent.joinall([gevent.spawn(log.warning, "greenlet") for _ in range(20)])
        while len(seen) < 40:
            gevent.sleep(0.01)
        print(seen.count("thread"), seen.count("greenlet"))
    """)
    assert said == "20 20\n"


def test_the_lock_is_reentrant_and_whoever_has_it_not_cannot_give_it_up():
    said = run("""
        lock = SharedLock()
        with lock, lock:
            pass
        try:
            lock.release()
        except RuntimeError as error:
            print(error)
        lock.acquire()
        lock._at_fork_reinit()
        try:
            lock.release()
        except RuntimeError as error:
            print(error)
    """)
    assert said.count("un-acquired lock") == 2


def test_logging_has_it_whatever_handlers_there_were_and_come():
    """These are internals of logging's: what they are called, and that a handler makes its lock by `createLock`."""
    said = run("""
        print(all(isinstance(lock, SharedLock) for lock in (
            logging._lock, logging.lastResort.lock, logging.StreamHandler().lock, logging.FileHandler("/dev/null").lock
        )), logging.NullHandler().lock)
    """)
    assert said == "True None\n"


def test_without_gevent_logging_is_left_alone():
    program = "import logging; from app import native; print(type(logging._lock), type(logging.Handler().lock))"
    done = python("-c", program)
    assert (done.returncode, done.stdout) == (0, "<class '_thread.RLock'> <class '_thread.RLock'>\n"), done.stderr


#: Runs before anything else in a worker: makes gevent's locks tell when threads of the system's share one.
TELLS = '''
import gevent.monkey; gevent.monkey.patch_all()
import _thread, os, threading, traceback
from gevent.monkey import get_original
get_ident, Lock = get_original("_thread", "get_ident"), _thread.allocate_lock


class Telling:
    """One of gevent's locks, which remembers the first thread that takes it."""

    def __init__(self):
        self._lock, self._first = Lock(), None
        self._made = "".join(traceback.format_stack(limit=7))

    def acquire(self, *args, **kwargs):
        self._first = self._first or get_ident()
        if get_ident() != self._first:
            taken = "".join(traceback.format_stack(limit=7))
            os.write(2, f"SHARED LOCK, made at\\n{self._made}\\ntaken at\\n{taken}\\n".encode())
        return self._lock.acquire(*args, **kwargs)

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self._lock.release()

    def __getattr__(self, name):
        return getattr(self._lock, name)


_thread.allocate_lock = threading._allocate_lock = threading.Lock = Telling
import logging
logging._lock = threading.RLock()
'''


def test_a_gevent_worker_shares_no_other_lock_between_its_threads(start_worker, queues, tmp_path):
    """Whatever its threads do: receive, settle, log, drain."""
    (tmp_path / "sitecustomize.py").write_text(TELLS)
    queues.server.create_queue("sluice", max_receives=50)
    for call in ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
        queues.server.faults.add(f"{call}:error:status=500:count=2")
    for n in range(20):
        queues.send(body("probe.work", [f"n{n}", 0.01]), body("probe.end", [f"failing-{n}", "raise"]))
    environment = {"PYTHONPATH": f"{tmp_path}:{HERE}", "SLUICE_DRAIN_TIMEOUT": "2"}
    worker = start_worker("-P", "gevent", "-c", 8, environment=environment)
    worker.wait_for_notes("end", [f"n{n}" for n in range(20)])
    queues.send(body("probe.work", ["endless", 300.0]))
    worker.wait_for_notes("start", ["endless"])
    assert worker.stop() == 0
    assert "1 tasks are killed" in worker.log
    assert "SHARED LOCK" not in worker.log, worker.log[worker.log.index("SHARED LOCK") :][:6000]
