"""SQS's actions: JSON in, JSON out, errors as AWS raises them.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
A long poll's waiting is the server's; here a receive gives what there is now.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from app.testing.sqs import attributes, parameters
from app.testing.sqs.account import MAX_LISTED_MOVES, Account
from app.testing.sqs.errors import SQSError, invalid_parameter, missing_parameter
from app.testing.sqs.message import draft, size_of
from app.testing.sqs.queue import MAX_VISIBILITY, Queue
from app.testing.sqs.receiving import SYSTEM_ATTRIBUTES, Receive

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.testing.sqs.parameters import Parameters

Result = dict[str, Any]

MAX_BATCH_SIZE = 1_048_576
"""Bytes of all messages of one SendMessageBatch: 1 MiB.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html"""
MAX_PAGE = 1_000
MAX_MOVE_RATE = 500
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what it asks, when (seconds since the epoch), and the address it came to."""

    parameters: Parameters
    now: float
    base_url: str


class Actions:
    """Every action by its name; `perform` runs one."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._by_name: dict[str, Callable[[Call], Result]] = {
            "CancelMessageMoveTask": self._cancel_message_move_task,
            "ChangeMessageVisibility": self._change_message_visibility,
            "ChangeMessageVisibilityBatch": self._change_message_visibility_batch,
            "CreateQueue": self._create_queue,
            "DeleteMessage": self._delete_message,
            "DeleteMessageBatch": self._delete_message_batch,
            "DeleteQueue": self._delete_queue,
            "GetQueueAttributes": self._get_queue_attributes,
            "GetQueueUrl": self._get_queue_url,
            "ListDeadLetterSourceQueues": self._list_dead_letter_source_queues,
            "ListMessageMoveTasks": self._list_message_move_tasks,
            "ListQueueTags": self._list_queue_tags,
            "ListQueues": self._list_queues,
            "PurgeQueue": self._purge_queue,
            "SendMessage": self._send_message,
            "SendMessageBatch": self._send_message_batch,
            "SetQueueAttributes": self._set_queue_attributes,
            "StartMessageMoveTask": self._start_message_move_task,
            "TagQueue": self._tag_queue,
            "UntagQueue": self._untag_queue,
        }
        self.names = frozenset({*self._by_name, "ReceiveMessage"})

    def perform(self, action: str, call: Call) -> Result:
        """Run an action other than ReceiveMessage; `SQSError` is its error."""
        return self._by_name[action](call)

    # --- queues

    def _queue(self, call: Call) -> Queue:
        return self.account.queue(queue_name(parameters.text(call.parameters, "QueueUrl")))

    def _url(self, queue: Queue, call: Call) -> str:
        return f"{call.base_url}/{self.account.account_id}/{queue.name}"

    def _create_queue(self, call: Call) -> Result:
        asked = call.parameters
        queue = self.account.create(
            call.now,
            parameters.text(asked, "QueueName"),
            parameters.string_map(asked, "Attributes"),
            parameters.string_map(asked, "tags"),
        )
        return {"QueueUrl": self._url(queue, call)}

    def _delete_queue(self, call: Call) -> Result:
        queue = self._queue(call)
        self.account.delete(call.now, queue)
        self.account.changed.add(queue)
        return {}

    def _get_queue_url(self, call: Call) -> Result:
        return {"QueueUrl": self._url(self.account.queue(parameters.text(call.parameters, "QueueName")), call)}

    def _list_queues(self, call: Call) -> Result:
        prefix = parameters.optional_text(call.parameters, "QueueNamePrefix") or ""
        names = sorted(name for name in self.account.queues if name.startswith(prefix))
        return self._page([self.account.queues[name] for name in names], call, "QueueUrls")

    def _list_dead_letter_source_queues(self, call: Call) -> Result:
        page = self._page(self.account.sources_of(self._queue(call)), call, "queueUrls")
        return page or {"queueUrls": []}

    def _page(self, queues: list[Queue], call: Call, key: str) -> Result:
        """One page of queues, sorted by name; a token says after which name the next one begins."""
        size = parameters.integer(
            call.parameters, "MaxResults", 1, MAX_PAGE, f"MaxResults must be an integer between 1 and {MAX_PAGE}."
        )
        token = parameters.optional_text(call.parameters, "NextToken")
        if token is not None:
            if size is None:
                raise missing_parameter("MaxResults")
            try:
                after = base64.urlsafe_b64decode(token.encode()).decode()
            except (binascii.Error, ValueError):
                raise invalid_parameter("Invalid or expired next token.") from None
            queues = [queue for queue in queues if queue.name > after]
        page = queues[: size or MAX_PAGE]
        result: Result = {key: [self._url(queue, call) for queue in page]} if page else {}
        if size is not None and len(queues) > size:
            result["NextToken"] = base64.urlsafe_b64encode(page[-1].name.encode()).decode()
        return result

    def _get_queue_attributes(self, call: Call) -> Result:
        queue = self._queue(call)
        names = set(parameters.strings(call.parameters, "AttributeNames"))
        for name in names - attributes.READABLE:
            raise SQSError("InvalidAttributeName", f"Unknown Attribute {name}.")
        if not names:
            return {}
        queue.advance(call.now)
        values = {
            **queue.attributes.values,
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(queue.visible),
            "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
            "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
            "CreatedTimestamp": str(int(queue.created_at)),
            "LastModifiedTimestamp": str(int(queue.modified_at)),
        }
        return {"Attributes": {n: v for n, v in values.items() if n in names or "All" in names}}

    def _set_queue_attributes(self, call: Call) -> Result:
        queue = self._queue(call)
        changes = parameters.string_map(call.parameters, "Attributes")
        if not changes:
            raise missing_parameter("Attributes")
        self.account.set_attributes(call.now, queue, changes)
        return {}

    def _purge_queue(self, call: Call) -> Result:
        self.account.purge(call.now, self._queue(call))
        return {}

    def _tag_queue(self, call: Call) -> Result:
        queue = self._queue(call)
        tags = parameters.string_map(call.parameters, "Tags")
        if not tags:
            raise missing_parameter("Tags")
        queue.tags.update(tags)
        return {}

    def _untag_queue(self, call: Call) -> Result:
        queue = self._queue(call)
        keys = parameters.strings(call.parameters, "TagKeys")
        if not keys:
            raise missing_parameter("TagKeys")
        for key in keys:
            queue.tags.pop(key, None)
        return {}

    def _list_queue_tags(self, call: Call) -> Result:
        queue = self._queue(call)
        return {"Tags": dict(queue.tags)} if queue.tags else {}

    # --- messages in

    def _send_message(self, call: Call) -> Result:
        queue = self._queue(call)
        parameters.text(call.parameters, "MessageBody")
        result = _send(queue, call.now, call.parameters)
        self.account.changed.add(queue)
        return result

    def _send_message_batch(self, call: Call) -> Result:
        queue = self._queue(call)
        entries = parameters.entries(call.parameters, "SendMessageBatch")
        total = 0
        for entry in entries:
            parameters.attribute_map(entry, "MessageAttributes")
            if isinstance(entry.get("MessageBody"), str):
                total += size_of(entry)
        if total > MAX_BATCH_SIZE:
            raise SQSError(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MAX_BATCH_SIZE} bytes. You have sent {total} bytes.",
            )
        self.account.changed.add(queue)
        return _each(entries, lambda entry: _send(queue, call.now, entry))

    # --- messages out

    def receive_asked(self, asked: Parameters) -> Receive:
        """Check a ReceiveMessage; `SQSError` is its error."""
        queue = self.account.queue(queue_name(parameters.text(asked, "QueueUrl")))
        count = parameters.integer(asked, "MaxNumberOfMessages", 1, 10, "Must be between 1 and 10, if provided.")
        wait = parameters.integer(asked, "WaitTimeSeconds", 0, 20, "Must be >= 0 and <= 20, if provided.")
        visibility = parameters.integer(
            asked, "VisibilityTimeout", 0, MAX_VISIBILITY, f"Must be >= 0 and <= {MAX_VISIBILITY}, if provided."
        )
        names = _NOTHING
        if "AttributeNames" in asked or "MessageSystemAttributeNames" in asked:
            names = frozenset(parameters.strings(asked, "AttributeNames")) | frozenset(
                parameters.strings(asked, "MessageSystemAttributeNames")
            )
            for name in names - SYSTEM_ATTRIBUTES:
                raise SQSError("InvalidAttributeName", f"Unknown Attribute {name}.")
        return Receive(
            queue=queue,
            count=1 if count is None else count,
            wait=queue.attributes.wait if wait is None else wait,
            visibility=visibility,
            system_names=names,
            attribute_names=tuple(parameters.strings(asked, "MessageAttributeNames")),
        )

    def _delete_message(self, call: Call) -> Result:
        queue = self._queue(call)
        queue.delete(parameters.text(call.parameters, "ReceiptHandle"))
        self._freed(queue)
        return {}

    def _delete_message_batch(self, call: Call) -> Result:
        queue = self._queue(call)

        def delete(entry: Parameters) -> Result:
            queue.delete(parameters.text(entry, "ReceiptHandle"))
            return {}

        result = _each(parameters.entries(call.parameters, "DeleteMessageBatch"), delete)
        self._freed(queue)
        return result

    def _freed(self, queue: Queue) -> None:
        # Polls wait beside visible messages only when the quota of messages in flight was used up.
        if queue.visible:
            self.account.changed.add(queue)

    def _change_message_visibility(self, call: Call) -> Result:
        queue = self._queue(call)
        _change_visibility(queue, call.now, call.parameters)
        self.account.changed.add(queue)
        return {}

    def _change_message_visibility_batch(self, call: Call) -> Result:
        queue = self._queue(call)

        def change(entry: Parameters) -> Result:
            _change_visibility(queue, call.now, entry)
            return {}

        result = _each(parameters.entries(call.parameters, "ChangeMessageVisibilityBatch"), change)
        self.account.changed.add(queue)
        return result

    # --- moves

    def _start_message_move_task(self, call: Call) -> Result:
        asked = call.parameters
        rate = parameters.integer(
            asked,
            "MaxNumberOfMessagesPerSecond",
            1,
            MAX_MOVE_RATE,
            f"Must be an integer between 1 and {MAX_MOVE_RATE}.",
        )
        move = self.account.start_move(
            call.now, parameters.text(asked, "SourceArn"), parameters.optional_text(asked, "DestinationArn"), rate
        )
        return {"TaskHandle": move.handle}

    def _cancel_message_move_task(self, call: Call) -> Result:
        move = self.account.cancel_move(parameters.text(call.parameters, "TaskHandle"))
        return {"ApproximateNumberOfMessagesMoved": move.moved}

    def _list_message_move_tasks(self, call: Call) -> Result:
        asked = call.parameters
        count = parameters.integer(
            asked, "MaxResults", 1, MAX_LISTED_MOVES, f"Must be an integer between 1 and {MAX_LISTED_MOVES}."
        )
        results = []
        for move in self.account.moves_from(parameters.text(asked, "SourceArn"), count or 1):
            result: Result = {
                "Status": move.status,
                "SourceArn": move.source.arn,
                "ApproximateNumberOfMessagesMoved": move.moved,
                "ApproximateNumberOfMessagesToMove": move.to_move,
                "StartedTimestamp": int(move.started_at * 1000),
            }
            if move.status == "RUNNING":
                result["TaskHandle"] = move.handle
            if move.destination_arn is not None:
                result["DestinationArn"] = move.destination_arn
            if move.rate is not None:
                result["MaxNumberOfMessagesPerSecond"] = move.rate
            if move.failure is not None:
                result["FailureReason"] = move.failure
            results.append(result)
        return {"Results": results}


def queue_name(url: str) -> str:
    """The queue's name in its URL: what follows the last slash."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    return unquote(name) if "%" in name else name


