"""Kombu's bookkeeping of what a consumer has, without the books: the intake keeps them."""

from __future__ import annotations

from typing import Any

from kombu.transport import virtual


class QoS(virtual.QoS):
    """Only the prefetch count is left of it."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Nothing: the delivery has its slot since it was asked for."""
