from __future__ import annotations

import json

from click.testing import CliRunner

from app.cli.sample import command


def test_the_terminal_and_a_file_get_the_same_bytes(tmp_path):
    out = tmp_path / "events.jsonl"
    shown = CliRunner().invoke(command, ["50", "--seed", "3"])
    written = CliRunner().invoke(command, ["50", "--seed", "3", "--out", str(out)])
    assert shown.exit_code == written.exit_code == 0
    assert written.output == ""
    assert shown.stdout_bytes == out.read_bytes()
    assert len([json.loads(line) for line in out.read_bytes().splitlines()]) == 50


def test_none_is_a_number_too():
    assert CliRunner().invoke(command, ["0"]).stdout_bytes == b""


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    result = CliRunner().invoke(command, ["1", "--out", str(tmp_path / "missing" / "events.jsonl")])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "cannot be written: No such file or directory" in result.output
