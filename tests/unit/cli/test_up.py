"""What `up` refuses on its command line, before anything is started."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from app.cli.downstream import command as downstream
from app.cli.sqs import command as sqs
from app.cli.up import command as up

UP = ("--deadline", "--latency", "--round-trip", "--error-rate", "--slow-rate")
DOWNSTREAM = ("--latency", "--slow-latency", "--error-rate", "--slow-rate")
SQS = ("--round-trip", "--jitter", "--clock-speed")


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command, options in ((up, UP), (downstream, DOWNSTREAM), (sqs, SQS)) for option in options],
)
def test_a_number_that_is_not_finite_is_refused(command, option, value):
    # One word more than a command takes: should the number be let through, nothing is started all the same.
    done = CliRunner().invoke(command, [option, value, "surplus"])
    assert done.exit_code == 2
    assert f"Invalid value for '{option}': " in done.output
