"""Celery's threads pool, whose threads no task can end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.concurrency import thread

from app.pools.contained import contained

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskPool(thread.TaskPool):
    """The pool as Celery's worker knows it."""

    def on_apply(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run it in a thread."""
        return super().on_apply(contained(target), *args, **options)
