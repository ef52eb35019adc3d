"""The tasks: one file per subject, each with the service it calls. What is imported here is what the worker knows."""

from tasks import events

__all__ = ["events"]
