"""Formulas as data: what a user's own functions compute, step by step, written for vectors or evaluated by NumPy.

An expression is data alone, so that a process that compiles can be sent it, and its digest covers all that it follows
from: the bytecode of the functions, their constants, what they close over and what they call.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .formulas import exp, expm1, log, log1p, tanh
from .lanes import Lanes, absolute, copysign, select, sqrt

NUMBER = "number"  # the step that is a constant


class Expression(NamedTuple):
    """Steps that make one value of some inputs.

    Attributes
    ----------
    inputs : int
    steps : tuple of tuple
        Each the name of one of `OPERATIONS` and the numbers of the values that it takes; or `NUMBER` and a constant.
        Values are numbered from the inputs on.
    result : int
        Which value is the expression's.
    """

    inputs: int
    steps: tuple[tuple[Any, ...], ...]
    result: int

    @property
    def cost(self) -> int:
        """Vector multiply-adds for one vector, about."""
        return sum(OPERATIONS[name].cost for name, *_ in self.steps if name != NUMBER)


class Operation(NamedTuple):
    """A step on vectors, the same in NumPy, and its cost in vector multiply-adds."""

    write: Callable[..., Lanes]
    evaluate: Callable[..., Any]
    cost: int = 1


def _of_each_lane(name: str) -> Operation:
    """Return a function of the C library, which is called for one lane after another."""
    in_python = {"tgamma": "gamma"}.get(name, name)

    def number(*values: float) -> float:
        try:
            return float(getattr(math, in_python)(*map(float, values)))
        except OverflowError:
            return math.inf
        except ValueError:  # outside the domain
            return math.nan

    def evaluate(*values: Any) -> NDArray[Any]:
        arrays = np.broadcast_arrays(*values)
        found = [number(*each) for each in zip(*(array.ravel() for array in arrays), strict=True)]
        return np.array(found).reshape(arrays[0].shape)

    return Operation(lambda first, *others: first.of_each(name, *others), evaluate, 200)


def _less(a: Lanes, b: Lanes) -> Lanes:
    return a < b


def _less_equal(a: Lanes, b: Lanes) -> Lanes:
    return a <= b


OF_EACH_LANE = (
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "erfc", "tgamma",
    "lgamma", "log2", "log10", "floor", "ceil", "trunc", "pow", "atan2", "fmod",
)  # fmt: skip
OPERATIONS = {
    "add": Operation(operator.add, np.add),
    "subtract": Operation(operator.sub, np.subtract),
    "multiply": Operation(operator.mul, np.multiply),
    "divide": Operation(operator.truediv, np.divide, 8),
    "negative": Operation(operator.neg, np.negative),
    "absolute": Operation(absolute, np.abs),
    "copysign": Operation(copysign, np.copysign),
    "sqrt": Operation(sqrt, np.sqrt, 8),
    "less": Operation(_less, np.less),
    "less_equal": Operation(_less_equal, np.less_equal),
    "equal": Operation(lambda a, b: a.equals(b), np.equal),
    "select": Operation(select, np.where),
    "exp": Operation(exp.write, np.exp, 20),
    "expm1": Operation(expm1.write, np.expm1, 24),
    "log": Operation(log.write, np.log, 24),
    "log1p": Operation(log1p.write, np.log1p, 40),
    "tanh": Operation(tanh.write, np.tanh, 36),
    **{name: _of_each_lane(name) for name in OF_EACH_LANE},
}


def written(expression: Expression, *inputs: Lanes) -> Lanes:
    """Write the expression of these vectors."""
    values = list(inputs)
    for name, *operands in expression.steps:
        if name == NUMBER:
            values.append(inputs[0].filled(*operands))
        else:
            values.append(OPERATIONS[name].write(*(values[number] for number in operands)))
    return values[expression.result]


def evaluated(expression: Expression, *inputs: Any) -> NDArray[np.float64]:
    """Return the expression's values for these arrays, by NumPy in float64."""
    values = [np.asarray(array, np.float64) for array in inputs]
    with np.errstate(all="ignore"):
        for name, *operands in expression.steps:
            if name == NUMBER:
                values.append(np.full_like(values[0], *operands))
            else:
                values.append(OPERATIONS[name].evaluate(*(values[number] for number in operands)))
    return values[expression.result]


def digest(*parts: Any) -> str:
    """Return a hash of expressions and what else is given, in which every bit of a constant counts."""
    return hashlib.sha256(repr(_plain(parts)).encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(map(_plain, part))
    return part.hex() if isinstance(part, float) else part
