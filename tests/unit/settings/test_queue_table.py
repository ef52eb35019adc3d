"""The queues: one by its short form, or a table; the environment's defaults and overrides; what contradicts what."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from settings import SettingsError, load
from settings.queue import Queue, QueueSettings
from settings.queues import QUEUES
from settings.table import FIELDS, override

ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
NAMES = st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=1, max_size=60)


def problems(environ: dict[str, str], *table: Queue) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, table=table)
    return str(caught.value).splitlines()


def test_the_table_is_empty_until_someone_fills_it():
    assert QUEUES == ()


def test_a_name_is_the_short_form_for_one_queue():
    settings = load({"SLUICE_QUEUE": "orders"}, table=())
    assert settings.default_queue == "orders"
    assert settings.queues == (QueueSettings(name="orders", dead_letter="orders-dead"),)
    assert settings.queues[0].address is None


@pytest.mark.parametrize("address", [ARN, URL])
def test_a_url_or_an_arn_is_a_short_form_too(address):
    settings = load({"SLUICE_QUEUE": address}, table=())
    (queue,) = settings.queues
    assert (settings.default_queue, queue.name, queue.url, queue.dead_letter) == (
        "orders",
        "orders",
        address,
        "orders-dead",
    )
    assert queue.address.account == "123456789012"
    assert settings.aws_region == "eu-west-1", "the address tells the region, so that it need not be set"


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://eu-west-1.queue.amazonaws.com/123456789012/orders", "eu-west-1"),
        ("https://queue.amazonaws.com/123456789012/orders", None),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/orders", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders", "cn-north-1"),
        ("https://vpce-0a1b.sqs.ap-southeast-2.vpce.amazonaws.com/123456789012/orders", "ap-southeast-2"),
        ("https://sqs.eu-west-1.api.aws/123456789012/orders", "eu-west-1"),
        ("arn:aws-us-gov:sqs:us-gov-west-1:123456789012:orders", "us-gov-west-1"),
        ("https://sqs.example.com/queue/orders", None),
    ],
)
def test_the_region_is_read_from_every_form_of_address(url, region):
    settings = load({"SLUICE_QUEUE": url}, table=())
    assert settings.queues[0].address.region == region
    assert settings.aws_region == region


def test_the_first_row_is_the_default_queue_unless_the_environment_names_another():
    table = (Queue(name="orders"), Queue(name="mails"))
    assert load({}, table=table).default_queue == "orders"
    assert load({"SLUICE_QUEUE": "mails"}, table=table).default_queue == "mails"
    assert [queue.name for queue in load({"SLUICE_QUEUE": "mails"}, table=table).queues] == ["orders", "mails"]


def test_the_short_form_must_name_a_row_where_there_is_a_table():
    assert problems({"SLUICE_QUEUE": "mailz"}, Queue(name="orders"), Queue(name="mails")) == [
        (
            "SLUICE_QUEUE='mailz': not a row of the table in settings/queues.py; name one of its queues (orders, "
            "mails), add a row for this one, or empty the table to drain a single queue"
        )
    ]


def test_what_a_row_leaves_out_is_the_environments_default():
    environ = {
        "SLUICE_PREFETCH": "7",
        "SLUICE_POLLS_MAX": "2",
        "SLUICE_VISIBILITY_TIMEOUT": "33",
        "SLUICE_MAX_AGE": "60",
        "SLUICE_MAX_RECEIVES": "9",
    }
    (queue,) = load(environ, table=(Queue(name="orders"),)).queues
    assert queue == QueueSettings(
        name="orders", dead_letter="orders-dead", prefetch=7, polls_max=2, visibility=33, max_age=60, max_receives=9
    )
    full = Queue(name="orders", prefetch=1, polls_max=3, visibility=5, max_age=8, max_receives=4)
    (queue,) = load(environ, table=(full,)).queues
    assert queue == QueueSettings(
        name="orders", dead_letter="orders-dead", prefetch=1, polls_max=3, visibility=5, max_age=8, max_receives=4
    )


def test_the_environment_overrides_every_field_of_a_row():
    row = Queue(name="user-mails", prefetch=1, polls_max=3, visibility=5, max_age=8, max_receives=4, dead_letter="old")
    (queue, other) = load(
        {
            "SLUICE_QUEUE_USER_MAILS_URL": "arn:aws:sqs:eu-west-1:123456789012:prod-mails",
            "SLUICE_QUEUE_USER_MAILS_DEAD_LETTER": "lost",
            "SLUICE_QUEUE_USER_MAILS_PREFETCH": "50",
            "SLUICE_QUEUE_USER_MAILS_POLLS_MAX": "4",
            "SLUICE_QUEUE_USER_MAILS_VISIBILITY": "120",
            "SLUICE_QUEUE_USER_MAILS_MAX_AGE": "0.5",
            "SLUICE_QUEUE_USER_MAILS_MAX_RECEIVES": "20",
        },
        table=(row, Queue(name="orders")),
    ).queues
    assert queue == QueueSettings(
        name="user-mails",
        url="arn:aws:sqs:eu-west-1:123456789012:prod-mails",
        dead_letter="lost",
        prefetch=50,
        polls_max=4,
        visibility=120,
        max_age=0.5,
        max_receives=20,
    )
    assert other == QueueSettings(name="orders", dead_letter="orders-dead")


def test_the_environment_overrides_the_single_queue_by_the_same_rule():
    (queue,) = load({"SLUICE_QUEUE": "orders", "SLUICE_QUEUE_ORDERS_POLLS_MAX": "4"}, table=()).queues
    assert queue.polls_max == 4


def test_no_field_is_the_end_of_another_so_an_override_reads_in_one_way_only():
    assert not [(a, b) for a in FIELDS for b in FIELDS if a != b and a.endswith(f"_{b}")]


@given(one=NAMES, other=NAMES)
def test_two_queues_never_answer_to_one_override(one, other):
    """Either their variables are all different, or the start is refused."""
    assume(one != other)
    shared = {override(one, field) for field in FIELDS} & {override(other, field) for field in FIELDS}
    if shared:
        lines = problems({}, Queue(name=one), Queue(name=other))
        assert any(f"the queues {one}, {other} would all be overridden by" in line for line in lines)
    else:
        assume(one != f"{other}-dead")
        assume(other != f"{one}-dead")
        assert len(load({}, table=(Queue(name=one), Queue(name=other))).queues) == 2


def test_names_that_are_the_same_to_the_environment_are_refused():
    assert problems({}, Queue(name="user-mails"), Queue(name="User_Mails")) == [
        (
            "settings/queues.py: the queues user-mails, User_Mails would all be overridden by "
            "SLUICE_QUEUE_USER_MAILS_…; rename all but one (the `url` keeps the name in SQS)"
        )
    ]


def test_a_name_may_differ_from_the_one_in_sqs():
    (queue,) = load({}, table=(Queue(name="orders", url=URL.replace("/orders", "/prod-orders")),)).queues
    assert (queue.name, queue.sqs_name, queue.dead_letter) == ("orders", "prod-orders", "prod-orders-dead")


def test_a_dead_letter_queue_may_be_shared():
    table = (Queue(name="a", dead_letter="lost"), Queue(name="b", dead_letter="lost"))
    assert [queue.dead_letter for queue in load({}, table=table).queues] == ["lost", "lost"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a queue", "not a queue's name; SQS takes 1 to 80 letters, digits, hyphens and underscores"),
        ("ä", "not a queue's name; SQS takes 1 to 80 letters, digits, hyphens and underscores"),
        ("a" * 81, "not a queue's name; SQS takes 1 to 80 letters, digits, hyphens and underscores"),
        ("orders.fifo", "FIFO queues are not supported yet; give a standard queue"),
        (f"{ARN}.fifo", "FIFO queues are not supported yet; give a standard queue"),
        (f"{URL}.fifo", "FIFO queues are not supported yet; give a standard queue"),
        (
            "arn:aws:sns:eu-west-1:123456789012:orders",
            "not the ARN of an SQS queue; write it as arn:aws:sqs:REGION:ACCOUNT:NAME",
        ),
        (
            "arn:aws:sqs:eu-west-1:1234:orders",
            "not the ARN of an SQS queue; write it as arn:aws:sqs:REGION:ACCOUNT:NAME",
        ),
        ("sqs://orders", "not a URL that starts with https:// or http://; write it as https://host:port"),
        (
            "https://sqs.eu-west-1.amazonaws.com/orders",
            "not a queue's URL; SQS's are https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
        ),
        (f"{URL}?a=b", "has a user, a query or a fragment; give the queue's URL as SQS shows it"),
    ],
)
def test_what_is_no_queue_is_refused(value, text):
    (line,) = problems({"SLUICE_QUEUE": value})
    assert line.startswith("SLUICE_QUEUE='")
    assert line.endswith(f"': {text}")


def test_a_problem_in_the_table_names_the_row_and_the_field():
    table = (Queue(name="a b"), Queue(name="orders", visibility=0, url="orders"))
    assert problems({"SLUICE_QUEUE_ORDERS_POLLS_MAX": "many"}, *table) == [
        (
            "settings/queues.py: a b.name='a b': not a queue's name; SQS takes 1 to 80 letters, digits, hyphens and "
            "underscores"
        ),
        (
            "settings/queues.py: orders.url='orders': not a URL that starts with https:// or http://; write it as "
            "https://host:port"
        ),
        "SLUICE_QUEUE_ORDERS_POLLS_MAX='many': not a whole number; give a whole number of receives from 1 to 50",
        "settings/queues.py: orders.visibility='0': too small; give a whole number of seconds from 1 to 43,200",
    ]


def test_a_name_too_long_for_the_default_dead_letter_queue_says_which_variable_helps():
    name = "a" * 78
    (line,) = problems({"SLUICE_QUEUE": name})
    assert line.startswith(f"SLUICE_QUEUE_{name.upper()}_DEAD_LETTER='{name}-dead': not a queue's name")
    assert load({"SLUICE_QUEUE": name, f"SLUICE_QUEUE_{name.upper()}_DEAD_LETTER": "lost"}, table=())


@pytest.mark.parametrize("address", [ARN, URL])
def test_an_address_in_another_region_is_refused(address):
    assert problems({"SLUICE_QUEUE": address, "AWS_REGION": "us-east-1"}) == [
        f"SLUICE_QUEUE='{address}': is in region eu-west-1, but AWS_REGION is us-east-1; make them the same"
    ]


def test_queues_in_several_regions_need_several_workers():
    assert problems({}, Queue(name="a", url=ARN), Queue(name="b", url=URL.replace("eu-west-1", "us-east-1"))) == [
        "settings/queues.py: the queues are in several regions (eu-west-1, us-east-1); run a worker for each region"
    ]


def test_messages_do_not_cross_the_network_unencrypted():
    url = URL.replace("https", "http")
    assert problems({"SLUICE_QUEUE": url}) == [
        f"SLUICE_QUEUE='{url}': would send messages over the network unencrypted; write it with https://"
    ]
    inside = {"SLUICE_QUEUE": "http://elasticmq:9324/queue/orders", "AWS_ENDPOINT_URL_SQS": "http://elasticmq:9324"}
    assert load(inside, table=()).default_queue == "orders", "the endpoint was chosen with open eyes"


def test_a_queue_on_this_machine_needs_the_endpoint_on_this_machine():
    environ = {"SLUICE_QUEUE": "http://127.0.0.1:9324/000000000000/orders"}
    assert problems(environ) == [
        (
            "SLUICE_QUEUE='http://127.0.0.1:9324/000000000000/orders': is on this machine, but AWS_ENDPOINT_URL_SQS is "
            "not; set AWS_ENDPOINT_URL_SQS to the same scheme, host and port, or give the queue's URL at AWS"
        )
    ]
    assert load(environ | {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9324"}, table=()).is_local


def test_an_endpoint_on_this_machine_does_not_reach_a_queue_at_aws():
    assert problems({"SLUICE_QUEUE": URL, "AWS_ENDPOINT_URL_SQS": "http://localhost:9324"}) == [
        (
            f"SLUICE_QUEUE='{URL}': is not on this machine, but AWS_ENDPOINT_URL_SQS=http://localhost:9324 is; unset "
            "one of the two"
        )
    ]


def test_a_wrong_endpoint_is_the_only_problem_of_a_queue_behind_it():
    (line,) = problems({"SLUICE_QUEUE": "http://127.0.0.1:9324/0/orders", "AWS_ENDPOINT_URL_SQS": "127.0.0.1:9324"})
    assert line.startswith("AWS_ENDPOINT_URL_SQS=")


def test_one_queue_in_two_rows_is_refused():
    lines = problems({}, Queue(name="a", url=ARN), Queue(name="b", url=URL))
    assert lines == ["settings/queues.py: a and b are the same queue in SQS (orders); remove one of the rows"]


def test_a_dead_letter_queue_that_is_drained_is_refused():
    assert problems({}, Queue(name="orders"), Queue(name="lost", url=ARN.replace("orders", "orders-dead"))) == [
        (
            "dead-letter queue of orders='orders-dead': is itself drained (as lost), so a failed message would run "
            "again and again; give it a dead-letter queue that no row names"
        )
    ]


def test_overrides_of_a_queue_that_is_wrong_are_not_called_unknown():
    (line,) = problems({"SLUICE_QUEUE": "a queue", "SLUICE_QUEUE_ORDERS_POLLS_MAX": "3"})
    assert line.startswith("SLUICE_QUEUE='a queue'")
