"""What a message may contain, how its size counts, and its MD5s."""

from __future__ import annotations

import base64

import pytest

from app.testing.sqs.errors import SQSError
from app.testing.sqs.message import attributes_md5, draft, size_of

STRING = {"attribName1": {"DataType": "String", "StringValue": "attribValue 1"}}
NUMBER = {
    "customNumberTypeAttrib": {
        "DataType": "Number.float",
        "StringValue": "4563442423554324324264524243.32543234",
    }
}
BINARY = {"binaryAttribute": {"DataType": "Binary", "BinaryValue": base64.b64encode(b"Hello binary world!").decode()}}


@pytest.mark.parametrize(
    ("attributes", "md5"),
    [
        # Published with the npm package aws-md5-of-message-attributes, which was checked against AWS.
        (STRING, "19e27d4e946b072f3f58da80d94fd778"),
        (NUMBER, "9fe1b90bbd9965bdf77bac517c7d2495"),
        (BINARY, "31a92b15d92f8db860eda32aceb656c3"),
        ({**STRING, **NUMBER, **BINARY}, "c932db14a896c663f83c260297d594ff"),
        # Answers of AWS that LocalStack recorded.
        ({"timestamp": {"DataType": "Number", "StringValue": "1493147359900"}}, "235c5c510d26fb653d073faed50ae77c"),
        ({"Foo": {"DataType": "String", "StringValue": "Bar"}}, "ae7155c6026991b6d54b11589678bf9c"),
        ({"MyAttribute": {"DataType": "String", "StringValue": "foobar"}}, "adb59cd4678ea5a855436b949cd07ab6"),
    ],
    ids=["string", "number", "binary", "all three", "recorded number", "recorded string", "recorded string 2"],
)
def test_the_md5_of_attributes_is_the_one_that_aws_computes(attributes, md5):
    assert attributes_md5(attributes) == md5
    assert draft({"MessageBody": "x", "MessageAttributes": attributes}).attributes_md5 == md5


def test_the_md5_of_the_body_is_of_its_utf8():
    assert draft({"MessageBody": "This is a test message"}).body_md5 == "fafb00f5732ab283681e124bf8747ed1"
    assert draft({"MessageBody": "é"}).body_md5 == "66ddcd97cfdeabb2f6fb8a999b4bc76f"


def test_the_size_counts_body_names_types_and_values_in_bytes():
    asked = {"MessageBody": "é", "MessageAttributes": {"ab": {"DataType": "String", "StringValue": "é"}}}
    assert draft(asked).size == size_of(asked) == 2 + 2 + 6 + 2
    binary = {"MessageBody": "x", "MessageAttributes": BINARY}
    assert draft(binary).size == size_of(binary) == 1 + 15 + 6 + 19


def test_a_trace_header_has_an_md5_and_no_size():
    asked = {
        "MessageBody": "x",
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
    }
    checked = draft(asked)
    assert (checked.size, checked.trace_header) == (1, "Root=1")
    assert checked.system_attributes_md5 == attributes_md5(asked["MessageSystemAttributes"])


@pytest.mark.parametrize("body", ["\x00", "a\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_characters_that_xml_has_not_are_refused(body):
    with pytest.raises(SQSError) as refused:
        draft({"MessageBody": body})
    assert refused.value.name == "InvalidMessageContents"


@pytest.mark.parametrize("body", ["\t\n\r", " ~\x7f", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff", "a" * 100 + "\n"])
def test_all_others_are_accepted(body):
    assert draft({"MessageBody": body}).body == body


def one(name="a", **attribute):
    return {"MessageBody": "x", "MessageAttributes": {name: attribute}}


@pytest.mark.parametrize(
    "asked",
    [
        one("AWS.a", DataType="String", StringValue="x"),
        one("amazon.a", DataType="String", StringValue="x"),
        one(".a", DataType="String", StringValue="x"),
        one("a.", DataType="String", StringValue="x"),
        one("a..b", DataType="String", StringValue="x"),
        one("a b", DataType="String", StringValue="x"),
        one("", DataType="String", StringValue="x"),
        one("a" * 257, DataType="String", StringValue="x"),
        one(DataType="Text", StringValue="x"),
        one(DataType="String." + "x" * 250, StringValue="x"),
        one(StringValue="x"),
        one(DataType="String"),
        one(DataType="String", StringValue=""),
        one(DataType="String", StringValue="\x00"),
        one(DataType="String", BinaryValue="eA=="),
        one(DataType="Binary", BinaryValue=""),
        one(DataType="Number", StringValue="1e"),
        one(DataType="Number", StringValue="twelve"),
        {
            "MessageBody": "x",
            "MessageAttributes": {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)},
        },
        {"MessageBody": "x", "MessageSystemAttributes": {"Other": {"DataType": "String", "StringValue": "x"}}},
        {"MessageBody": "x", "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "Number", "StringValue": "1"}}},
        {"MessageBody": "x", "MessageGroupId": "a b"},
        {"MessageBody": "x", "MessageGroupId": ""},
        {"MessageBody": "x", "MessageGroupId": "a" * 129},
    ],
)
def test_what_aws_refuses_in_attributes_is_refused(asked):
    with pytest.raises(SQSError) as refused:
        draft(asked)
    assert refused.value.query_code == "InvalidParameterValue"


def test_a_blob_that_is_not_base64_is_refused():
    with pytest.raises(SQSError) as refused:
        draft(one(DataType="Binary", BinaryValue="%%%"))
    assert refused.value.name == "SerializationException"


@pytest.mark.parametrize("value", ["1", "-1.5", "+2e10", ".5", "1.", "12345678901234567890.5E-3"])
def test_numbers_are_numbers(value):
    assert draft(one(DataType="Number.custom", StringValue=value)).attributes


def test_a_group_id_on_a_standard_queue_is_accepted():
    assert draft({"MessageBody": "x", "MessageGroupId": "tenant-1!"}).group_id == "tenant-1!"
