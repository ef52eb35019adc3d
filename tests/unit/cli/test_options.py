from __future__ import annotations

import click
import pytest

from app.cli.options import Finite, Rate


@pytest.mark.parametrize(
    ("text", "per_second"), [("50/s", 50), ("50", 50), ("600/m", 10), ("36/h", 0.01), ("0.5/s", 0.5), (7.0, 7)]
)
def test_a_rate_is_read_as_so_many_a_second(text, per_second):
    assert Rate().convert(text, None, None) == pytest.approx(per_second)


@pytest.mark.parametrize("text", ["fast", "50/d", "/s", "0/s", "-1/s", "nan", "inf", ""])
def test_what_is_no_rate_is_refused_with_what_to_write(text):
    with pytest.raises(click.BadParameter, match="is not a rate"):
        Rate().convert(text, None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "-1"])
def test_what_is_no_finite_number_of_the_range_is_refused(text):
    with pytest.raises(click.BadParameter, match=r"is not (a finite number|in the range)"):
        Finite(min=0).convert(text, None, None)
    assert Finite(min=0).convert("0.5", None, None) == 0.5
