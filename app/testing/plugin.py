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
    yield from _fresh(sqs_process)


@pytest.fixture
def sqs_environment(sqs_server: LocalSQS, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment in which boto3 finds `sqs_server`, whatever the developer's own says; undone after the test.

    Gives the variables that were set; those that would lead elsewhere are removed.
    """
    return _set(sqs_server.environment, monkeypatch)


@pytest.fixture(scope="session")
def strict_sqs_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSQS]:
    """One strict server over TLS for the whole session; use `strict_sqs_server`, which comes empty."""
    from app.testing.sqs.process import LocalSQS  # noqa: PLC0415 - see the module's first lines

    with LocalSQS(strict=True, tls=tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture
def strict_sqs_server(strict_sqs_process: LocalSQS) -> Iterator[LocalSQS]:
    """As `sqs_server`, but it checks signatures and speaks TLS, as AWS does."""
    yield from _fresh(strict_sqs_process)


@pytest.fixture
def strict_sqs_environment(strict_sqs_server: LocalSQS, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """As `sqs_environment`, for `strict_sqs_server`: with the key that it knows and the authority to trust."""
    return _set(strict_sqs_server.environment, monkeypatch)


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that stands still until it is moved."""
    from app.testing.clock import ManualClock  # noqa: PLC0415 - see the module's first lines

    return ManualClock()


def _fresh(server: LocalSQS) -> Iterator[LocalSQS]:
    """The server as it was started: started again if a test has ended it."""
    if not server.is_running:
        server.stop()
        server.start()
    server.reset()
    yield server
    if server.is_running:
        server.reset()


_ELSEWHERE = (
    "AWS_CA_BUNDLE",
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
)
"""The variables by which boto3 would go elsewhere, or as somebody else."""


def _set(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment
