"""The transport as kombu sees it."""

from __future__ import annotations

import pytest
from kombu import Connection

from app.transport import Transport
from app.transport.options import Options


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        (Options(endpoint_url="http://127.0.0.1:9324"), "sqs://127.0.0.1:9324"),
        (Options(endpoint_url="https://user:secret@proxy.example/x", region="eu-west-1"), "sqs://proxy.example"),
        (Options(region="eu-west-1"), "sqs://eu-west-1"),
        (Options(), "sqs://the region that the AWS SDK finds"),
    ],
)
def test_its_address_says_where_sqs_is_and_no_secret(options, uri):
    connection = Connection("sqs://", transport=Transport, transport_options={"sqs": options})
    assert connection.as_uri() == uri
    assert connection.as_uri(include_password=True) == uri


def test_nothing_of_ours_deletes_a_queue():
    channel = Connection("sqs://", transport=Transport, transport_options={"sqs": Options()}).channel()
    with pytest.raises(NotImplementedError, match="Sluice does not delete queues"):
        channel._delete("orders")
