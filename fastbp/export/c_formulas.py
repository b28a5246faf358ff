"""Formulas as C functions of one number: the kernels' own formulas write C statements where they write LLVM's else.

The statements use a few names that `c_source` defines: the types `real` and `word` (of as many bits), `to_word` and
`to_real` for bit patterns, `shift_right` with the sign, and `whole` for the number that a word holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

WORDS = {32: np.uint32, 64: np.uint64}
SUFFIXES = {32: "f", 64: ""}  # of a number
WORD_SUFFIXES = {32: "u", 64: "ull"}
VARIABLE = re.compile(r"\bv\d+\b")


class Real(NamedTuple):
    """The type of a number, as formulas ask for it."""

    bitwidth: int


class CLane:
    """One lane of a formula as the name of a C variable, or as a number: what is done to it appends a statement.

    Square roots, sines and the like are refused: they are of C's library, which an exported file does without. Of the
    activations only a user's own may call them.
    """

    def __init__(self, body: list[str], dtype: Real, text: str, kind: str = "real"):
        self.body, self.dtype, self.text, self.kind = body, dtype, text, kind

    def _operand(self, other: Any) -> str:
        return other.text if isinstance(other, CLane) else literal(other, self.dtype.bitwidth)

    def _new(self, kind: str, expression: str) -> CLane:
        name = f"v{len(self.body)}"
        self.body.append(f"const {kind} {name} = {expression};")
        return CLane(self.body, self.dtype, name, kind)

    def _real(self, sign: str, left: Any, right: Any) -> CLane:
        return self._new("real", f"{self._operand(left)} {sign} {self._operand(right)}")

    def _mask(self, sign: str, other: Any) -> CLane:
        return self._new("int", f"{self.text} {sign} {self._operand(other)}")

    def _word(self, sign: str, other: Any) -> CLane:
        return self._new("word", f"{self.text} {sign} {self._whole(other)}")

    def _whole(self, number: Any) -> str:
        """A whole number as a word: C's words wrap around as LLVM's do."""
        if isinstance(number, CLane):
            return number.text
        size = self.dtype.bitwidth
        return f"{number % 2**size:#x}{WORD_SUFFIXES[size]}"

    # ---- numbers; C compares with NaN as LLVM's ordered comparisons do ----

    def __add__(self, other: Any) -> CLane:
        return self._real("+", self, other)

    def __sub__(self, other: Any) -> CLane:
        return self._real("-", self, other)

    def __rsub__(self, number: Any) -> CLane:
        return self._real("-", number, self)

    def __mul__(self, other: Any) -> CLane:
        return self._real("*", self, other)

    def __truediv__(self, other: Any) -> CLane:
        return self._real("/", self, other)

    def __rtruediv__(self, number: Any) -> CLane:
        return self._real("/", number, self)

    def __neg__(self) -> CLane:
        return self._new("real", f"-{self.text}")

    def __lt__(self, other: Any) -> CLane:
        return self._mask("<", other)

    def __le__(self, other: Any) -> CLane:
        return self._mask("<=", other)

    def __gt__(self, other: Any) -> CLane:
        return self._mask(">", other)

    def equals(self, other: Any) -> CLane:
        return self._mask("==", other)

    def filled(self, number: float) -> CLane:
        return CLane(self.body, self.dtype, self._operand(number))

    def sqrt(self) -> CLane:
        return self.of_each("sqrt")

    def of_each(self, function: str, *others: Any) -> CLane:
        raise ValueError(f"to_c: got an activation of your own that calls {function}, which is of C's library; "
                         "expected arithmetic, comparisons, exp, expm1, log, log1p and tanh")  # fmt: skip

    def fma(self, factor: Any, addend: Any) -> CLane:
        """A rounded product and a rounded sum, as on a target without the instruction."""
        return self.__mul__(factor).__add__(addend)

    def select(self, yes: Any, no: Any) -> CLane:
        kind = next((value.kind for value in (yes, no) if isinstance(value, CLane)), "real")
        return self._new(kind, f"{self.text} ? {self._operand(yes)} : {self._operand(no)}")

    def absolute(self) -> CLane:
        return self.bits().int_and(self._sign - 1).as_float()

    def copysign(self, sign: CLane) -> CLane:
        size = self.bits().int_and(self._sign - 1)
        return size._word("|", sign.bits().int_and(self._sign)).as_float()

    @property
    def _sign(self) -> int:
        return 1 << (self.dtype.bitwidth - 1)

    # ---- bit patterns ----

    def bits(self) -> CLane:
        return self._new("word", f"to_word({self.text})")

    def as_float(self) -> CLane:
        return self._new("real", f"to_real({self.text})")

    def to_float(self) -> CLane:
        return self._new("real", f"whole({self.text})")

    def int_add(self, number: Any) -> CLane:
        return self._word("+", number)

    def int_sub(self, number: Any) -> CLane:
        return self._word("-", number)

    def int_and(self, number: int) -> CLane:
        return self._word("&", number)

    def shift_left(self, number: int) -> CLane:
        return self._new("word", f"{self.text} << {number}")

    def shift_right(self, number: int) -> CLane:
        return self._new("word", f"shift_right({self.text}, {number})")


def literal(number: Any, bitwidth: int) -> str:
    """Return a number, rounded to the type, for an expression: in parentheses if it has a sign."""
    with np.errstate(over="ignore"):  # to infinity, as in the kernels
        value = (np.float32 if bitwidth == 32 else np.float64)(number)
    if not np.isfinite(value):
        return f"to_real({int(value.view(WORDS[bitwidth])):#x}{WORD_SUFFIXES[bitwidth]})"
    text = exact(float(value), bitwidth)
    return f"({text})" if text.startswith("-") else text


def exact(number: float, bitwidth: int) -> str:
    """Return a finite number of the type as C writes exactly this one."""
    mantissa, exponent = number.hex().split("p")
    return f"{mantissa.rstrip('0').removesuffix('.')}p{exponent}{SUFFIXES[bitwidth]}"


def function(name: str, formula: Callable[..., Any], constants: Sequence[float], bitwidth: int) -> list[str]:
    """Return the lines of a C function of x that computes a formula of x and constants."""
    body: list[str] = []
    operands = ["x", *(literal(number, bitwidth) for number in constants)]
    result = formula(*(CLane(body, Real(bitwidth), text) for text in operands))
    lines = [*_needed(body, result.text), f"return {result.text};"]
    return [f"static real {name}(real x)", "{", *(f"    {line}" for line in lines), "}"]


def _needed(body: list[str], result: str) -> list[str]:
    """Return the statements that the result follows from: formulas share parts, of which some need only a few."""
    names, lines = {result}, []
    for statement in reversed(body):
        variable, *operands = VARIABLE.findall(statement)
        if variable in names:
            names.update(operands)
            lines.append(statement)
    return lines[::-1]
