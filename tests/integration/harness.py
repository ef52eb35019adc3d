"""What the integration tests start and look at: workers, the queues of the local SQS server, the embedded Valkey."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import boto3
import psutil
import pytest

from app.parent import environment_for_children
from app.transport import aws

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
POOLS = ("prefork", "gevent", "threads", "solo")
VALKEY = "from app.cli.valkey import command; command()"
WITHIN = 30.0
#: What no worker may write: that it forked beside a thread, left something open, or that a line of ours is outdated.
FORBIDDEN = re.compile(rf".*(?:forked beside|ResourceWarning|{ROOT}/(?:app|settings|tasks)/.*Warning).*")


def until(predicate, what, within=WITHIN):
    """Wait until `predicate()` is true; gives what it said."""
    deadline = time.monotonic() + within
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"no {what() if callable(what) else what} within {within} s"
        time.sleep(0.02)
    return found


def plain_environment():
    """This process's environment without what is about Sluice and AWS."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_", "FLOWER_"))}


def python(*arguments, **environment):
    """Run Python in the project's folder, with nothing of Sluice and AWS in its environment but this; how it ended."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**plain_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment_of(server):
    """A worker's environment for a server: a local one, or an AWS account (`make test-aws`)."""
    if hasattr(server, "worker_environment"):
        return server.worker_environment
    return {"AWS_ENDPOINT_URL_SQS": server.endpoint_url, "AWS_REGION": "us-east-1"}


def members(group):
    """The processes of a process group, but for those that only wait to be reaped."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def elsewhere(server):
    """A worker's environment for a local server under an address that is not this machine's, as AWS is.

    It is reached by way of a proxy, which it is itself. Nothing there is made unasked.
    """
    return {
        "AWS_ENDPOINT_URL_SQS": "http://sqs.elsewhere.example",
        "HTTP_PROXY": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret-key",
    }


def profile(server, folder, credentials):
    """A worker's environment in which AWS's profile says all of a strict local server: an endpoint there is AWS to us.

    Args:
        server: the server.
        folder: where the profile is kept.
        credentials: lines of the profile that say whose keys are used.
    """
    file = folder / "config"
    file.write_text(
        f"[default]\nregion = {server.region}\nca_bundle = {server.ca_file}\nservices = here\n{credentials}\n"
        f"[services here]\nsqs =\n  endpoint_url = {server.endpoint_url}\n"
    )
    return {"AWS_CONFIG_FILE": str(file), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none")}


def table_of_queues(folder, *names):
    """A worker's environment in which `settings/queues.py` has a row for each of these names."""
    (folder / "sitecustomize.py").write_text(
        "from settings.loading import load\n"
        "from settings.queue import Queue\n"
        f"load.__kwdefaults__['table'] = [Queue(name=name) for name in {names!r}]\n"
    )
    return {"PYTHONPATH": f"{folder}{os.pathsep}{HERE}"}


