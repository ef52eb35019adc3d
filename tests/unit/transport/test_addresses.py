"""Where the queues are."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from app.errors import QueueMissing
from app.transport.addresses import Addresses
from app.transport.options import Options, QueueOptions
from app.transport.provision import Wanted


class SQS:
    """As much of a client as addresses need."""

    def __init__(self, *names, refuses=None):
        self.names, self.calls, self.refuses = set(names), [], refuses

    def get_queue_url(self, **call):
        self.calls.append(call)
        name = call["QueueName"]
        if self.refuses or name not in self.names:
            code = self.refuses or "AWS.SimpleQueueService.NonExistentQueue"
            raise ClientError({"Error": {"Code": code}}, "GetQueueUrl")
        return {"QueueUrl": f"https://sqs/{name}"}

    def get_queue_attributes(self, **call):
        return {"Attributes": {"QueueArn": "arn:" + call["QueueUrl"]}}

    def create_queue(self, **call):
        self.names.add(call["QueueName"])


def addresses(sqs, **options):
    return Addresses(Options(**options), client=lambda: sqs)


def test_a_configured_url_is_taken_without_a_question():
    sqs = SQS()
    assert addresses(sqs, queues={"orders": QueueOptions(url="https://there")}).url("orders") == "https://there"
    assert sqs.calls == []


def test_sqs_is_asked_once_by_name_and_account():
    sqs = SQS("prod-orders")
    known = addresses(sqs, queues={"orders": QueueOptions(name="prod-orders", account="123")})
    assert [known.url("orders"), known.url("orders")] == ["https://sqs/prod-orders"] * 2
    assert sqs.calls == [{"QueueName": "prod-orders", "QueueOwnerAWSAccountId": "123"}]


def test_after_it_was_said_to_be_gone_it_is_asked_for_again():
    sqs = SQS("orders")
    known = addresses(sqs)
    known.url("orders")
    known.forget("orders")
    known.url("orders")
    assert len(sqs.calls) == 2


def test_a_missing_queue_is_named():
    with pytest.raises(QueueMissing, match="The queue 'prod-orders' does not exist here"):
        addresses(SQS(), queues={"orders": QueueOptions(name="prod-orders")}).url("orders")


def test_a_refusal_is_no_missing_queue():
    with pytest.raises(ClientError, match="AccessDenied"):
        addresses(SQS(refuses="AccessDenied")).url("orders")


def test_where_queues_may_be_made_the_missing_ones_are():
    sqs = SQS("other")
    make = (Wanted("orders-dead", 60), Wanted("orders", 60, ("orders-dead", 5)), Wanted("other", 60))
    assert addresses(sqs, make=make).url("orders") == "https://sqs/orders"
    assert sqs.names == {"other", "orders", "orders-dead"}


def test_a_queue_that_is_none_of_those_is_missing_there_too():
    with pytest.raises(QueueMissing):
        addresses(SQS(), make=(Wanted("orders", 60),)).url("misspelt")
