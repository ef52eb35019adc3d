"""The examples of docs/local-sqs.md, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "local-sqs.md"
EXAMPLES = dict(re.findall(r"<!-- run: (\S+) -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
THE_DEVELOPERS = {
    "AWS_PROFILE": "nope",
    "AWS_CA_BUNDLE": "/nowhere.pem",
    "AWS_SESSION_TOKEN": "somebody's",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "http_proxy": "http://127.0.0.1:1",
    "no_proxy": "intranet",
}


def test_there_are_examples_for_boto3_celery_and_signatures():
    assert sorted(EXAMPLES) == ["test_boto3.py", "test_celery.py", "test_strict.py"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_whatever_the_developers_environment_says(tmp_path, name):
    (tmp_path / name).write_text(EXAMPLES[name])
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
        cwd=tmp_path,
        env={**os.environ, **THE_DEVELOPERS},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_the_fixtures_cost_nothing_until_they_are_asked_for():
    """The plugin is loaded into every pytest run in which Sluice is installed."""
    code = "import sys; import pytest; before = set(sys.modules); import app.testing.plugin; "
    code += "print(sorted(name for name in set(sys.modules) - before if not name.startswith('app')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
