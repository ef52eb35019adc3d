"""Kinds of option that more than one command takes."""

from __future__ import annotations

import math
from typing import Any

import click

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(click.ParamType[float]):
    """So many in a time: `50/s`, `600/m`, `20/h`, or `50`, which is a second's; as a float, a second's."""

    name = "N/s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The rate as a float, a second's."""
        if isinstance(value, float):
            return value
        number, _, unit = str(value).partition("/")
        try:
            rate = float(number) / _SECONDS[unit.strip() or "s"]
        except (KeyError, ValueError):
            self.fail(f"{value!r} is not a rate: write a number and /s, /m or /h, as in 50/s", param, ctx)
        if not 0 < rate < float("inf"):
            self.fail(f"{value!r} is not a rate above 0; leave the option out for no limit", param, ctx)
        return rate


class Finite(click.FloatRange):
    """A float in a range, and a number: `nan` is outside no range, and `inf` is within one that is open above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number as a float."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number
