"""What tests/conftest.py promises, tried on a small suite of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SUITE = """
import socket, time
import pytest

@pytest.mark.needs("python3")
def test_with_a_program_that_is_there():
    pass

@pytest.mark.needs("no-such-program")
def test_with_a_program_that_is_not():
    raise AssertionError("must not run")

@pytest.mark.xfail(strict=True)
def test_that_is_expected_to_fail():
    assert False
"""
UNIT = """
import socket, time

def test_sleeping():
    time.sleep(0)

def test_connecting():
    socket.socket().connect(("127.0.0.1", 1))
"""


@pytest.fixture
def run(tmp_path):
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs(program)\naddopts = -p no:cacheprovider\n")
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "unit").mkdir()

    def run(*options: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "pytest", "-q", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.strip().splitlines()

    return run


def test_a_skip_names_the_missing_program_and_is_counted_on_the_last_line(run):
    status, lines = run()
    assert status == 0
    assert lines[-1] == "skipped tests: 1; 1 x needs no-such-program, which is not installed"
    assert any(line.startswith("1 passed, 1 skipped, 1 xfailed") for line in lines)


def test_no_skips_makes_it_an_error(run):
    status, lines = run("--no-skips")
    assert status == 1
    assert any("skipped, which --no-skips forbids: needs no-such-program" in line for line in lines)


def test_what_needs_a_program_can_be_left_out(run):
    status, lines = run("-m", "not needs")
    assert status == 0
    assert lines[-1] == "skipped tests: 0"


def test_unit_tests_neither_sleep_nor_connect(run, tmp_path):
    (tmp_path / "unit" / "test_unit.py").write_text(UNIT)
    status, lines = run("unit")
    assert status == 1
    assert any("must not sleep" in line for line in lines)
    assert any("must not use a socket" in line for line in lines)
