"""One suite for every SQS server: ours in `make test`, ministack and ElasticMQ beside it in `make test-all`.

Ours comes plain, and as near to AWS as it gets: with signatures checked, over TLS, directly and (in `make test-all`)
through a proxy. `make test-aws` runs it on AWS itself, and on nothing else.

AWS's documentation decides. Where a foreign server differs, `DIFFERENCES` says so: the test is then expected to fail
there, and fails the run on the day it passes. docs/local-sqs.md repeats the table.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from app.parent import environment_for_children
from app.testing.sqs.keys import AccessKey
from app.testing.sqs.process import LocalSQS

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where `environments` is: test folders are no packages

import aws
from environments import CACHE, python_environment, run, to_be_made
from proxy import ForwardProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT = 60.0
ANY_KEY = AccessKey("test", "test")
"""What is sent to servers that do not look."""

DIFFERENCES: dict[str, dict[str, str]] = {
    # test (or test[parameter]) → what the server does instead
    "ministack": {
        "test_a_dead_letter_queue_may_refuse": "takes no notice of a RedriveAllowPolicy",
        "test_a_message_may_have_one_mebibyte_attributes_included": "does not count attributes as part of the size",
        "test_a_move_can_be_slow_and_cancelled": "has no message move tasks",
        "test_a_name_outside_the_rules_is_refused": "accepts any queue name",
        "test_a_receipt_lasts_twelve_hours_at_most_extensions_included": "knows no 12-hour limit",
        "test_a_receive_has_ranges[long timeout]": "accepts a VisibilityTimeout above 43,200",
        "test_a_receive_has_ranges[long wait]": "accepts a WaitTimeSeconds above 20",
        "test_a_receive_has_ranges[negative wait]": "accepts a negative WaitTimeSeconds",
        "test_a_second_purge_within_a_minute_is_refused": "purges as often as it is told",
        "test_a_timeout_above_twelve_hours_is_refused": "accepts a VisibilityTimeout above 43,200",
        "test_an_attribute_that_does_not_exist_cannot_be_asked_for": "ignores unknown attribute names",
        "test_an_old_handle_succeeds_and_leaves_the_message_with_its_new_holder": "refuses an old receipt handle",
        "test_dead_letters_are_moved_back": "has no message move tasks",
        "test_deleting_twice_is_no_error": "refuses the second delete",
        "test_its_name_rests_for_a_minute": "lets a deleted queue be made again at once",
        "test_nor_that_of_a_message_that_was_deleted": "says ReceiptHandleIsInvalid",
        "test_of_a_batch_each_entry_succeeds_or_fails_for_itself": "checks neither delays nor attributes of an entry",
        "test_the_queues_behind_a_dead_letter_queue_are_listed": "has no ListDeadLetterSourceQueues",
        "test_the_timeout_of_a_message_that_is_not_in_flight_cannot_be_changed": "changes it and says nothing",
        "test_what_is_empty_is_left_out_of_the_answer": "sends empty lists and maps",
        "test_what_is_outside_the_rules_is_not_sent": "checks neither delays nor message attributes",
    },
    "elasticmq": {
        "test_a_batch_has_one_to_ten_entries_with_ids_of_their_own": "accepts an empty batch",
        "test_a_body_with_forbidden_characters_is_refused": "says InvalidAttributeValue",
        "test_a_dead_letter_queue_may_refuse": "takes no notice of a RedriveAllowPolicy",
        "test_a_message_may_have_one_mebibyte_attributes_included": "does not count attributes as part of the size",
        "test_a_missing_queue_has_the_code_that_older_clients_match_on": "sends no x-amzn-query-error header",
        "test_a_move_can_be_slow_and_cancelled": "forgets a move task that was cancelled",
        "test_a_name_outside_the_rules_is_refused": "says InvalidAttributeName",
        "test_a_queue_may_set_a_smaller_limit": "takes no notice of MaximumMessageSize",
        "test_a_receipt_lasts_twelve_hours_at_most_extensions_included": "knows no 12-hour limit",
        "test_a_receive_has_ranges[long timeout]": "accepts a VisibilityTimeout above 43,200",
        "test_a_second_purge_within_a_minute_is_refused": "purges as often as it is told",
        "test_a_timeout_above_twelve_hours_is_refused": "accepts a VisibilityTimeout above 43,200",
        "test_all_messages_of_a_batch_together_have_one_mebibyte": "says InvalidAttributeValue",
        "test_an_attribute_outside_its_range_is_refused": "accepts any value",
        "test_an_attribute_that_does_not_exist_cannot_be_asked_for": "ignores unknown attribute names",
        "test_an_old_handle_succeeds_and_leaves_the_message_with_its_new_holder": "refuses an old receipt handle",
        "test_attributes_can_be_changed": "has no MessageRetentionPeriod and no MaximumMessageSize",
        "test_attributes_have_their_defaults": "has no MessageRetentionPeriod and no MaximumMessageSize",
        "test_deleting_twice_is_no_error": "refuses the second delete",
        "test_its_name_rests_for_a_minute": "lets a deleted queue be made again at once",
        "test_message_attributes_can_be_chosen_by_name_and_by_prefix[prefix]": "knows no prefix.*",
        "test_nor_that_of_a_message_that_was_deleted": "says ReceiptHandleIsInvalid",
        "test_queues_are_listed_by_prefix_page_by_page": "lists all queues on one page",
        "test_the_timeout_of_a_message_that_is_not_in_flight_cannot_be_changed": "changes it and says nothing",
        "test_what_is_empty_is_left_out_of_the_answer": "sends empty lists and maps",
        "test_what_is_outside_the_rules_is_not_sent[reserved name]": "accepts reserved attribute names",
        "test_what_is_outside_the_rules_is_not_sent[two periods]": "accepts attribute names with two periods",
    },
}
CODES: dict[str, dict[str, str]] = {
    # AWS's error code → one that the server sends instead, now and then
    "elasticmq": {"InvalidParameterValue": "InvalidAttributeValue", "MissingParameter": "InvalidAttributeValue"},
}
#: Seconds that a test may wait on AWS, whose clock nobody moves.
LONGEST_WAIT = 60.0
NOT_ON_AWS: dict[str, str] = {
    # test → why AWS need not do what it asks, or not so soon
    "test_a_deleted_queue_is_gone": "may take calls for up to 60 s more (DeleteQueue)",
    "test_a_received_message_comes_back_when_its_visibility_timeout_is_over": "counts are exact within a minute only",
    "test_attributes_can_be_changed": "may take up to 60 s to show it (SetQueueAttributes)",
    "test_delays_per_message_go_before_the_queues": "counts are exact within a minute only",
}


class Server:
    """A server under test, and how time passes in it."""

    def __init__(
        self,
        name: str,
        endpoint_url: str,
        *,
        key: AccessKey = ANY_KEY,
        ca_file: Path | None = None,
        proxy_url: str | None = None,
    ) -> None:
        self.name = name
        self.endpoint_url = endpoint_url
        self._key = key
        self._ca_file = ca_file
        self._proxies = None if proxy_url is None else {"https": proxy_url}
        self._numbers = itertools.count(1)
        self.client = self.new_client()

    def new_client(self):
        return boto3.client(
            "sqs",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self._key.id,
            aws_secret_access_key=self._key.secret,
            verify=None if self._ca_file is None else str(self._ca_file),
            config=Config(
                retries={"total_max_attempts": 1}, read_timeout=30, max_pool_connections=50, proxies=self._proxies
            ),
        )

    def name_of_a_queue(self) -> str:
        return f"contract-{os.getpid()}-{next(self._numbers)}"

    def queue(self, **attributes: object) -> str:
        """A new queue's URL."""
        values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
        return self.client.create_queue(QueueName=self.name_of_a_queue(), Attributes=values)["QueueUrl"]

    def expected_arn(self, url: str) -> str:
        return f"arn:aws:sqs:us-east-1:000000000000:{url.rpartition('/')[2]}"

    def arn(self, url: str) -> str:
        return self.attributes(url, "QueueArn")["QueueArn"]

    def attributes(self, url: str, *names: str) -> dict[str, str]:
        return self.client.get_queue_attributes(QueueUrl=url, AttributeNames=names or ["All"]).get("Attributes", {})

    def counts(self, url: str) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        got = self.attributes(url, "All")
        return tuple(int(got[f"ApproximateNumberOfMessages{what}"]) for what in ("", "NotVisible", "Delayed"))

    def send(self, url: str, *bodies: str, **parameters: object) -> list[str]:
        return [self.client.send_message(QueueUrl=url, MessageBody=body, **parameters)["MessageId"] for body in bodies]

    def receive(self, url: str, count: int = 10, **parameters: object) -> list[dict]:
        parameters = {"WaitTimeSeconds": 0, **parameters}
        return self.client.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **parameters).get("Messages", [])

    def bodies(self, url: str, count: int = 10, **parameters: object) -> list[str]:
        return sorted(message["Body"] for message in self.receive(url, count, **parameters))

    def codes(self, aws: str) -> set[str]:
        """What this server may say where AWS says this error code."""
        return {aws, CODES.get(self.name, {}).get(aws, aws)}

    @contextlib.contextmanager
    def refuses(self, aws: str) -> Iterator[None]:
        """The call inside is refused with this error code."""
        with pytest.raises(ClientError) as refused:
            yield
        assert refused.value.response["Error"]["Code"] in self.codes(aws)

    def let_pass(self, seconds: float) -> None:
        """Wait, with a little more for servers that look only now and then."""
        time.sleep(seconds + 0.3)


