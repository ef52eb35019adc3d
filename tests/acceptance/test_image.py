"""The Dockerfile, replayed step by step without an engine: same files, same lock, no root, the worker as PID 1."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
UID = 10001
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that another user may run, wherever the tests' own Python lives


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(verb, rest.strip()) for verb, rest in lines]


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder with what the image would hold in /sluice, and a virtual environment in the place of its Python."""
    with tempfile.TemporaryDirectory(prefix="image-") as folder:  # pytest's own folders are closed to other users
        root = Path(folder)
        root.chmod(0o755)
        build(root)
        yield root


def build(root: Path) -> None:
    work, venv = root / "sluice", root / "venv"
    work.mkdir()
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", str(venv)], check=True, timeout=60)
    environment = {**os.environ, "PATH": f"{venv}/bin:{os.environ['PATH']}", "LOCK": "runtime"}
    for verb, rest in instructions():
        if verb == "COPY":
            *sources, target = rest.replace("${LOCK}", "runtime").split()
            for source in sources:
                copy(ROOT / source, work / target)
        elif verb == "RUN":
            command = re.sub(r"&& useradd .*", "", rest)  # the user is a number here
            subprocess.run(["sh", "-ec", command], cwd=work, env=environment, check=True, timeout=300)


def copy(source: Path, target: Path) -> None:
    """As COPY does: a folder's content into the target, a file into the folder that is named with a slash."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        return
    target.mkdir(exist_ok=True)
    shutil.copy(source, target / source.name)


@pytest.mark.needs(SYSTEM_PYTHON, "unshare", "setpriv")
@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user in a namespace of its own")
@pytest.mark.timeout(600)
def test_as_pid_1_and_nobody_in_particular_the_worker_works_and_drains_on_sigterm(image, sqs_server, tmp_path):
    log = tmp_path / "worker.log"
    entry = next(rest for verb, rest in instructions() if verb == "ENTRYPOINT")
    command = next(rest for verb, rest in instructions() if verb == "CMD")
    worker = [word.strip('" ') for part in (entry, command) for word in part.strip("[]").split(",")]
    environment = {
        "PATH": f"{image}/venv/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "AWS_ENDPOINT_URL_SQS": sqs_server.endpoint_url,
    }
    confined = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "setpriv", f"--reuid={UID}",
                "--regid=nogroup", "--clear-groups"]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*confined, *worker], cwd=image / "sluice", env=environment, stdout=output, stderr=output
        )
    try:
        wait_for(lambda: "ready." in log.read_text(), log)
        pid = child_of(process.pid)
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"NSpid:\s+\d+\s+1$", status, re.MULTILINE), "the worker is not PID 1"
        assert re.search(rf"Uid:\s+{UID}\s", status)
        assert "superuser" not in log.read_text()

        os.kill(pid, signal.SIGTERM)

        assert process.wait(timeout=30) == 0, log.read_text()
        assert "Warm shutdown" in log.read_text()
    finally:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    """The PID 1 and with it its namespace: the kernel drops the death signal where a process changes its user."""
    if process.poll() is None:
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        process.kill()
        process.wait(timeout=10)


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def wait_for(condition, log: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
