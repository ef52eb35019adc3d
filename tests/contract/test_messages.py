"""Sending, receiving, deleting: one message, and batches."""

from __future__ import annotations

import hashlib

import pytest

MIB = 1_048_576


def text(value: str, kind: str = "String") -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


def test_a_message_is_sent_received_and_deleted(sqs):
    url = sqs.queue()
    sent = sqs.client.send_message(QueueUrl=url, MessageBody='{"é": 1}')
    md5 = hashlib.md5('{"é": 1}'.encode()).hexdigest()
    assert sent["MD5OfMessageBody"] == md5
    [message] = sqs.receive(url)
    assert (message["MessageId"], message["Body"], message["MD5OfBody"]) == (sent["MessageId"], '{"é": 1}', md5)
    sqs.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sqs.counts(url) == (0, 0, 0)


def test_what_is_empty_is_left_out_of_the_answer(sqs):
    """As AWS's JSON protocol does: code that asks `"Messages" in answer` relies on it."""
    url = sqs.queue()
    assert "Messages" not in sqs.client.receive_message(QueueUrl=url)
    assert "Tags" not in sqs.client.list_queue_tags(QueueUrl=url)
    assert "QueueUrls" not in sqs.client.list_queues(QueueNamePrefix=sqs.name_of_a_queue())
    assert "Attributes" not in sqs.client.get_queue_attributes(QueueUrl=url)
    sent = sqs.client.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}])
    assert "Failed" not in sent


def test_system_attributes_come_when_they_are_asked_for(sqs):
    url = sqs.queue(VisibilityTimeout="0")
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    assert "Attributes" not in message
    [message] = sqs.receive(url, MessageSystemAttributeNames=["All"])
    got = message["Attributes"]
    assert got["ApproximateReceiveCount"] == "2"
    assert 0 < int(got["SentTimestamp"]) <= int(got["ApproximateFirstReceiveTimestamp"])
    assert got["SenderId"]
    [message] = sqs.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert message["Attributes"] == {"ApproximateReceiveCount": "3"}


def test_message_attributes_come_back_with_their_md5(sqs):
    url = sqs.queue()
    attributes = {
        "attribName1": text("attribValue 1"),
        "customNumberTypeAttrib": text("4563442423554324324264524243.32543234", "Number.float"),
        "binaryAttribute": {"DataType": "Binary", "BinaryValue": b"Hello binary world!"},
    }
    sent = sqs.client.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"] == "c932db14a896c663f83c260297d594ff"
    [message] = sqs.receive(url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == "c932db14a896c663f83c260297d594ff"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(["All"], ["Hello", "Help.Me", "Other"], id="All"),
        pytest.param([".*"], ["Hello", "Help.Me", "Other"], id="wildcard"),
        pytest.param(["Other", "Missing"], ["Other"], id="name"),
        pytest.param(["Hel.*"], ["Hello", "Help.Me"], id="prefix"),
        pytest.param(["Missing"], [], id="missing"),
    ],
)
def test_message_attributes_can_be_chosen_by_name_and_by_prefix(sqs, asked, given):
    url = sqs.queue()
    sqs.send(url, "x", MessageAttributes={name: text("v") for name in ("Hello", "Help.Me", "Other")})
    [message] = sqs.receive(url, MessageAttributeNames=asked)
    assert sorted(message.get("MessageAttributes", {})) == given


def test_the_md5_is_of_the_attributes_that_are_given(sqs):
    url = sqs.queue()
    sqs.send(url, "x", MessageAttributes={"Foo": text("Bar"), "Other": text("v")})
    [message] = sqs.receive(url, MessageAttributeNames=["Foo"])
    assert message["MD5OfMessageAttributes"] == "ae7155c6026991b6d54b11589678bf9c"


