"""Which messages are done: SQS may hand one out again, because it was not told, would not hear, or forgot."""

from __future__ import annotations

from collections import OrderedDict

#: Ids that are kept at most: of messages that are deleted, and of such that are not.
_MOST = 10_000


class Done:
    """The ids of messages that are done, so that none of them runs again.

    Those whose delete SQS has not confirmed are kept apart: they do come back, and thousands a second of the others
    would push them out.

    Args:
        most: ids that are kept, of either sort.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        # Each with whether that was the end of it.
        self._undeleted: OrderedDict[str, bool] = OrderedDict()
        self._deleted: OrderedDict[str, bool] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Done: {len(self._undeleted)} not deleted, {len(self._deleted)} deleted>"

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._undeleted or message_id in self._deleted

    def add(self, message_id: str, *, for_good: bool = True) -> None:
        """It is done, and to be deleted.

        Args:
            message_id: the message's.
            for_good: whether its task ran, or never will; else a copy of it is to come.
        """
        self._deleted.pop(message_id, None)
        self._keep(self._undeleted, message_id, for_good)

    def again(self, message_id: str) -> None:
        """SQS has handed it out once more, and it is to be deleted once more."""
        self.add(message_id, for_good=self.is_for_good(message_id))

    def is_for_good(self, message_id: str) -> bool:
        """Whether nothing more is to come of it, as far as is remembered."""
        return self._undeleted.get(message_id) or self._deleted.get(message_id) or False

    def deleted(self, message_id: str) -> None:
        """SQS has deleted it."""
        for_good = self.is_for_good(message_id)
        self._undeleted.pop(message_id, None)
        self._keep(self._deleted, message_id, for_good)

    def is_deleted(self, message_id: str) -> bool:
        """Whether SQS has deleted it, as far as is remembered."""
        return message_id in self._deleted

    def _keep(self, ids: OrderedDict[str, bool], message_id: str, for_good: bool) -> None:
        ids[message_id] = for_good
        ids.move_to_end(message_id)
        if len(ids) > self._most:
            ids.popitem(last=False)
