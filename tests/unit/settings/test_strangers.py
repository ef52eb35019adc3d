"""Names that look like ours: misspelt ones stop the start, Kubernetes' own do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import SettingsError, load
from settings.environment import Settings, variables_of
from settings.queue import Queue

OURS = [name for field in Settings.model_fields for name in variables_of(field) if name.startswith("SLUICE_")]


def problems(environ: dict[str, str], *table: Queue) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, table=table)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SLUICE_PREFECH", "10", "SLUICE_PREFECH='10': no such setting; did you mean SLUICE_PREFETCH?"),
        ("SLUICE_REGION", "eu-west-1", "SLUICE_REGION='***': no such setting; did you mean AWS_REGION?"),
        (
            "SLUICE_VISIBILTY_TIMEOUT",
            "60",
            "SLUICE_VISIBILTY_TIMEOUT='60': no such setting; did you mean SLUICE_VISIBILITY_TIMEOUT?",
        ),
        (
            "sluice_polls_max",
            "3",
            "sluice_polls_max='3': no such setting; names are upper case: write SLUICE_POLLS_MAX",
        ),
        ("SLUICE_ZZZ", "yes", "SLUICE_ZZZ='yes': no such setting; remove it; docs/settings.md lists the settings"),
        (
            "SLUICE_CONTROLURL",
            "redis://:hunter2@x",
            "SLUICE_CONTROLURL='***': no such setting; did you mean SLUICE_CONTROL_URL?",
        ),
        (
            "SLUICE_QUEUE_ORDRES_PREFETCH",
            "3",
            "SLUICE_QUEUE_ORDRES_PREFETCH='3': no such setting; did you mean SLUICE_QUEUE_ORDERS_PREFETCH?",
        ),
        (
            "SLUICE_QUEUE_SOMETHING_ELSE_ENTIRELY_URL",
            "3",
            (
                "SLUICE_QUEUE_SOMETHING_ELSE_ENTIRELY_URL='3': no such setting; it would override a queue, and the "
                "queues are orders; correct the name or remove it"
            ),
        ),
    ],
)
def test_an_unknown_name_stops_the_start_and_the_likely_one_is_named(name, value, line):
    assert problems({name: value}, Queue(name="orders")) == [line]


@given(name=st.sampled_from(OURS), at=st.integers(min_value=0), letter=st.sampled_from("ABXZ_"))
def test_a_slip_of_one_letter_never_passes_in_silence(name, at, letter):
    at = len("SLUICE_") + at % (len(name) - len("SLUICE_"))
    slip = name[:at] + letter + name[at + 1 :]
    if slip not in OURS:
        (line,) = problems({slip: "1"}, Queue(name="orders"))
        assert line.startswith(f"{slip}='1': no such setting")


def test_names_of_others_are_left_alone():
    assert load({"SLUICEGATE": "1", "PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "CELERY_LOADER": "y"}, table=())


@pytest.mark.parametrize("service", ["SLUICE", "SLUICE_WORKER", "SLUICE_VALKEY_2"])
@pytest.mark.parametrize(
    ("rest", "value"),
    [
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "80"),
        ("SERVICE_PORT_HTTP", "80"),
        ("SERVICE_PORT_HTTP_METRICS", "80"),
        ("PORT", "tcp://10.0.0.1:80"),
        ("PORT", "udp://10.0.0.1:80"),
        ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP_PROTO", "tcp"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PORT_53_UDP", "udp://10.0.0.1:53"),
        ("PORT_53_UDP_ADDR", "10.0.0.1"),
        ("PORT_99_SCTP_PROTO", "sctp"),
    ],
)
def test_what_kubernetes_sets_for_a_service_is_ignored(service, rest, value):
    assert load({f"{service}_{rest}": value}, table=()) == load({}, table=())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_PORT", "8080"),
        ("SLUICE_WORKER_PORT", "8080"),
        ("SLUICE_WORKER_PORT", "http://10.0.0.1:80"),
        ("SLUICE_PORT_8080_TCP", "8080"),
        ("SLUICE_PORT_X_TCP", "tcp://10.0.0.1:80"),
        ("SLUICE_SERVICE", "x"),
        ("SLUICE_MYSERVICE_HOST", "x"),
        ("SLUICE_EXPORT", "tcp://10.0.0.1:80"),
    ],
)
def test_what_only_looks_like_kubernetes_is_not(name, value):
    (line,) = problems({name: value})
    assert line.startswith(f"{name}=")


def test_no_setting_of_ours_is_taken_for_one_of_kubernetes():
    """A Service cannot hide a wrong value of ours: known names are checked first."""
    from settings.strangers import is_from_kubernetes

    assert not [name for name in OURS if is_from_kubernetes(name, "tcp://10.0.0.1:80")]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        (
            "CELERY_BROKER_URL",
            "leave it (and the option -b) out: the broker is SQS, and AWS_ENDPOINT_URL_SQS says where",
        ),
        ("CELERY_BROKER_READ_URL", "leave it out: the broker is SQS, and AWS_ENDPOINT_URL_SQS says where"),
        ("CELERY_BROKER_WRITE_URL", "leave it out: the broker is SQS, and AWS_ENDPOINT_URL_SQS says where"),
        ("CELERY_RESULT_BACKEND", "leave it (and the option --result-backend) out and use SLUICE_RESULT_URL"),
    ],
)
def test_what_celery_would_read_past_us_stops_the_start(name, fix):
    assert problems({name: "redis://:hunter2@host/0"}) == [
        f"{name}='redis://***@host/0': would overrule Sluice's settings; {fix}"
    ]