def test_a_trace_header_travels_as_a_system_attribute(sqs):
    url = sqs.queue()
    header = text("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
    sqs.send(url, "x", MessageSystemAttributes={"AWSTraceHeader": header})
    [message] = sqs.receive(url, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert message["Attributes"]["AWSTraceHeader"] == header["StringValue"]


def test_a_group_id_makes_a_standard_queue_fair_and_comes_back(sqs):
    url = sqs.queue()
    sqs.send(url, "x", MessageGroupId="tenant")
    [message] = sqs.receive(url, MessageSystemAttributeNames=["MessageGroupId"])
    assert message["Attributes"] == {"MessageGroupId": "tenant"}


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"DelaySeconds": 901}, id="long delay"),
        pytest.param({"DelaySeconds": -1}, id="negative delay"),
        pytest.param({"MessageAttributes": {f"a{n}": text("v") for n in range(11)}}, id="11 attributes"),
        pytest.param({"MessageAttributes": {"AWS.x": text("v")}}, id="reserved name"),
        pytest.param({"MessageAttributes": {"a..b": text("v")}}, id="two periods"),
        pytest.param({"MessageAttributes": {"a": text("v", "Colour")}}, id="unknown type"),
        pytest.param({"MessageAttributes": {"a": text("")}}, id="empty value"),
        pytest.param({"MessageAttributes": {"a": text("twelve", "Number")}}, id="no number"),
    ],
)
def test_what_is_outside_the_rules_is_not_sent(sqs, parameters):
    url = sqs.queue()
    with sqs.refuses("InvalidParameterValue"):
        sqs.send(url, "x", **parameters)
    assert sqs.counts(url) == (0, 0, 0)


def test_an_empty_body_is_a_missing_one(sqs):
    with sqs.refuses("MissingParameter"):
        sqs.send(sqs.queue(), "")


def test_a_body_with_forbidden_characters_is_refused(sqs):
    with pytest.raises(sqs.client.exceptions.InvalidMessageContents):
        sqs.send(sqs.queue(), "a\x00b")


def test_a_message_may_have_one_mebibyte_attributes_included(sqs):
    url = sqs.queue()
    attributes = {"name": text("v" * 100)}
    rest = MIB - len("name") - len("String") - 100
    sqs.send(url, "x" * MIB)
    sqs.send(url, "x" * rest, MessageAttributes=attributes)
    with sqs.refuses("InvalidParameterValue"):
        sqs.send(url, "x" * (MIB + 1))
    with sqs.refuses("InvalidParameterValue"):
        sqs.send(url, "x" * (rest + 1), MessageAttributes=attributes)


def test_a_queue_may_set_a_smaller_limit(sqs):
    url = sqs.queue(MaximumMessageSize="1024")
    sqs.send(url, "x" * 1024)
    with sqs.refuses("InvalidParameterValue"):
        sqs.send(url, "x" * 1025)


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"MaxNumberOfMessages": 0}, id="none"),
        pytest.param({"MaxNumberOfMessages": 11}, id="11"),
        pytest.param({"WaitTimeSeconds": 21}, id="long wait"),
        pytest.param({"WaitTimeSeconds": -1}, id="negative wait"),
        pytest.param({"VisibilityTimeout": 43201}, id="long timeout"),
    ],
)
def test_a_receive_has_ranges(sqs, parameters):
    with sqs.refuses("InvalidParameterValue"):
        sqs.client.receive_message(QueueUrl=sqs.queue(), **parameters)


# --- deleting, and old receipt handles


def test_deleting_twice_is_no_error(sqs):
    url = sqs.queue()
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    for _ in range(3):
        sqs.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_a_message_whose_time_ran_out_can_still_be_deleted(sqs):
    url = sqs.queue(VisibilityTimeout="1")
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    sqs.let_pass(1)
    sqs.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sqs.counts(url) == (0, 0, 0)