def _each(entries: list[Parameters], perform: Callable[[Parameters], Result]) -> Result:
    """Run each entry of a batch for itself."""
    successful: list[Result] = []
    failed: list[Result] = []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **perform(entry)})
        except SQSError as error:
            failed.append(failure(entry["Id"], error))
    result: Result = {"Successful": successful}
    if failed:
        result["Failed"] = failed
    return result


def failure(entry_id: str, error: SQSError) -> Result:
    """How a batch reports an entry that failed."""
    return {
        "Id": entry_id,
        "SenderFault": error.is_senders_fault,
        "Code": error.query_code,
        "Message": error.message,
    }


def _send(queue: Queue, now: float, asked: Parameters) -> Result:
    parameters.text(asked, "MessageBody")
    if "MessageAttributes" in asked:
        parameters.attribute_map(asked, "MessageAttributes")
    if "MessageSystemAttributes" in asked:
        parameters.attribute_map(asked, "MessageSystemAttributes")
    delay = parameters.integer(asked, "DelaySeconds", 0, 900, "DelaySeconds must be >= 0 and <= 900.")
    if (deduplication := asked.get("MessageDeduplicationId")) is not None:
        raise invalid_parameter(
            f"Value {deduplication} for parameter MessageDeduplicationId is invalid. Reason: The request include "
            "parameter that is not valid for this queue type."
        )
    parameters.optional_text(asked, "MessageGroupId")
    checked = draft(asked)
    if checked.size > queue.attributes.maximum_message_size:
        raise invalid_parameter(
            "One or more parameters are invalid. Reason: Message must be shorter than "
            f"{queue.attributes.maximum_message_size} bytes."
        )
    message = queue.send(now, checked, delay=delay)
    result: Result = {"MessageId": message.id, "MD5OfMessageBody": checked.body_md5}
    if checked.attributes_md5 is not None:
        result["MD5OfMessageAttributes"] = checked.attributes_md5
    if checked.system_attributes_md5 is not None:
        result["MD5OfMessageSystemAttributes"] = checked.system_attributes_md5
    return result


def _change_visibility(queue: Queue, now: float, asked: Parameters) -> None:
    handle = parameters.text(asked, "ReceiptHandle")
    timeout = parameters.integer(
        asked, "VisibilityTimeout", 0, MAX_VISIBILITY, "VisibilityTimeout must be an integer between 0 and 43200"
    )
    if timeout is None:
        raise missing_parameter("VisibilityTimeout")
    queue.change_visibility(now, handle, timeout)
