"""Celery's solo pool, whose worker no task can end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.concurrency import solo
from celery.concurrency.base import apply_target

from app.pools.contained import contained

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskPool(solo.TaskPool):
    """The pool as Celery's worker knows it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.on_apply = self._apply

    def _apply(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it here and now."""
        return apply_target(contained(target), *args, **options)
