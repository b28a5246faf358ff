"""Graphs to draw."""

from __future__ import annotations

import pytest

from fastbp.graph import Variable

pytest.importorskip("matplotlib")


def car(name: str = "paid") -> Variable:
    price, number, tax = Variable(20.0, "price"), Variable(2.0, "number"), Variable(1.1, "tax")
    return (price * number * tax).named(name)
