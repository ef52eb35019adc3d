"""A small project on stock Celery, its worker and its producers beside ours, on one queue."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, WITHIN, Worker, end, plain_environment, until

PROJECT = Path(__file__).parent / "project"
QUEUE = "orders"


class Stock(Worker):
    """`celery -A shop worker`: the installed celery and kombu, or those of another Python; nothing of ours."""

    application, folder = "shop", PROJECT


class Shop:
    """The project on a server: its producers, its workers of both kinds, and what its tasks noted."""

    def __init__(self, server, folder):
        self.server = server
        self.folder = folder
        self.notes_file = folder / "shop-notes"
        address = server.endpoint_url.removeprefix("http://")
        self.environment = {
            "PYTHONPATH": f"{PROJECT}:{ROOT}",
            "SHOP_NOTES": str(self.notes_file),
            "SHOP_BROKER_URL": f"sqs://local:local@{address}//",
            "AWS_ENDPOINT_URL_SQS": server.endpoint_url,
            "AWS_REGION": "us-east-1",
            "SLUICE_QUEUE": QUEUE,
        }
        self.workers = []
        #: Whose celery and kombu "stock" is.
        self.stock_python = sys.executable

    def send(self, on, *arguments, **environment):
        """Run the project's producer, on `stock` or on `sluice`."""
        python = self.stock_python if on == "stock" else sys.executable
        done = subprocess.run(
            [python, "-W", "ignore", "send.py", *map(str, arguments)],
            cwd=PROJECT,
            env={**plain_environment(), **self.environment, "SHOP_ON": on, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self, on, *, wait=True, **environment):
        """A worker of the project's, on `stock` or on `sluice`."""
        folder = self.folder / f"{on}-{len(self.workers)}"
        folder.mkdir()
        given = {**self.environment, "SHOP_WORKER": on, "SLUICE_TASK_MODULES": "shop.jobs", **environment}
        worker = (Stock if on == "stock" else Worker)(folder, given, "-P", "prefork", "-c", "2")
        if on == "stock":
            worker.celery = (self.stock_python, "-m", "celery")
        self.workers.append(worker.start())
        return worker.ready() if wait else worker

    @property
    def notes(self):
        if not self.notes_file.exists():
            return []
        return [json.loads(line) for line in self.notes_file.read_text().splitlines()]

    @property
    def names(self):
        return [note["name"] for note in self.notes]

    def wait_for(self, names, within=WITHIN):
        """Wait until tasks with these names have noted themselves."""
        until(
            lambda: set(names) <= set(self.names),
            lambda: f"{set(names) - set(self.names)}; {[worker.log[-3000:] for worker in self.workers]}",
            within,
        )

    def note(self, name):
        """The one note of that name."""
        [found] = [note for note in self.notes if note["name"] == name]
        return found


@pytest.fixture
def shop(sqs_server, tmp_path):
    sqs_server.create_queue(QUEUE, max_receives=50, attributes={"VisibilityTimeout": "30"})
    project = Shop(sqs_server, tmp_path)
    yield project
    end(project.workers)
