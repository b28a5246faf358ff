"""How much a run of the tests tries: the fast lane, the slow one, and where FASTBP_LONG=1 long forms."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable
from typing import Any

import pytest

LONG = os.environ.get("FASTBP_LONG") == "1"


def forms(short: int, long: int) -> Any:
    """Parameters of a test in two forms: how many cases it tries; the long form runs where FASTBP_LONG=1."""
    marks = [pytest.mark.long, pytest.mark.skipif(not LONG, reason="minutes of work: set FASTBP_LONG=1")]
    return pytest.mark.parametrize(
        "cases", [pytest.param(short, id="short"), pytest.param(long, id="long", marks=marks)]
    )


def in_lanes(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """Return the values as parameters of a test, tuples as several, marked slow except those in `fast`."""
    return [value if value in fast else _slow(value) for value in values]


def pairwise(*parameters: Iterable[Any]) -> list[Any]:
    """Return all combinations of the parameters' values, marked slow except a part that holds every pair of values.

    Of two parameters the part holds every value.
    """
    lists = [list(values) for values in parameters]
    least = min(map(len, lists))
    combined = itertools.product(*map(enumerate, lists))
    return [
        values if sum(indices) % least == 0 else _slow(values)
        for indices, values in (zip(*each, strict=True) for each in combined)
    ]


def _slow(value: Any) -> Any:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