class OurServer(Server):
    """Ours has a clock that can be moved."""

    def __init__(self, local: LocalSQS, *, proxy_url: str | None = None) -> None:
        super().__init__("ours", local.endpoint_url, key=local.access_key, ca_file=local.ca_file, proxy_url=proxy_url)
        self.local = local

    def let_pass(self, seconds: float) -> None:
        self.local.clock.advance(seconds)


class AWSServer(Server):
    """AWS: its time passes as it does, and a short receive asks some of its machines only."""

    def __init__(self, account: aws.Account) -> None:
        self.account = account
        self._visible_at_once: set[str] = set()
        super().__init__("aws", account.client.meta.endpoint_url)

    def new_client(self):
        return self.account.new_client()

    def name_of_a_queue(self) -> str:
        return self.account.name()

    def expected_arn(self, url: str) -> str:
        region = self.client.meta.region_name
        account, name = url.split("/")[-2:]
        return f"arn:{boto3.Session().get_partition_for_region(region)}:sqs:{region}:{account}:{name}"

    def queue(self, **attributes: object) -> str:
        url = super().queue(**attributes)
        if attributes.get("VisibilityTimeout") == "0":
            self._visible_at_once.add(url)
        return url

    def counts(self, url: str) -> tuple[aws.Approximate, ...]:
        return tuple(self.account.counts(url).values())

    def receive(self, url: str, count: int = 10, **parameters: object) -> list[dict]:
        """A long poll, which asks all machines, and then what there is beside it, unless it would come again."""
        if "WaitTimeSeconds" in parameters:
            return super().receive(url, count, **parameters)
        found = super().receive(url, count, WaitTimeSeconds=1, **parameters)
        if url in self._visible_at_once or parameters.get("VisibilityTimeout") == 0:
            return found
        while found and len(found) < count and (more := super().receive(url, count - len(found), **parameters)):
            found += more
        return found

    def let_pass(self, seconds: float) -> None:
        if seconds > LONGEST_WAIT:
            pytest.skip(f"would wait for {seconds:g} s, since nobody moves AWS's clock")
        time.sleep(seconds + 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command: list[object], environment: dict[str, str], port: int, log: Path) -> Iterator[str]:
    """Run a foreign server until the tests are done with it."""
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(part) for part in command],
            env=environment_for_children() | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"{command[0]} does not listen on {url}:\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def ours() -> Iterator[Server]:
    with LocalSQS() as local:
        yield OurServer(local)


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with LocalSQS(strict=True, tls=tmp_path_factory.mktemp("tls")) as local:
        yield OurServer(local)


