"""What random calls share: arguments in any form, or spoiled, amid canaries, and their bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp.learning_rates import Adaptive, Constant
from fastbp.optimizers import Adam
from support.fields import Field

INTERESTING = [1, 2, 3, 7, 8, 9, 13, 14, 15, 16, 17, 31, 33]
Rng = np.random.Generator


class Case:
    """One call: its arguments, the fields of canaries that they lie in, and what is expected of it."""

    def __init__(self, rng: Rng, spoil: bool):
        self.rng, self.spoil = rng, spoil
        self.dtype = np.dtype(rng.choice(["f4", "f8"]))
        self.fields: list[Field] = []
        self.written: list[Field] = []
        self.names: tuple[str, ...] = ()  # of arguments: what an error may begin with
        self.errors: tuple[type[BaseException], ...] = (ValueError, TypeError)

    def size(self) -> int:
        return int(self.rng.choice(INTERESTING))

    def choice(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def numbers(self, *shape: int, low: int = -16, high: int = 17) -> Any:
        """An array in a layout of any kind; small multiples of 1/8, exact in every dtype."""
        return self.laid_out(self.rng.integers(low, high, shape) / 8)

    def laid_out(self, values: Any) -> Any:
        """Values, exact in every dtype, in a layout of any kind."""
        shape = values.shape
        kind = self.choice("field", "field", "f16", "swapped", "long", "list", "fortran", "unaligned", "read-only")
        if kind == "field":
            return self.field(values.astype(self.dtype))
        if kind == "list":
            return values.astype(self.dtype).tolist() if self.dtype == "f8" else list(values.astype("f4"))
        if kind == "unaligned":
            memory = np.zeros(values.size * self.dtype.itemsize + 1, np.uint8)[1:].view(self.dtype).reshape(shape)
            memory[...] = values
            return memory
        if kind == "read-only":
            return np.frombuffer(values.astype(self.dtype).tobytes(), self.dtype).reshape(shape)
        dtype = {"f16": "f2", "swapped": self.dtype.newbyteorder(), "long": "g", "fortran": self.dtype}[kind]
        return np.asarray(values, dtype, order="F" if kind == "fortran" else "C")

    def field(self, values: Any, written: bool = False) -> Any:
        field = Field(values, self.choice(*Field.LAYOUTS))
        (self.written if written else self.fields).append(field)
        return field.view

    def labels(self, n: int, classes: int) -> tuple[Any, Any]:
        """Labels in some form, and as the reference takes them."""
        y = self.rng.integers(0, classes, n)
        form = self.choice("field", "one-hot", "rows", "list", "u1", "float", "swapped")
        if form == "one-hot":
            return np.eye(classes, dtype=self.choice("f4", "f8", "?", "u1"))[y], y
        if form == "rows":
            t = self.rng.integers(1, 5, (n, classes)).astype(np.float64)
            t /= t.sum(axis=1, keepdims=True)
            return t, t
        forms = {"field": lambda: self.field(y), "list": y.tolist, "u1": lambda: y.astype("u1"),
                 "float": lambda: y.astype(self.dtype), "swapped": lambda: y.astype(">i4")}  # fmt: skip
        return forms[form](), y

    def spoiled(self, value: Any) -> Any:
        """Something that is not what was asked for, or perhaps it still is."""
        odd = (None, "text", b"bytes", 1j, object(), {}, {1, 2}, [], (), [[1.0], [1.0, 2.0]], 10**40, -1, 0, True,
               math.nan, math.inf, 1.5, "0.5", np.zeros(3, "f4,i4"), np.float64(2), np.array(3), len, range(3),
               slice(2), np.zeros((0, 0)), np.zeros((2, 0, 3)), memoryview(b"abc"), bytearray(b"abc"),
               Constant(1e300), Adaptive(0.1), Adam(), np.timedelta64(3), ["tanh"], ("relu", "gelu"),
               "adam")  # fmt: skip
        if not isinstance(value, (np.ndarray, list, tuple)) or self.rng.random() < 0.4:
            return self.choice(*odd)
        try:
            array = np.asarray(value)
        except ValueError:
            return self.choice(*odd)
        if array.ndim == 0 or array.size == 0 or array.dtype.kind not in "biuf":
            return self.choice(*odd)
        special = np.array(array, np.float64)
        special.flat[int(self.rng.integers(special.size))] = self.choice(
            math.nan, math.inf, -math.inf, -1.0, 0.5, 1e9, 1e300, 2.0**63
        )
        return self.choice(array[None], array[..., None], array[..., :-1], array[:-1], array.T, special, special,
                           np.ma.array(array), array.astype("U9"), array.astype(complex), array.astype(object),
                           array.astype("i8").astype("M8[s]"))  # fmt: skip

    def spoil_some(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.names = (*self.names, *arguments)
        if not self.spoil:
            return arguments
        count = 1 + int(self.rng.random() < 0.2)
        for name in self.rng.choice(list(arguments), min(count, len(arguments)), replace=False):
            arguments[name] = self.spoiled(arguments[name])
        return arguments


def near(actual: Any, expected: Any, bound: Any) -> None:
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}, expected {expected.shape}")
    wrong = ~(np.abs(actual - expected) <= bound)  # NaN too
    if wrong.any():
        raise AssertionError(f"{wrong.sum()} of {wrong.size} beyond the bound")


def eps_of(*arrays: Any) -> float:
    return max(float(np.finfo(np.asarray(a).dtype).eps) for a in arrays)


Check = Callable[[Any], None]
Call = tuple[Callable[[], Any], Check]
