"""`sample` as the first half of a pipe."""

from __future__ import annotations

import json
import subprocess
import sys


def test_a_reader_that_has_seen_enough_is_no_error():
    """As `celery -A app sample 100000 | head -1`."""
    program = "from app.cli.sample import command; command()"
    writer = subprocess.Popen([sys.executable, "-c", program, "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert json.loads(writer.stdout.readline())["id"]
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(30) == 0