@pytest.fixture(scope="session")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with LocalSQS(strict=True, tls=tmp_path_factory.mktemp("tls")) as local, ForwardProxy() as proxy:
        yield OurServer(local, proxy_url=proxy.url)
        assert set(proxy.tunnels) == {local.endpoint_url.removeprefix("https://")}


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """In an environment of its own, as it pins an old botocore; made once, and again when the lock changes."""
    environment = python_environment("ministack")
    port = free_port()
    settings = {
        # Without the first it would listen on every address.
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "SERVICES": "sqs",
        "LOG_LEVEL": "WARNING",
    }
    log = tmp_path_factory.mktemp("ministack") / "log"
    for url in start([environment / "bin" / "ministack"], settings, port, log):
        yield Server("ministack", url)


@pytest.fixture(scope="session")
def elasticmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that docker-compose.yml uses, from Maven instead of an image."""
    here = Path(__file__).parent / "elasticmq"
    pom = here / "pom.xml"
    with to_be_made("elasticmq", pom) as libraries:
        if libraries is not None:
            copy = ["dependency:copy-dependencies", f"-DoutputDirectory={libraries}", "-DincludeScope=runtime"]
            run("mvn", "-B", "-q", "-f", pom, *copy)
    port = free_port()
    log = tmp_path_factory.mktemp("elasticmq") / "log"
    classes = f"{CACHE / 'elasticmq'}/*"
    command = ["java", "-Xmx512m", f"-Dconfig.file={here / 'elasticmq.conf'}", "-cp", classes]
    for url in start([*command, "org.elasticmq.server.Main"], {"PORT": str(port)}, port, log):
        yield Server("elasticmq", url)


@pytest.fixture(scope="session")
def on_aws() -> Iterator[Server]:
    for account in aws.account():
        yield AWSServer(account)


@pytest.fixture(
    params=["on_aws"]
    if aws.PREFIX
    else [
        "ours",
        "strict",
        pytest.param("proxied", marks=pytest.mark.long),
        pytest.param("ministack", marks=pytest.mark.needs("python3")),
        pytest.param("elasticmq", marks=[pytest.mark.needs("java"), pytest.mark.needs("mvn")]),
    ],
    scope="session",
)
def sqs(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect what `DIFFERENCES` says, and refuse an entry of it that names no test."""
    if aws.PREFIX:
        for item in items:
            if (reason := NOT_ON_AWS.get(item.originalname)) is not None:
                item.add_marker(pytest.mark.skip(reason=f"AWS: {reason}"))
        return
    unused = {(name, test) for name, tests in DIFFERENCES.items() for test in tests}
    files = set()
    for item in items:
        if Path(__file__).parent not in item.path.parents or "sqs" not in getattr(item, "fixturenames", ()):
            continue
        files.add(item.path)
        name = item.callspec.params["sqs"]
        parameters = item.callspec.id.removeprefix(name).removeprefix("-")
        for test in (item.originalname, f"{item.originalname}[{parameters}]"):
            if (reason := DIFFERENCES.get(name, {}).get(test)) is not None:
                unused.discard((name, test))
                item.add_marker(pytest.mark.xfail(strict=True, reason=f"{name}: {reason}"))
    whole_suite = set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__).parent / "test_differences.py"}
    if unused and files == whole_suite and not any(item.config.option.keyword for item in items[:1]):
        raise pytest.UsageError(f"DIFFERENCES names tests that do not exist: {sorted(unused)}")


@pytest.fixture(scope="session")
def differences() -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    return DIFFERENCES, CODES