def test_an_old_handle_succeeds_and_leaves_the_message_with_its_new_holder(sqs):
    """AWS: "If you use an old ReceiptHandle, the request will succeed, but the message might not be deleted"."""
    url = sqs.queue(VisibilityTimeout="1")
    sqs.send(url, "x")
    [old] = sqs.receive(url)
    sqs.let_pass(1)
    [new] = sqs.receive(url, VisibilityTimeout=30)
    assert new["ReceiptHandle"] != old["ReceiptHandle"]
    sqs.client.delete_message(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
    assert sqs.counts(url) == (0, 1, 0)
    sqs.client.delete_message(QueueUrl=url, ReceiptHandle=new["ReceiptHandle"])
    assert sqs.counts(url) == (0, 0, 0)


def test_a_handle_that_is_none_is_refused(sqs):
    url = sqs.queue()
    with pytest.raises(sqs.client.exceptions.ReceiptHandleIsInvalid):
        sqs.client.delete_message(QueueUrl=url, ReceiptHandle="garbage")
    with pytest.raises(sqs.client.exceptions.ReceiptHandleIsInvalid):
        sqs.client.change_message_visibility(QueueUrl=url, ReceiptHandle="garbage", VisibilityTimeout=5)


# --- batches


def entries(count: int, **more: object) -> list[dict]:
    return [{"Id": f"id-{n}", **more} for n in range(count)]


def test_ten_messages_travel_in_one_call(sqs):
    url = sqs.queue()
    batch = [{"Id": f"m_{n}", "MessageBody": f"body {n}"} for n in range(10)]
    sent = sqs.client.send_message_batch(QueueUrl=url, Entries=batch)
    assert not sent.get("Failed")
    assert [entry["Id"] for entry in sent["Successful"]] == [entry["Id"] for entry in batch]
    messages = sqs.receive(url)
    assert sorted(message["MessageId"] for message in messages) == sorted(e["MessageId"] for e in sent["Successful"])
    done = sqs.client.delete_message_batch(
        QueueUrl=url, Entries=[{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
    )
    assert (len(done["Successful"]), done.get("Failed", [])) == (10, [])
    assert sqs.counts(url) == (0, 0, 0)


def test_of_a_batch_each_entry_succeeds_or_fails_for_itself(sqs):
    url = sqs.queue(MaximumMessageSize="1024")
    sent = sqs.client.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "MessageBody": "x"},
            {"Id": "late", "MessageBody": "x", "DelaySeconds": 901},
            {"Id": "bad", "MessageBody": "x", "MessageAttributes": {"a": text("twelve", "Number")}},
        ],
    )
    assert [entry["Id"] for entry in sent["Successful"]] == ["good"]
    assert sorted(entry["Id"] for entry in sent["Failed"]) == ["bad", "late"]
    assert all(entry["SenderFault"] for entry in sent["Failed"])
    assert {entry["Code"] for entry in sent["Failed"]} <= sqs.codes("InvalidParameterValue")


def test_deleting_a_batch_reports_the_handle_that_is_none(sqs):
    url = sqs.queue()
    sqs.send(url, "x")
    [message] = sqs.receive(url)
    done = sqs.client.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
            {"Id": "bad", "ReceiptHandle": "garbage"},
        ],
    )
    assert [entry["Id"] for entry in done["Successful"]] == ["good"]
    assert [(e["Id"], e["Code"], e["SenderFault"]) for e in done["Failed"]] == [("bad", "ReceiptHandleIsInvalid", True)]


BATCHES = {
    "send_message_batch": {"MessageBody": "x"},
    "delete_message_batch": {"ReceiptHandle": "x"},
    "change_message_visibility_batch": {"ReceiptHandle": "x", "VisibilityTimeout": 1},
}


@pytest.mark.parametrize("method", BATCHES)
def test_a_batch_has_one_to_ten_entries_with_ids_of_their_own(sqs, method):
    url = sqs.queue()
    call, entry, errors = getattr(sqs.client, method), BATCHES[method], sqs.client.exceptions
    with pytest.raises(errors.EmptyBatchRequest):
        call(QueueUrl=url, Entries=[])
    with pytest.raises(errors.TooManyEntriesInBatchRequest):
        call(QueueUrl=url, Entries=entries(11, **entry))
    with pytest.raises(errors.BatchEntryIdsNotDistinct):
        call(QueueUrl=url, Entries=[{"Id": "same", **entry}] * 2)
    for wrong in ("a b", "a" * 81, "ä"):
        with pytest.raises(errors.InvalidBatchEntryId):
            call(QueueUrl=url, Entries=[{"Id": wrong, **entry}])
    assert sqs.counts(url) == (0, 0, 0)


def test_all_messages_of_a_batch_together_have_one_mebibyte(sqs):
    url = sqs.queue()
    half = MIB // 2
    batch = [{"Id": "a", "MessageBody": "x" * half}, {"Id": "b", "MessageBody": "x" * half}]
    assert len(sqs.client.send_message_batch(QueueUrl=url, Entries=batch)["Successful"]) == 2
    batch[1]["MessageBody"] += "x"
    with pytest.raises(sqs.client.exceptions.BatchRequestTooLong):
        sqs.client.send_message_batch(QueueUrl=url, Entries=batch)
    assert sqs.counts(url) == (2, 0, 0)
