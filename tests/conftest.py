"""The tiers' rules: unit tests open no socket and never sleep; what needs a missing program is skipped loudly."""

from __future__ import annotations

import shutil
import socket
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

TESTS = Path(__file__).parent
SKIPPED = pytest.StashKey[Counter]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="A skipped test is an error: for where everything is installed."
    )


def pytest_configure(config: pytest.Config) -> None:
    skipped = config.stash[SKIPPED] = Counter()

    class CountSkips:
        """Counts where the reports arrive: with `-n`, tests run in other processes than this one."""

        @pytest.hookimpl
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if reason := getattr(report, "skip_reason", None):
                skipped[reason] += 1

    config.pluginmanager.register(CountSkips())


def missing(program: str) -> bool:
    return shutil.which(program) is None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if missing(program):
                pytest.skip(f"needs {program}, which is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "skipped"
        report.skip_reason = reason
        if item.config.getoption("--no-skips"):
            report.outcome = "failed"
            report.longrepr = f"skipped, which --no-skips forbids: {reason}"
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """The very last line: nobody scrolls up to count skips."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly:
        return
    skipped = config.stash[SKIPPED]
    reasons = "".join(f"; {count} x {reason}" for reason, count in skipped.most_common())
    reporter.write_line(f"skipped tests: {skipped.total()}{reasons}", yellow=bool(skipped), green=not skipped)


def _forbidden(what: str):
    def forbidden(*_: object, **__: object) -> NoReturn:
        pytest.fail(f"a unit test must not {what}: use a fake, or move the test to tests/integration", pytrace=True)

    return forbidden


@pytest.fixture(autouse=True)
def _unit_tests_stand_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if (TESTS / "unit") not in request.path.parents:
        return
    for method in ("connect", "connect_ex", "bind", "listen", "sendto"):
        monkeypatch.setattr(socket.socket, method, _forbidden("use a socket"))
    monkeypatch.setattr(time, "sleep", _forbidden("sleep"))
