"""Celery's own command line stays as light as it was."""

from __future__ import annotations

import pytest
from harness import python

#: Flower is not among them, nor what it imports: its own command is loaded by Celery whatever we do.
HEAVY = {"boto3", "botocore", "pydantic", "gevent", "app.celery", "app.transport", "app.control", "settings"}


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_it_imports_nothing_heavy_of_ours(option):
    done = python("-X", "importtime", "-m", "celery", option)
    assert done.returncode == 0
    assert "queues" in done.stdout or option == "--version"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "celery" in imported
    assert imported & HEAVY == set()
