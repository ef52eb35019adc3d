"""What the AWS SDK would tell, and must not."""

from __future__ import annotations

import logging

import pytest

from app.transport import aws


@pytest.mark.parametrize("name", ["botocore.endpoint", "botocore.parsers", "boto3.resources", "urllib3.connectionpool"])
def test_the_sdk_writes_no_tokens_and_no_messages_at_debug(name, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)


def test_a_local_server_needs_no_profile_that_this_machine_has(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nowhere-to-be-found")
    client = aws.sqs_client(endpoint_url="http://127.0.0.1:1", region="eu-test-1")
    assert client.meta.region_name == "eu-test-1"
