"""What the transport's parts stand on: an engine whose time is moved by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # where `fake_engine` is: test folders are no packages

from fake_engine import FakeEngine


@pytest.fixture
def engine():
    return FakeEngine()
