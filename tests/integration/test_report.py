"""`celery -A app report`: what somebody is asked for who needs help."""

from __future__ import annotations

import re
from importlib.metadata import version

from harness import ROOT, python


def test_it_says_what_is_in_force_and_no_password():
    environment = {
        "AWS_REGION": "eu-test-1",
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9324",
        "SLUICE_QUEUE": "orders",
        "SLUICE_CONTROL_URL": "redis://user:a-password@127.0.0.1:6399/0",
        "SLUICE_RESULT_URL": "redis://user:a-password@127.0.0.1:6399/1",
    }
    done = python("-m", "celery", "-A", "app", "report", **environment)
    assert done.returncode == 0, done.stderr
    facts = dict(re.findall(r"^(\S+(?: \S+)*)  +(.+)$", done.stdout, re.MULTILINE))
    assert facts["checkout"].startswith(str(ROOT))
    assert facts["sqs"] == "http://127.0.0.1:9324"
    assert facts["region"] == "eu-test-1"
    assert facts["control link"] == "set"
    assert facts["queue orders"] == "found by name, dead letters to orders-dead, the default"
    assert facts["kombu"] == version("kombu")
    assert "a-password" not in done.stdout + done.stderr
