"""How much a run of the tests tries: the fast lane, the slow one, and where FASTBP_LONG=1 long forms."""

from __future__ import annotations

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

    def slow(value: Any) -> Any:
        return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)

    return [value if value in fast else slow(value) for value in values]
