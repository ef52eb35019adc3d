"""Messages whose process died: counted, so that one that kills every process it is given to comes to an end.

The count is this worker's own. When the whole worker dies it dies too, and only the queue's redrive policy counts on.
"""

from __future__ import annotations

from collections import OrderedDict

#: Messages that are counted at once; of more, the oldest are forgotten.
_MOST = 10_000


class Casualties:
    """How often each message was in work when its process died.

    Args:
        most: after so many a message is not to be tried again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: OrderedDict[str, int] = OrderedDict()

    def died(self, message_id: str) -> int | None:
        """One more; how many it has been, if that is enough, else None."""
        count = self._counts.pop(message_id, 0) + 1
        if count >= self._most:
            return count
        self._counts[message_id] = count
        if len(self._counts) > _MOST:
            self._counts.popitem(last=False)
        return None

    def survived(self, message_id: str) -> None:
        """It ended otherwise."""
        self._counts.pop(message_id, None)
