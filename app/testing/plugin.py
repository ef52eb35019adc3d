"""The pytest fixtures that users get, of which `sqs_server` is the one to begin with (docs/local-sqs.md).

Loaded into every pytest run in which Sluice is installed, so it imports nothing before a fixture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.testing.clock import ManualClock
    from app.testing.sqs.process import LocalSQS


@pytest.fixture(scope="session")
def sqs_process() -> Iterator[LocalSQS]:
    """One local SQS server for the whole session; use `sqs_server`, which comes empty."""
    from app.testing.sqs.process import LocalSQS  # noqa: PLC0415 - see the module's first lines

    with LocalSQS() as server:
        yield server


@pytest.fixture
def sqs_server(sqs_process: LocalSQS) -> Iterator[LocalSQS]:
    """A local SQS server with no queues, no faults, counts at zero and the clock at the time of day."""
    if not sqs_process.is_running:
        sqs_process.stop()
        sqs_process.start()
    sqs_process.reset()
    yield sqs_process
    if sqs_process.is_running:
        sqs_process.reset()


@pytest.fixture
def sqs_environment(sqs_server: LocalSQS, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment in which boto3 finds `sqs_server`, whatever the developer's own says; undone after the test.

    Gives the variables that were set; those that would lead elsewhere are removed.
    """
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.delenv(name, raising=False)
    environment = sqs_server.environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that stands still until it is moved."""
    from app.testing.clock import ManualClock  # noqa: PLC0415 - see the module's first lines

    return ManualClock()
