"""Settings: the environment in, validated values out. Nothing else reads the environment; importing reads nothing.

    from settings import SettingsError, load
    settings = load()          # os.environ; a SettingsError lists every problem at once, each with its fix

`environment.py` has every variable with its unit, default and reason (docs/settings.md is made from it), `queues.py` is
the table of queues that you edit, `celery.py` is what Celery is told.
"""

from __future__ import annotations

from settings.errors import SettingsError, masked
from settings.loading import load

__all__ = ["SettingsError", "load", "masked"]
