"""SQS's errors, as its JSON protocol carries them: a type, the older Query code in a header, a status, a sentence.

Names, Query codes and statuses: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
and the errors of each action there. SDKs that once spoke the Query protocol match on the header's code. Those of
`authentication` are from recordings of AWS, which that module names.
"""

from __future__ import annotations

_MODELED = "com.amazonaws.sqs#"
_COMMON = "com.amazon.coral.service#"

# name → (namespace, Query code, HTTP status)
_KINDS: dict[str, tuple[str, str, int]] = {
    name: (_MODELED, query_code or name, status)
    for name, query_code, status in (
        ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400),
        ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", 400),
        ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", 400),
        ("InvalidAddress", "", 404),
        ("InvalidAttributeName", "", 400),
        ("InvalidAttributeValue", "", 400),
        ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", 400),
        ("InvalidMessageContents", "", 400),
        ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", 400),
        ("OverLimit", "", 403),
        ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress", 403),
        ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", 400),
        ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400),
        ("QueueNameExists", "QueueAlreadyExists", 400),
        ("ReceiptHandleIsInvalid", "", 400),
        ("RequestThrottled", "", 400),
        ("ResourceNotFoundException", "", 404),
        ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", 400),
        ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", 400),
    )
} | {
    name: (_COMMON, query_code, status)
    for name, query_code, status in (
        ("AccessDeniedException", "AccessDenied", 403),
        ("ExpiredTokenException", "ExpiredToken", 403),
        ("IncompleteSignatureException", "IncompleteSignature", 400),
        ("InternalFailure", "InternalFailure", 500),
        ("InvalidParameterValueException", "InvalidParameterValue", 400),
        ("InvalidSignatureException", "SignatureDoesNotMatch", 403),
        ("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403),
        ("MissingRequiredParameterException", "MissingParameter", 400),
        ("SerializationException", "MalformedInput", 400),
        ("ServiceUnavailable", "ServiceUnavailable", 503),
        ("ThrottlingException", "ThrottlingException", 400),
        ("UnknownOperationException", "InvalidAction", 400),
        ("UnrecognizedClientException", "InvalidClientTokenId", 403),
    )
}


class SQSError(Exception):
    """An answer that is an error.

    Args:
        name: the error's shape name, as `QueueDoesNotExist`; one that is not known is sent as it is.
        message: the sentence that AWS sends, or says the same.
        status: another HTTP status than AWS's own for it.
    """

    def __init__(self, name: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        namespace, self.query_code, usual = _KINDS.get(name, (_COMMON, name, 400))
        self.name = name
        self.type = namespace + name
        self.message = message
        self.status = usual if status is None else status

    @property
    def is_senders_fault(self) -> bool:
        """Whether the client can do something about it (AWS's `Sender`, against `Receiver`)."""
        return self.status < 500


def invalid_parameter(message: str) -> SQSError:
    """What AWS answers to a value outside its range."""
    return SQSError("InvalidParameterValueException", message)


def missing_parameter(name: str) -> SQSError:
    """What AWS answers when a parameter that must be there is not."""
    return SQSError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")
