"""Queues: making, finding, listing, describing, deleting."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError


def code_of(error) -> str:
    return error.value.response["Error"]["Code"]


def test_a_queue_is_made_and_found_by_name(sqs):
    name = sqs.name_of_a_queue()
    url = sqs.client.create_queue(QueueName=name)["QueueUrl"]
    assert url.endswith(f"/{name}")
    assert sqs.client.get_queue_url(QueueName=name)["QueueUrl"] == url
    assert sqs.arn(url) == sqs.expected_arn(url)


def test_making_a_queue_again_gives_the_same(sqs):
    name = sqs.name_of_a_queue()
    url = sqs.client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"})["QueueUrl"]
    assert sqs.client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"})["QueueUrl"] == url
    assert sqs.client.create_queue(QueueName=name)["QueueUrl"] == url


def test_making_it_again_with_another_attribute_is_refused(sqs):
    name = sqs.name_of_a_queue()
    sqs.client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"})
    with pytest.raises(sqs.client.exceptions.QueueNameExists):
        sqs.client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "6"})


@pytest.mark.parametrize("name", ["a b", "a" * 81, "a!"], ids=["space", "too long", "mark"])
def test_a_name_outside_the_rules_is_refused(sqs, name):
    with sqs.refuses("InvalidParameterValue"):
        sqs.client.create_queue(QueueName=name)


def test_a_missing_queue_is_an_error_of_its_own(sqs):
    missing = sqs.queue() + "-missing"
    for call in (
        lambda: sqs.client.get_queue_url(QueueName=sqs.name_of_a_queue()),
        lambda: sqs.client.send_message(QueueUrl=missing, MessageBody="x"),
        lambda: sqs.client.receive_message(QueueUrl=missing),
        lambda: sqs.client.get_queue_attributes(QueueUrl=missing, AttributeNames=["All"]),
        lambda: sqs.client.delete_message(QueueUrl=missing, ReceiptHandle="x"),
        lambda: sqs.client.delete_queue(QueueUrl=missing),
    ):
        with pytest.raises(sqs.client.exceptions.QueueDoesNotExist):
            call()


def test_a_missing_queue_has_the_code_that_older_clients_match_on(sqs):
    with pytest.raises(ClientError) as refused:
        sqs.client.get_queue_url(QueueName=sqs.name_of_a_queue())
    assert code_of(refused) == "AWS.SimpleQueueService.NonExistentQueue"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_attributes_have_their_defaults(sqs):
    got = sqs.attributes(sqs.queue())
    expected = {
        "VisibilityTimeout": "30",
        "MessageRetentionPeriod": "345600",
        "MaximumMessageSize": "1048576",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "0",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
    }
    assert {name: got.get(name) for name in expected} == expected
    assert int(got["CreatedTimestamp"]) == pytest.approx(int(got["LastModifiedTimestamp"]), abs=2)


def test_only_the_attributes_asked_for_are_given(sqs):
    url = sqs.queue()
    assert set(sqs.attributes(url, "QueueArn", "VisibilityTimeout")) == {"QueueArn", "VisibilityTimeout"}


def test_an_attribute_that_does_not_exist_cannot_be_asked_for(sqs):
    with pytest.raises(sqs.client.exceptions.InvalidAttributeName):
        sqs.client.get_queue_attributes(QueueUrl=sqs.queue(), AttributeNames=["Colour"])


def test_attributes_can_be_changed(sqs):
    url = sqs.queue()
    changes = {
        "VisibilityTimeout": "43200",
        "MessageRetentionPeriod": "1209600",
        "MaximumMessageSize": "1024",
        "DelaySeconds": "900",
        "ReceiveMessageWaitTimeSeconds": "20",
    }
    sqs.client.set_queue_attributes(QueueUrl=url, Attributes=changes)
    got = sqs.attributes(url)
    assert {name: got[name] for name in changes} == changes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VisibilityTimeout", "43201"),
        ("MessageRetentionPeriod", "59"),
        ("MaximumMessageSize", "1023"),
        ("DelaySeconds", "901"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
    ],
)
def test_an_attribute_outside_its_range_is_refused(sqs, name, value):
    with pytest.raises(sqs.client.exceptions.InvalidAttributeValue):
        sqs.client.set_queue_attributes(QueueUrl=sqs.queue(), Attributes={name: value})


def test_queues_are_listed_by_prefix_page_by_page(sqs):
    prefix = sqs.name_of_a_queue()
    urls = {sqs.client.create_queue(QueueName=f"{prefix}-{n}")["QueueUrl"] for n in range(5)}
    assert set(sqs.client.list_queues(QueueNamePrefix=prefix)["QueueUrls"]) == urls
    pages = list(
        sqs.client.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2})
    )
    assert [len(page["QueueUrls"]) for page in pages] == [2, 2, 1]
    assert {url for page in pages for url in page["QueueUrls"]} == urls


def test_a_deleted_queue_is_gone(sqs):
    url = sqs.queue()
    sqs.client.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.client.exceptions.QueueDoesNotExist):
        sqs.send(url, "x")


def test_its_name_rests_for_a_minute(sqs):
    name = sqs.name_of_a_queue()
    sqs.client.delete_queue(QueueUrl=sqs.client.create_queue(QueueName=name)["QueueUrl"])
    with pytest.raises(sqs.client.exceptions.QueueDeletedRecently):
        sqs.client.create_queue(QueueName=name)


def test_a_purge_empties_the_queue_in_flight_and_delayed_messages_too(sqs):
    url = sqs.queue()
    sqs.send(url, "in flight")
    assert sqs.bodies(url) == ["in flight"]
    sqs.send(url, "visible")
    sqs.send(url, "delayed", DelaySeconds=60)
    assert sqs.counts(url) == (1, 1, 1)
    sqs.client.purge_queue(QueueUrl=url)
    assert sqs.counts(url) == (0, 0, 0)


def test_a_second_purge_within_a_minute_is_refused(sqs):
    url = sqs.queue()
    sqs.client.purge_queue(QueueUrl=url)
    with pytest.raises(sqs.client.exceptions.PurgeQueueInProgress):
        sqs.client.purge_queue(QueueUrl=url)


def test_tags(sqs):
    url = sqs.queue()
    sqs.client.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2"})
    sqs.client.tag_queue(QueueUrl=url, Tags={"b": "3"})
    assert sqs.client.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "1", "b": "3"}
    sqs.client.untag_queue(QueueUrl=url, TagKeys=["a", "never there"])
    assert sqs.client.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "3"}


def test_a_queue_can_be_made_with_tags(sqs):
    url = sqs.client.create_queue(QueueName=sqs.name_of_a_queue(), tags={"a": "1"})["QueueUrl"]
    assert sqs.client.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "1"}
