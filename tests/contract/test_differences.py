"""docs/local-sqs.md says where the other servers differ."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def in_words(test: str) -> str:
    """`test_a_receive_has_ranges[long wait]` → `a receive has ranges (long wait)`."""
    words = test.removeprefix("test_").replace("_", " ")
    return re.sub(r"\[(.+)\]", r" (\1)", words)


def table(differences: dict[str, dict[str, str]], codes: dict[str, dict[str, str]]) -> str:
    rows = [["the suite says", *differences], ["---"] * (len(differences) + 1)]
    tests = sorted({test for tests in differences.values() for test in tests})
    rows += [[in_words(test), *(server.get(test, "") for server in differences.values())] for test in tests]
    for aws in sorted({aws for server in codes.values() for aws in server}):
        said = [codes.get(server, {}).get(aws) for server in differences]
        rows.append([f"the error code {aws}", *(f"may say {code}" if code else "" for code in said)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_documentation_has_the_table(differences):
    """When it fails: the right table is in the message, to be pasted after the marker."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "local-sqs.md").read_text()
    expected = table(*differences)
    _, marker, found = page.partition("<!-- differences -->\n")
    assert marker
    if found != expected:
        pytest.fail(
            f"docs/local-sqs.md differs from DIFFERENCES in tests/contract/conftest.py. It should end:\n{expected}"
        )