def body(task, args=(), kwargs=None, *, headers=None, id=None):  # noqa: A002 - Celery's word
    """A message body as Celery's producers make it, without what our worker does not look at."""
    id = id or str(uuid.uuid4())  # noqa: A001
    return json.dumps(
        {
            "body": json.dumps(
                [args, kwargs or {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
            ),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": id,
                "root_id": id,
                "retries": 0,
                "eta": None,
                **(headers or {}),
            },
            "properties": {
                "correlation_id": id,
                "reply_to": str(uuid.uuid4()),
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "sluice"},
                "priority": 0,
                "body_encoding": "utf-8",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


class Worker:
    """`celery -A app worker …` as a process, with what it writes and what its tasks note."""

    #: What is run, of which application, and where.
    celery = (sys.executable, HERE / "watched.py")
    application, folder = "app", ROOT

    def __init__(self, folder, environment, *options):
        self.log_file, self.notes_file = folder / "worker.log", folder / "notes"
        self.environment = {
            **plain_environment(),
            "PYTHONPATH": str(HERE),
            "PROBE_FILE": str(self.notes_file),
            "SLUICE_TASK_MODULES": "tasks,probe",
            "SLUICE_POLL_WAIT": "1",
            "SLUICE_RETRY_BACKOFF": "1",
            **environment,
        }
        self.options = options
        self.process = None

    def start(self):
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.celery, "-A", self.application, "worker", "-l", "INFO", *self.options],
                cwd=self.folder,
                env=environment_for_children(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def ready(self):
        self.wait_for(" ready.")
        return self

    @property
    def log(self):
        return self.log_file.read_text()

    @property
    def is_alive(self):
        return self.process.poll() is None

    def wait_for(self, text, *, times=1, within=WITHIN):
        """Wait until the log has the text that often, at least."""

        def said():
            is_alive = self.is_alive  # before the log is read: what it says last it may say meanwhile
            found = self.log.count(text) >= times
            assert found or is_alive, f"the worker ended ({self.process.returncode}): {self.log}"
            return found

        until(said, lambda: f"{text!r} in the log: {self.log}", within)

    def notes(self, kind):
        """The names that tasks of the probe noted, in order: `start` or `end`."""
        lines = self.notes_file.read_text().splitlines() if self.notes_file.exists() else []
        return [line.split()[1] for line in lines if line.startswith(f"{kind} ")]

    def wait_for_notes(self, kind, names, within=WITHIN):
        until(
            lambda: set(names) <= set(self.notes(kind)),
            lambda: f"{kind} of {set(names) - set(self.notes(kind))}; the log: {self.log[-6000:]}",
            within,
        )

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def ended(self, within=WITHIN):
        """The exit status, once it has ended."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the worker did not end within {within} s: {self.log[-6000:]}")

    def stop(self, within=WITHIN):
        self.signal()
        return self.ended(within)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def end(workers):
    """Kill what is left of workers; then what they wrote must be in order."""
    for worker in workers:
        worker.kill()
    for worker in workers:
        forbidden = FORBIDDEN.findall(worker.log)
        assert not forbidden, forbidden


class Events:
    """Collects an application's monitoring events in a thread of its own."""

    def __init__(self, app):
        self._app, self.seen = app, []
        self._stop, self._listening = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _run(self):
        with self._app.connection() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self.seen.append})
            with receiver.consumer_context() as (listening, _, _):
                while not self._stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        listening.drain_events(timeout=0.2)
                    self._listening.set()  # after the first, with which kombu's Redis transport subscribes

    def of(self, task_id):
        return [event["type"] for event in list(self.seen) if event.get("uuid") == task_id]

    def of_type(self, kind):
        return [event for event in list(self.seen) if event["type"] == kind]


def _client(server):
    if getattr(server, "ca_file", None) is None:
        return aws.sqs_client(endpoint_url=server.endpoint_url, region="us-east-1")
    return boto3.client(
        "sqs",
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.access_key.id,
        aws_secret_access_key=server.access_key.secret,
        verify=str(server.ca_file),
    )


class Queues:
    """The queues of a local SQS server, as producers and tests see them."""

    def __init__(self, server):
        self.server = server
        self.client = _client(server)

    def url(self, name="sluice"):
        return self.client.get_queue_url(QueueName=name)["QueueUrl"]

    def send(self, *bodies, queue="sluice"):
        url = self.url(queue)
        for text in bodies:
            self.client.send_message(QueueUrl=url, MessageBody=text)

    def left(self, name="sluice"):
        """Messages in the queue, in whatever state."""
        row = self.server.queues[name]
        return row["visible"] + row["in_flight"] + row["delayed"]

    def bodies(self, name):
        """The bodies of all messages that can be received."""
        return [message["Body"] for message in self._receive_all(name)]

    def beside(self, names, name="sluice"):
        """For a failed check to say: the visible messages that are no tasks of these names, and their receives."""
        found = []
        for message in self._receive_all(name, AttributeNames=["All"]):
            task = json.loads(json.loads(message["Body"])["body"])[0][0]
            if task not in names:
                found.append((task, message["MessageId"], message["Attributes"]))
        return f"{found}; {self.server.queues}; {self.server.counts}"

    def letters(self, name):
        """The bodies of all messages of a dead-letter queue, each with what its attribute says of why."""
        found = []
        for message in self._receive_all(name, MessageAttributeNames=["All"]):
            note = message.get("MessageAttributes", {}).get("sluice", {}).get("StringValue")
            found.append((message["Body"], note and json.loads(note)))
        return found

    def _receive_all(self, name, **more):
        """All messages that can be received."""
        asked = {"QueueUrl": self.url(name), "MaxNumberOfMessages": 10, "VisibilityTimeout": 600, **more}
        while messages := self.client.receive_message(**asked).get("Messages"):
            yield from messages

    def wait_until_empty(self, name="sluice", within=WITHIN):
        until(lambda: self.left(name) == 0, lambda: f"empty queue: {self.server.queues}", within)


class AccountQueues(Queues):
    """The same in an AWS account, where queues have names of the run (`make test-aws`)."""

    def __init__(self, server):
        self.server, self.client = server, server.account.client

    def url(self, name="sluice"):
        return self.server.url(name)


class Valkey:
    """The embedded Valkey server as a process of its own."""

    def __init__(self, folder, *options):
        address = folder / f"valkey-{uuid.uuid4()}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", VALKEY, "--exit-with-parent", "--address-file", str(address), *options],
            cwd=ROOT,
            env=environment_for_children(plain_environment()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = until(lambda: address.exists() and address.read_text(), "Valkey's address").strip()
        _, self.password, self.port = re.fullmatch(r"redis://(.*):(.*)@.*:(\d+)/0", self.url).groups()
        [self.server] = (
            child
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if child.name() == "valkey-server"
        )

    def stop(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            self.server.resume()
        self.process.terminate()
        self.process.wait(20)
