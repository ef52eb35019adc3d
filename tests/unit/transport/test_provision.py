"""Which queues are to be made, and how."""

from __future__ import annotations

import json
from types import SimpleNamespace

from app.transport import provision
from app.transport.provision import Wanted


def queue(name, **changes):
    fields = {"url": None, "sqs_name": name, "dead_letter": f"{name}-dead", "visibility": 60, "max_receives": 100}
    return SimpleNamespace(**{**fields, **changes})


def test_each_dead_letter_queue_comes_before_the_queue_that_needs_it():
    assert provision.wanted([queue("a"), queue("b", dead_letter="a-dead")]) == [
        Wanted("a-dead", 60),
        Wanted("a", 60, ("a-dead", 100)),
        Wanted("b", 60, ("a-dead", 100)),
    ]


def test_a_queue_given_by_its_url_is_not_ours_to_make():
    assert provision.wanted([queue("a", url="https://sqs.eu-west-1.amazonaws.com/123/a")]) == []


class SQS:
    def __init__(self):
        self.made = None

    def get_queue_url(self, QueueName):  # noqa: N803 - boto3's name
        return {"QueueUrl": f"https://sqs/{QueueName}"}

    def get_queue_attributes(self, QueueUrl, AttributeNames):  # noqa: N803 - boto3's names
        return {"Attributes": {"QueueArn": f"arn:{QueueUrl}"}}

    def create_queue(self, **call):
        self.made = call


def test_a_queue_is_made_with_its_lease_its_redrive_policy_and_all_the_retention_there_is():
    sqs = SQS()
    provision.make(sqs, Wanted("a", 99, ("a-dead", 7)))
    assert sqs.made["QueueName"] == "a"
    attributes = sqs.made["Attributes"]
    assert (attributes["VisibilityTimeout"], attributes["MessageRetentionPeriod"]) == ("99", str(14 * 24 * 3600))
    policy = json.loads(attributes["RedrivePolicy"])
    assert policy == {"deadLetterTargetArn": "arn:https://sqs/a-dead", "maxReceiveCount": 7}


def test_a_dead_letter_queue_has_none_of_its_own():
    sqs = SQS()
    provision.make(sqs, Wanted("a-dead", 60))
    assert "RedrivePolicy" not in sqs.made["Attributes"]
