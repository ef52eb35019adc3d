"""What is in force here: for `celery report`, and for whoever is asked to help."""

from __future__ import annotations

import importlib.metadata
import pathlib
import platform
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from settings.environment import Settings

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGES = ("celery", "kombu", "billiard", "boto3", "botocore", "pycurl", "gevent", "redis", "flower")


def text(settings: Settings) -> str:
    """One fact per line; no credentials."""
    facts = {
        "checkout": f"{_ROOT} ({_commit()})",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "sqs": settings.aws_endpoint_url_sqs or "AWS's own address",
        "region": settings.aws_region or "as the AWS SDK finds it",
        "profile": settings.aws_profile or "as the AWS SDK finds it",
        "control link": "set" if settings.control_url else "none",
        "task modules": ", ".join(settings.task_modules),
    }
    for queue in settings.queues:
        default = ", the default" if queue.name == settings.default_queue else ""
        facts[f"queue {queue.name}"] = f"{queue.url or 'found by name'}, dead letters to {queue.dead_letter}{default}"
    for package in _PACKAGES:
        facts[package] = importlib.metadata.version(package)
    width = max(map(len, facts))
    return "\n".join(["", *(f"{name:<{width}}  {fact}" for name, fact in facts.items()), ""])


def _commit() -> str:
    """The commit that is checked out, if git can tell."""
    try:
        answer = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"],  # noqa: S607 - the git on the PATH
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"version {importlib.metadata.version('sluice')}"
    return f"commit {answer.stdout.strip()}"
