"""`celery -A app report`: what somebody is asked for who needs help."""

from __future__ import annotations

import json
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


def test_each_setting_of_the_transport_is_in_force():
    given = {
        "SLUICE_VISIBILITY_TIMEOUT": ("visibility", 61),
        "SLUICE_PREFETCH": ("prefetch", 62),
        "SLUICE_POLLS_MIN": ("polls_min", 3),
        "SLUICE_POLLS_MAX": ("polls_max", 7),
        "SLUICE_MAX_AGE": ("max_age", 63),
        "SLUICE_POLL_WAIT": ("wait", 19),
        "SLUICE_PREFETCH_SECONDS": ("prefetch_seconds", 0.5),
        "SLUICE_PREFETCH_BYTES": ("prefetch_bytes", 2**21),
        "SLUICE_SETTLE_LINGER": ("settle_linger", 0.03),
        "SLUICE_MAX_WORKER_LOSSES": ("max_deaths", 4),
        "SLUICE_RETRY_BACKOFF": ("retry_first", 2.0),
        "SLUICE_RETRY_BACKOFF_MAX": ("retry_most", 400.0),
    }
    program = (
        "import json; from app.celery import app; options = app.conf.broker_transport_options['sqs'].__json__(); "
        "print(json.dumps({**options, **options['queues']['sluice']}, default=str))"
    )
    done = python("-c", program, AWS_REGION="us-east-1", **{name: str(value) for name, (_, value) in given.items()})
    options = json.loads(done.stdout.splitlines()[-1])
    assert {name: options[name] for name, _ in given.values()} == dict(given.values())
