"""What the user sees."""

from __future__ import annotations

import io

import pytest

from app.supervisor.terminal import Terminal


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def time(self) -> float:
        return self.now

    monotonic = time


def test_without_a_terminal_progress_is_a_line_every_few_seconds_and_only_when_it_changed():
    stream, clock = io.StringIO(), Clock()
    terminal = Terminal(stream, every=5.0, clock=clock)
    for clock.now, line in [(0.0, "a"), (1.0, "b"), (5.0, "c"), (10.0, "c"), (11.0, "d")]:
        terminal.progress(line)
    terminal.settle()
    assert stream.getvalue() == "a\nc\nd\n"


def test_on_a_terminal_progress_is_one_live_line_and_other_lines_are_written_above_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Tty()
    terminal = Terminal(stream, clock=Clock())
    terminal.progress("1 of 2")
    terminal.progress("1 of 2")
    terminal.say("hello")
    terminal.progress("2 of 2, and a long tail that does not fit")
    terminal.settle()
    assert stream.getvalue() == "\r\x1b[K1 of 2\r\x1b[Khello\n1 of 2\r\x1b[K2 of 2, and a long \n"


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error")])
def test_a_reader_that_is_gone_is_no_reason_to_stop(error):
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise error

    Terminal(Gone(), clock=Clock()).say("nobody reads this")


def test_a_closed_standard_output_is_no_reason_to_stop():
    terminal = Terminal(None, clock=Clock())
    terminal.say("nobody reads this")
    terminal.progress("nor this")
    terminal.settle()
