"""Why a supervised system ends before it is told to."""

from __future__ import annotations


class SupervisionError(Exception):
    """A program could not be started, or ended for good. The message is one line that says what to do."""


class StopRequested(Exception):
    """Ctrl-C, SIGTERM or SIGHUP came while something was being waited for."""
