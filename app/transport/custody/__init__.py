"""Every message from its receive to its settling: its lease, what becomes of it, and telling SQS."""

from __future__ import annotations

from app.transport.custody.custody import Custody, close_all, custody_of, hand_back_all, unsettled

__all__ = ["Custody", "close_all", "custody_of", "hand_back_all", "unsettled"]
