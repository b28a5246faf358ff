"""The language of formulas: arithmetic on the lanes of a vector, whoever carries it out.

A formula is a plain function of `Lanes`. `simd.VectorLanes` writes its LLVM instructions; no compiler is imported
before that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Lanes(Protocol):
    """A vector, or a mask of one, in a formula: what is done to it is done to every lane."""

    @property
    def dtype(self) -> Any:
        """The type of a number, whose `bitwidth` formulas ask for."""

    def __add__(self, other: Lanes | float) -> Lanes: ...
    def __sub__(self, other: Lanes | float) -> Lanes: ...
    def __rsub__(self, number: float) -> Lanes: ...
    def __mul__(self, other: Lanes | float) -> Lanes: ...
    def __truediv__(self, other: Lanes | float) -> Lanes: ...
    def __rtruediv__(self, number: float) -> Lanes: ...
    def __neg__(self) -> Lanes: ...
    def __lt__(self, other: Lanes | float) -> Lanes: ...
    def __le__(self, other: Lanes | float) -> Lanes: ...
    def __gt__(self, other: Lanes | float) -> Lanes: ...
    def equals(self, other: Lanes | float) -> Lanes: ...

    def filled(self, number: float) -> Lanes: ...
    def of_each(self, function: str, *others: Lanes) -> Lanes: ...
    def fma(self, factor: Lanes | float, addend: Lanes | float) -> Lanes: ...
    def absolute(self) -> Lanes: ...
    def sqrt(self) -> Lanes: ...
    def copysign(self, sign: Lanes) -> Lanes: ...
    def select(self, yes: Lanes | float, no: Lanes | float) -> Lanes: ...

    # Bit patterns, for exponents: integers of the same width, held in the same class.
    def bits(self) -> Lanes: ...
    def as_float(self) -> Lanes: ...
    def to_float(self) -> Lanes: ...
    def int_add(self, number: int | Lanes) -> Lanes: ...
    def int_sub(self, number: int | Lanes) -> Lanes: ...
    def int_and(self, number: int) -> Lanes: ...
    def shift_left(self, number: int) -> Lanes: ...
    def shift_right(self, number: int) -> Lanes: ...


def fma(a: Lanes, b: Lanes | float, c: Lanes | float) -> Lanes:
    """``a * b + c``, rounded once where the target can."""
    return a.fma(b, c)


def absolute(x: Lanes) -> Lanes:
    return x.absolute()


def sqrt(x: Lanes) -> Lanes:
    """Correctly rounded; NaN below 0."""
    return x.sqrt()


def copysign(size: Lanes, sign: Lanes) -> Lanes:
    """The size of one with the sign of the other, that of a zero included."""
    return size.copysign(sign)


def select(condition: Lanes, yes: Lanes | float, no: Lanes | float) -> Lanes:
    return condition.select(yes, no)


class Formula:
    """A formula that kernels call by its name, on vectors and on scalars; formulas call its plain function, `write`.

    Scalars are put into every lane and lane 0 is taken, so that a formula has one set of roundings wherever it is used.
    """

    def __init__(self, write: Callable[..., Lanes]):
        self.write = write
        self.__doc__ = write.__doc__
        self.__name__ = write.__name__


def formula(write: Callable[..., Lanes]) -> Any:
    """Make a function of `Lanes` callable in kernels."""
    return Formula(write)
