"""What tests/conftest.py promises, tried on a small suite of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
ROOT = CONFTEST.parents[1]
SUITE = """
import socket, time
import pytest

@pytest.mark.needs("python3")
def test_with_a_program_that_is_there():
    pass

@pytest.mark.needs("no-such-program")
def test_with_a_program_that_is_not():
    raise AssertionError("must not run")

@pytest.mark.long
def test_that_takes_minutes():
    time.sleep(0)

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
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  needs(program)\n  long\naddopts = -p no:cacheprovider\n"
    )
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
    assert any(line.startswith("2 passed, 1 skipped, 1 xfailed") for line in lines)


def test_no_skips_makes_it_an_error(run):
    status, lines = run("--no-skips")
    assert status == 1
    assert any("skipped, which --no-skips forbids: needs no-such-program" in line for line in lines)


def test_make_test_leaves_out_what_needs_a_program_or_minutes_and_ci_runs_just_that_after_it(run):
    [short] = re.findall(r'pytest -m "([^"]+)"', (ROOT / "Makefile").read_text())
    [rest] = re.findall(r"-m '([^']+)'", (ROOT / ".ci" / "run").read_text())
    passed = []
    for expression in (short, rest):
        status, lines = run("-m", expression)
        assert status == 0
        passed.append(next(line for line in lines if "deselected" in line).partition(" in ")[0])
    assert passed == ["3 deselected, 1 xfailed", "2 passed, 1 skipped, 1 deselected"]


def test_unit_tests_neither_sleep_nor_connect(run, tmp_path):
    (tmp_path / "unit" / "test_unit.py").write_text(UNIT)
    status, lines = run("unit")
    assert status == 1
    assert any("must not sleep" in line for line in lines)
    assert any("must not use a socket" in line for line in lines)
