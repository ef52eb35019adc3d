"""A profile's program that hands out credentials, asked in an errand's thread under gevent."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from harness import ROOT

UNDER_GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import gc, os, sys, time
from app.transport import aws
from app.transport.engine.account import run_errand

answers = []
def ask():
    try:
        answers.append(aws.session().get_credentials().access_key)
    except Exception as error:
        answers.append(f"{type(error).__name__}: {error}".strip())

def in_an_errand(profile):
    os.environ["AWS_PROFILE"] = profile
    answers.clear()
    assert run_errand(ask, name="credentials")
    end = time.monotonic() + 10
    while not answers and time.monotonic() < end:
        time.sleep(0.005)
    return answers

def left():
    time.sleep(0.1)
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

print(*in_an_errand("good"))
print(*in_an_errand("bad"))
print(*in_an_errand("absent"))
before = left()
for _ in range(5):
    for profile in ("good", "bad", "absent"):
        in_an_errand(profile)
print(left() == before or (before, left()))
os.environ["AWS_PROFILE"] = "good"
answers.clear()
ask()
print(*answers)
"""


def test_it_is_asked_there_and_in_a_greenlet_and_leaves_no_descriptor(tmp_path):
    keys = {"Version": 1, "AccessKeyId": "key-of-a-program", "SecretAccessKey": "s", "SessionToken": "x" * 200_000}
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    (tmp_path / "config").write_text(
        f"[profile good]\ncredential_process = cat {tmp_path}/keys.json\n"
        f"[profile bad]\ncredential_process = cat {tmp_path}/nothing\n"
        f"[profile absent]\ncredential_process = {tmp_path}/no-program\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT],
        cwd=ROOT,
        env={**environment, "AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    good, bad, absent, leaves_nothing, in_a_greenlet = done.stdout.splitlines()
    assert good == in_a_greenlet == "key-of-a-program"
    assert "custom-process" in bad
    assert "No such file or directory" in bad
    assert absent.startswith("FileNotFoundError")
    assert leaves_nothing == "True"
