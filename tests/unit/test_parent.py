"""Ending with the parent, where Linux does not do it for us (on Linux, tests/integration shows it)."""

from __future__ import annotations

import itertools
import os
import signal

from app import parent


def test_the_watch_asks_the_process_to_end_once_its_parent_has_changed(monkeypatch):
    parents = itertools.chain([42, 42, 42], itertools.repeat(1))
    naps, kills = [], []
    monkeypatch.setattr(parent.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(parent.time, "sleep", naps.append)
    monkeypatch.setattr(parent.os, "kill", lambda *args: kills.append(args))
    parent._watch(42)
    assert len(naps) == 3
    assert kills == [(os.getpid(), signal.SIGTERM)]
