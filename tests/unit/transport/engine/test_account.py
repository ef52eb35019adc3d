"""Credentials: when they are got, when they are got anew, and what is signed with meanwhile."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from botocore.credentials import ReadOnlyCredentials

from app.transport.engine import account as module
from app.transport.engine.account import Account

OLD, NEW = ReadOnlyCredentials("OLD", "secret", None), ReadOnlyCredentials("NEW", "secret", "TOKEN")


class Source:
    """Credentials as botocore has them, with an end or without."""

    def __init__(self, frozen, *, is_about_to_end=False):
        self.frozen, self.is_about_to_end = frozen, is_about_to_end

    def refresh_needed(self):
        return self.is_about_to_end

    def get_frozen_credentials(self):
        if isinstance(self.frozen, Exception):
            raise self.frozen
        return self.frozen


class Setting:
    """An account whose errands run when the test says so, and the session that it asks."""

    def __init__(self, monkeypatch, clock):
        self.clock, self.errands, self.source, self.sessions, self.wakes = clock, [], Source(OLD), 0, 0
        self.has_threads = True
        monkeypatch.setattr(module, "run_errand", self._run_errand)
        self.account = Account(endpoint_url="http://127.0.0.1:1", wake=self._wake, clock=clock)
        self.account._session = self._session

    def _wake(self):
        self.wakes += 1

    def _session(self):
        self.sessions += 1
        return SimpleNamespace(get_credentials=self._get_credentials)

    def _get_credentials(self):
        if isinstance(self.source, Exception):
            raise self.source
        return self.source

    def _run_errand(self, call, *, name):
        if self.has_threads:
            self.errands.append(call)
        return self.has_threads

    def errand(self):
        assert self.account.is_waiting
        (errand,) = self.errands
        self.errands.clear()
        errand()
        assert not self.account.is_waiting

    def signs_with(self):
        """The access key of a signature made now."""
        header = next(line for line in self.account.sign({}, b"{}") if line.startswith("Authorization"))
        return header.partition("Credential=")[2].partition("/")[0]


@pytest.fixture
def setting(monkeypatch, manual_clock):
    return Setting(monkeypatch, manual_clock)


@pytest.fixture
def ready(setting):
    assert not setting.account.is_ready
    setting.errand()
    assert setting.account.is_ready
    return setting


def test_credentials_are_got_in_an_errand_that_wakes_the_engine(setting):
    for _ in range(3):
        assert not setting.account.is_ready
    assert len(setting.errands) == 1
    setting.errand()
    assert setting.account.is_ready
    assert (setting.signs_with(), setting.wakes) == ("OLD", 1)


@pytest.mark.parametrize("nothing", [None, OSError("no such file"), Source(OSError("no such file"))])
def test_where_there_are_none_it_is_told_and_tried_again_after_five_seconds(setting, nothing):
    setting.source = nothing
    assert not setting.account.is_ready
    setting.errand()
    problem = "no AWS credentials were found (environment, profile, container, instance)"
    assert setting.account.problem == (problem if nothing is None else "OSError: no such file")
    setting.clock.advance(4.9)
    assert not setting.account.is_ready
    assert setting.errands == []
    setting.clock.advance(0.1)
    setting.source = Source(NEW)
    assert not setting.account.is_ready
    setting.errand()
    assert setting.account.is_ready
    assert (setting.signs_with(), setting.account.problem) == ("NEW", None)


def test_those_that_are_about_to_end_are_signed_with_while_new_ones_are_got_from_the_same_source(ready):
    ready.clock.advance(60)
    ready.source.is_about_to_end, ready.source.frozen = True, NEW
    assert ready.account.is_ready
    assert (ready.signs_with(), ready.account.is_waiting) == ("OLD", True)
    ready.errand()
    assert (ready.signs_with(), ready.sessions) == ("NEW", 1)


def test_as_long_as_no_new_ones_come_the_old_are_signed_with_and_a_minute_passes_between_attempts(ready, caplog):
    ready.clock.advance(60)
    ready.source.is_about_to_end, ready.source.frozen = True, OSError("STS is away")
    for _ in range(3):
        assert ready.account.is_ready
        ready.errand()
        ready.clock.advance(59)
        assert ready.account.is_ready
        assert ready.errands == []
        ready.clock.advance(1)
    assert ready.signs_with() == "OLD"
    assert [record.getMessage() for record in caplog.records] == [
        "No new AWS credentials (OSError: STS is away): those from before stay in use"
    ]


def test_refused_ones_are_got_anew_from_where_they_are_kept_but_not_all_the_time(ready):
    ready.source = Source(NEW)
    ready.account.refused()
    assert ready.errands == []
    ready.clock.advance(5)
    for _ in range(30):
        ready.account.refused()
    assert ready.signs_with() == "OLD"
    ready.errand()
    assert (ready.signs_with(), ready.sessions) == ("NEW", 2)


def test_credentials_without_an_end_are_not_asked_for_again(setting):
    setting.source = SimpleNamespace(get_frozen_credentials=lambda: OLD)
    assert not setting.account.is_ready
    setting.errand()
    setting.clock.advance(1e6)
    assert setting.account.is_ready
    assert setting.errands == []


def test_where_there_is_no_thread_it_is_tried_again(setting):
    setting.has_threads = False
    assert not setting.account.is_ready
    assert (setting.account.is_waiting, setting.account.problem) == (False, "the system gives no thread to get them")
    setting.has_threads = True
    setting.clock.advance(5)
    assert not setting.account.is_ready
    setting.errand()
    assert setting.account.is_ready


def test_of_a_sources_words_the_first_line_is_told(setting):
    """STS repeats a request whose signature does not match, with its session token."""
    setting.source = OSError("does not match\nx-amz-security-token:SECRET")
    assert not setting.account.is_ready
    setting.errand()
    assert setting.account.problem == "OSError: does not match"
    assert not logging.getLogger("botocore.credentials").isEnabledFor(logging.WARNING)


def test_a_session_token_is_signed_and_sent(setting):
    setting.source = Source(NEW)
    assert not setting.account.is_ready
    setting.errand()
    lines = setting.account.sign({"X-Amz-Target": "AmazonSQS.ListQueues"}, b"{}")
    assert "X-Amz-Security-Token: TOKEN" in lines
    header = next(line for line in lines if line.startswith("Authorization"))
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target" in header
    assert "/us-east-1/sqs/aws4_request" in header
