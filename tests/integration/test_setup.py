"""scripts/setup, which `make` runs first: one line when all is well, one line that says what to do when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: A Python that can do all but install: `-m venv` puts this same script into the environment, `-m pip` fails as told.
STAND_IN = """#!/bin/sh
case "$1 $2" in
    "-c "*) exit {version} ;;
    "--version "*) echo "Python 3.99"; exit 0 ;;
    "-m venv") [ {venv} = 0 ] || exit 1; mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit 0 ;;
    "-m pip") shift 2; case "$*" in *--version*) exit 0 ;; esac; cat <<'END'
{says}
END
    exit 1 ;;
esac
"""


@pytest.fixture
def setup(tmp_path):
    """Runs the script for a new environment, with a Python of our making."""

    def run(says: str = "", *, version: int = 0, venv: int = 0) -> subprocess.CompletedProcess[str]:
        python = tmp_path / "python"
        python.write_text(STAND_IN.format(says=says, version=version, venv=venv))
        python.chmod(0o755)
        return subprocess.run(
            ["scripts/setup", str(tmp_path / "env"), "dev"],
            cwd=ROOT,
            env={**os.environ, "PYTHON": str(python)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("pip_says", "told"),
    [
        ("  fatal error: curl/curl.h: No such file or directory", "apt-get install libcurl4-openssl-dev"),
        ("Could not run curl-config: [Errno 2] No such file or directory", "the libcurl headers are missing"),
        ("  fatal error: Python.h: No such file or directory", "apt-get install python3-dev"),
        ("error: command 'gcc' failed: No such file or directory", "there is no C compiler"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "not the one that was locked"),
        ("NewConnectionError('...: Failed to establish a new connection')", "cannot be reached"),
        ("something that nobody has seen yet", "the reason is at the end of"),
    ],
)
def test_what_pip_could_not_install_is_told_in_one_line_with_what_to_do(setup, pip_says, told):
    done = setup(pip_says)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_python_is_told_in_one_line(setup):
    done = setup(version=1)
    assert done.returncode == 1
    assert done.stderr == (
        "setup: Sluice needs Python 3.11 or newer and found none: "
        "install one, or name it: make PYTHON=/path/to/python3.12 …\n"
    )


def test_a_python_without_venv_is_told_in_one_line(setup):
    done = setup(venv=1)
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_environment_that_is_up_to_date_is_left_as_it_is(tmp_path):
    """The environment that these tests run in was made so."""
    environment = Path(sys.prefix)
    made_from = sorted(environment.glob("made-from-*"), key=lambda stamp: stamp.stat().st_mtime)
    if not made_from:
        pytest.skip("these tests run in an environment that scripts/setup did not make")
    lock = made_from[-1].name.removeprefix("made-from-")  # an older one may be from before a change of the lock
    done = subprocess.run(
        ["scripts/setup", str(environment), lock], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
