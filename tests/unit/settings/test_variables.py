"""Each variable: its default, what it takes, and the sentence for what it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import SettingsError, load
from settings.environment import Settings, variables_of

if TYPE_CHECKING:
    from settings.queue import Queue


def problems(environ: dict[str, str], table: tuple[Queue, ...] = ()) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, table=table)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).splitlines()


def test_nothing_has_to_be_set():
    settings = load({}, table=())
    assert settings.aws_region is None
    assert settings.aws_endpoint_url_sqs is None
    assert settings.control_url is None
    assert settings.result_url is None
    assert settings.downstream_url is None
    assert settings.downstream_timeout == 10
    assert settings.downstream_connections == 100
    assert settings.task_modules == ("tasks",)
    assert settings.visibility_timeout == 60
    assert settings.drain_timeout == 25
    assert settings.task_time_limit == 900
    assert settings.task_soft_time_limit == 870
    assert settings.prefetch_multiplier == 10
    assert settings.poll_wait == 20
    assert (settings.retry_backoff, settings.retry_backoff_max) == (1, 300)
    assert settings.log_tasks is False
    assert not settings.is_local
    assert settings.default_queue == "sluice"
    assert [queue.name for queue in settings.queues] == ["sluice"]


def test_the_environment_of_the_process_is_read_when_load_is_called_and_not_before(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLUICE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_POLL_WAIT", "7")
    assert load(table=()).poll_wait == 7
    monkeypatch.setenv("SLUICE_POLL_WAIT", "8")
    assert load(table=()).poll_wait == 8


def test_a_given_environment_is_all_that_is_read(monkeypatch):
    monkeypatch.setenv("SLUICE_POLL_WAIT", "7")
    monkeypatch.setenv("SLUICE_NO_SUCH_THING", "7")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    settings = load({}, table=())
    assert settings.poll_wait == 20
    assert settings.aws_region is None


@pytest.mark.parametrize("name", [name for field in Settings.model_fields for name in variables_of(field)])
@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_value_is_not_set(name, empty):
    assert load({name: empty}, table=()) == load({}, table=())


def test_white_space_around_a_value_is_dropped():
    settings = load({"SLUICE_CONTROL_URL": "redis://:pw@valkey:6379/0\n", "SLUICE_POLL_WAIT": " 5 "}, table=())
    assert settings.control_url.get_secret_value() == "redis://:pw@valkey:6379/0"
    assert settings.poll_wait == 5


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load({}, table=()).poll_wait = 3


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        ("AWS_REGION", "AWS_DEFAULT_REGION", "aws_region"),
        ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL", "aws_endpoint_url_sqs"),
    ],
)
def test_the_aws_names_fall_back_to_the_older_ones(first, second, field):
    one, other = ("eu-west-1", "us-east-1") if field == "aws_region" else ("https://one", "https://other")
    assert getattr(load({second: other}, table=()), field) == other
    assert getattr(load({first: one, second: other}, table=()), field) == one
    assert getattr(load({first: "", second: other}, table=()), field) == other


def test_a_problem_in_the_fallback_is_reported_under_its_own_name():
    assert problems({"AWS_DEFAULT_REGION": "Ireland"}) == [
        "AWS_DEFAULT_REGION='Ireland': not a region's name; write it as AWS does, such as eu-west-1"
    ]
    assert [line.partition("=")[0] for line in problems({"AWS_REGION": "Eu", "AWS_DEFAULT_REGION": "Us"})] == [
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ]


@pytest.mark.parametrize(
    ("endpoint", "is_local"),
    [
        ("http://127.0.0.1:9324", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:9324", True),
        ("http://localhost:9324", True),
        ("https://LOCALHOST", True),
        ("http://elasticmq:9324", False),
        ("http://128.0.0.1:9324", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com", False),
    ],
)
def test_local_means_a_loopback_endpoint(endpoint, is_local):
    assert load({"AWS_ENDPOINT_URL_SQS": endpoint}, table=()).is_local is is_local


NUMBERS = [
    ("SLUICE_VISIBILITY_TIMEOUT", "0", "too small; give a whole number of seconds from 1 to 43,200"),
    ("SLUICE_VISIBILITY_TIMEOUT", "43201", "too large; give a whole number of seconds from 1 to 43,200"),
    ("SLUICE_VISIBILITY_TIMEOUT", "1.5", "not a whole number; give a whole number of seconds from 1 to 43,200"),
    ("SLUICE_VISIBILITY_TIMEOUT", "1m", "not a whole number; give a whole number of seconds from 1 to 43,200"),
    ("SLUICE_PREFETCH", "0", "too small; give a whole number of messages from 1 to 100,000"),
    ("SLUICE_POLLS_MIN", "0", "too small; give a whole number of receives from 1 to 50"),
    ("SLUICE_POLLS_MAX", "51", "too large; give a whole number of receives from 1 to 50"),
    ("SLUICE_MAX_AGE", "0", "too small; give a number of seconds above 0 and at most 1,209,600"),
    ("SLUICE_MAX_AGE", "nan", "not a number; give a number of seconds above 0 and at most 1,209,600"),
    ("SLUICE_MAX_RECEIVES", "1001", "too large; give a whole number of receives from 1 to 1,000"),
    ("SLUICE_DOWNSTREAM_TIMEOUT", "0", "too small; give a number of seconds above 0 and at most 43,200"),
    ("SLUICE_DOWNSTREAM_TIMEOUT", "inf", "not a number; give a number of seconds above 0 and at most 43,200"),
    ("SLUICE_DOWNSTREAM_CONNECTIONS", "0", "too small; give a whole number of connections from 1 to 10,000"),
    ("SLUICE_DRAIN_TIMEOUT", "-1", "too small; give a number of seconds from 0 to 43,200"),
    ("SLUICE_DRAIN_TIMEOUT", "30s", "not a number; give a number of seconds from 0 to 43,200"),
    ("SLUICE_TASK_TIME_LIMIT", "43201", "too large; give a number of seconds above 0 and at most 43,200"),
    ("SLUICE_TASK_SOFT_TIME_LIMIT", "0", "too small; give a number of seconds above 0"),
    (
        "SLUICE_PREFETCH_MULTIPLIER",
        "0",
        "too small; give a whole number of messages per place in the pool from 1 to 1,000",
    ),
    ("SLUICE_POLL_WAIT", "21", "too large; give a whole number of seconds from 1 to 20"),
    ("SLUICE_RETRY_BACKOFF", "0", "too small; give a number of seconds above 0 and at most 43,200"),
    ("SLUICE_RETRY_BACKOFF_MAX", "43201", "too large; give a number of seconds above 0 and at most 43,200"),
    ("SLUICE_LOG_TASKS", "maybe", "neither true nor false; give true or false"),
]


@pytest.mark.parametrize(("name", "value", "text"), NUMBERS)
def test_a_number_out_of_range_is_refused_with_the_range(name, value, text):
    assert problems({name: value}) == [f"{name}={value!r}: {text}"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("SLUICE_VISIBILITY_TIMEOUT", ("1", "43200")),
        ("SLUICE_POLL_WAIT", ("1", "20")),
        ("SLUICE_MAX_RECEIVES", ("1", "1000")),
        ("SLUICE_RETRY_BACKOFF_MAX", ("1", "43200")),
    ],
)
def test_the_ends_of_a_range_are_in_it(name, values):
    for value in values:
        assert load({name: value}, table=())


LOCATIONS = [
    (
        "AWS_ENDPOINT_URL_SQS",
        "127.0.0.1:9324",
        "not a URL that starts with https:// or http://; write it as https://host:port",
    ),
    ("AWS_ENDPOINT_URL_SQS", "http://", "a URL without a usable host and port; write it as https://host:port"),
    ("AWS_ENDPOINT_URL_SQS", "http://sqs:0", "a URL without a usable host and port; write it as https://host:port"),
    ("SLUICE_DOWNSTREAM_URL", "http://a b/", "a URL without a usable host and port; write it as https://host:port"),
    (
        "AWS_ENDPOINT_URL_SQS",
        "http://sqs:port",
        "not a well-formed URL; write it as https://host:port, with any of / ? # @ : in a password percent-encoded",
    ),
    (
        "AWS_ENDPOINT_URL_SQS",
        "https://sqs/?a=1",
        "has a user, a query or a fragment, which SQS does not read; write it as https://host:port",
    ),
    (
        "SLUICE_DOWNSTREAM_URL",
        "ftp://x",
        "not a URL that starts with https:// or http://; write it as https://host:port",
    ),
    (
        "SLUICE_DOWNSTREAM_URL",
        "https://x/?key=1",
        "has a query or a fragment; give the base address only, tasks add the rest",
    ),
    (
        "SLUICE_DOWNSTREAM_URL",
        "https://me:pw@x/",
        (
            "has a user and a password, which would be sent to no one; leave them out and let your task send them as a "
            "header"
        ),
    ),
    (
        "SLUICE_CONTROL_URL",
        "sentinel://a:26379",
        (
            "Sentinel and cluster are not supported, since the control link needs one server that sees every message; "
            "give the redis:// or rediss:// address of a single, non-cluster node"
        ),
    ),
    (
        "SLUICE_CONTROL_URL",
        "redis+cluster://a:6379",
        (
            "Sentinel and cluster are not supported, since the control link needs one server that sees every message; "
            "give the redis:// or rediss:// address of a single, non-cluster node"
        ),
    ),
    (
        "SLUICE_CONTROL_URL",
        "valkey://a:6379",
        "Valkey speaks Redis's protocol under Redis's name; write redis:// instead",
    ),
    (
        "SLUICE_CONTROL_URL",
        "valkeys://a:6379",
        "Valkey speaks Redis's protocol under Redis's name; write rediss:// instead",
    ),
    (
        "SLUICE_CONTROL_URL",
        "amqp://a",
        "not a URL that starts with redis:// or rediss:// or unix://; write it as redis://host:port",
    ),
    (
        "SLUICE_CONTROL_URL",
        "redis://a:6379/zero",
        "the path of a redis:// URL is the number of the database; write it as redis://host:port/0",
    ),
    (
        "SLUICE_CONTROL_URL",
        "unix://run/valkey.sock",
        "a unix:// URL without an absolute path; write it as unix:///path/to/the.sock",
    ),
    (
        "SLUICE_RESULT_URL",
        "rpc://",
        (
            "rpc makes a reply queue per client, which SQS would bill and never delete; leave results off, or give a "
            "store such as redis://host:6379/1"
        ),
    ),
    (
        "SLUICE_RESULT_URL",
        "amqp://a",
        (
            "amqp is gone from Celery and never worked beside SQS; leave results off, or give a store such as "
            "redis://host:6379/1"
        ),
    ),
    (
        "SLUICE_RESULT_URL",
        "sqs://",
        (
            "sqs is a broker, not a store of results: a result would be read by whoever polls first; leave results "
            "off, or give a store such as redis://host:6379/1"
        ),
    ),
]


@pytest.mark.parametrize(("name", "value", "text"), LOCATIONS)
def test_a_url_that_cannot_serve_is_refused_with_the_one_that_can(name, value, text):
    (line,) = problems({name: value})
    assert line.partition(": ")[0].startswith(f"{name}=")
    assert line.endswith(f"': {text}")


@pytest.mark.parametrize("scheme", ["rpc", "amqp", "pyamqp", "sqs"])
@pytest.mark.parametrize("rest", ["", "://", "://user:pw@host//"])
def test_brokers_are_no_result_stores_however_they_are_written(scheme, rest):
    (line,) = problems({"SLUICE_RESULT_URL": scheme + rest})
    assert f"{scheme} " in line


@pytest.mark.parametrize(
    "url",
    ["redis://h:6379/1", "rediss://:pw@h/1", "cache+memcached://h", "file:///tmp/results", "dynamodb://@eu-west-1/t"],
)
def test_stores_of_results_are_taken_as_they_are(url):
    assert load({"SLUICE_RESULT_URL": url}, table=()).result_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://valkey",
        "redis://valkey:6379",
        "redis://valkey:6379/3",
        "rediss://user:p%40ss@valkey:6380/0?ssl_cert_reqs=none",
        "redis://:pw@[::1]:6379",
        "unix:///run/valkey.sock",
        "unix://user:pw@/run/valkey.sock?db=2",
    ],
)
def test_one_valkey_is_taken_as_the_control_link_however_it_is_reached(url):
    assert load({"SLUICE_CONTROL_URL": url}, table=()).control_url.get_secret_value() == url


def test_task_modules_are_a_list():
    settings = load({"SLUICE_TASK_MODULES": "tasks, json.tool ,"}, table=())
    assert settings.task_modules == ("tasks", "json.tool")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (",", "names no module; give the modules of your tasks, separated by commas, or leave it out"),
        ("orders/tasks", "'orders/tasks' is not a module's name; give dotted names such as orders.tasks"),
        (
            "no_such_module_at_all",
            (
                "there is no module no_such_module_at_all to import; correct the name, install the package that has "
                "it, or put its folder on PYTHONPATH"
            ),
        ),
        (
            "json,no_such_package.tasks",
            (
                "no_such_package.tasks cannot be imported (No module named 'no_such_package'); correct the name, or "
                "install the package that has it"
            ),
        ),
    ],
)
def test_task_modules_that_cannot_be_imported_stop_the_start(value, text):
    assert problems({"SLUICE_TASK_MODULES": value}) == [f"SLUICE_TASK_MODULES={value!r}: {text}"]


@given(limit=st.floats(min_value=0.001, max_value=43_200))
def test_the_soft_limit_leaves_thirty_seconds_or_a_tenth(limit):
    settings = load({"SLUICE_TASK_TIME_LIMIT": repr(limit)}, table=())
    warned = settings.task_time_limit - settings.task_soft_time_limit
    assert 0 < warned <= 30
    assert warned <= limit / 10 * 1.001 or limit > 300


CONTRADICTIONS = [
    (
        {"SLUICE_TASK_SOFT_TIME_LIMIT": "900"},
        (
            "SLUICE_TASK_SOFT_TIME_LIMIT='900': not below SLUICE_TASK_TIME_LIMIT (900 s), so a task would be killed "
            "before it is warned; lower it, leave it out, or raise the time limit"
        ),
    ),
    (
        {"SLUICE_RETRY_BACKOFF": "400"},
        (
            "SLUICE_RETRY_BACKOFF_MAX='300': below the first wait, SLUICE_RETRY_BACKOFF (400 s); raise it, or lower "
            "the first wait"
        ),
    ),
    (
        {"SLUICE_POLLS_MIN": "21"},
        "SLUICE_POLLS_MIN='21': above SLUICE_POLLS_MAX (20); lower it, or raise the other",
    ),
    (
        {"SLUICE_DOWNSTREAM_URL": "https://x", "SLUICE_TASK_TIME_LIMIT": "10"},
        (
            "SLUICE_DOWNSTREAM_TIMEOUT='10': not below the task's soft time limit (9 s), which would cut the call "
            "first; lower it, or raise SLUICE_TASK_TIME_LIMIT"
        ),
    ),
]


@pytest.mark.parametrize(("environ", "line"), CONTRADICTIONS)
def test_values_that_contradict_each_other_stop_the_start(environ, line):
    assert problems(environ) == [line]


def test_values_at_the_edge_of_a_contradiction_hold():
    assert load({"SLUICE_POLLS_MIN": "20"}, table=())
    assert load({"SLUICE_RETRY_BACKOFF": "300"}, table=())
    assert load({"SLUICE_TASK_TIME_LIMIT": "10"}, table=()), "without a downstream its timeout does not matter"


def test_a_contradiction_with_a_wrong_value_is_not_guessed_at():
    (line,) = problems({"SLUICE_POLLS_MIN": "30", "SLUICE_POLLS_MAX": "many"})
    assert line.startswith("SLUICE_POLLS_MAX='many'")


def test_all_problems_are_reported_at_once():
    lines = problems(
        {
            "AWS_REGION": "Ireland",
            "SLUICE_TASK_TIME_LIMIT": "soon",
            "SLUICE_QUEUE": "a queue",
            "SLUICE_POLS": "3",
            "SLUICE_POLLS_MIN": "30",
            "CELERY_BROKER_URL": "redis://x",
        }
    )
    assert [line.partition("=")[0] for line in lines] == [
        "AWS_REGION",
        "SLUICE_TASK_TIME_LIMIT",
        "SLUICE_QUEUE",
        "CELERY_BROKER_URL",
        "SLUICE_POLS",
        "SLUICE_POLLS_MIN",
    ]


def test_only_one_module_of_the_settings_can_read_the_environment():
    import ast
    from pathlib import Path

    import settings

    readers = []
    for path in Path(settings.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if "os" in names or (isinstance(node, ast.ImportFrom) and node.module == "os"):
                readers.append(path.name)
    assert readers == ["loading.py"]
