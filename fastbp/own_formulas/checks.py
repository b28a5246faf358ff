"""Check a traced formula: against the functions that it was traced from, and its derivative by central differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.expressions import Expression, evaluated
from ..numeric_gradients import gradcheck

Array = NDArray[np.float64]
Functions = Mapping[str, Callable[..., Any]]  # by the names of the arguments: value, and derivative

ORDINARY = 30.0  # formulas must be finite up to there
_SIZES = (1e-6, 1e-3, 0.03, 0.5, 1.0, 2.0, *(0.1 * 1.17**k for k in range(37)))  # up to 28.5, and few of them round
_BEYOND = (60.0, 100.0, 300.0, 1e3, 1e4, 1e5)  # where a formula may overflow: what is finite is compared
POINTS = np.array([0.0, *(sign * size for size in (*_SIZES, ORDINARY, *_BEYOND) for sign in (1.0, -1.0))])
# What targets may be.
TARGETS = {
    "numbers": (-300.0, -7.3, -2.5, -1.0, -0.1, 0.0, 0.4, 1.0, 1.7, 3.0, 50.0),
    "shares": (0.0, 0.01, 0.3, 0.5, 0.65, 0.8, 1.0),
    "counts": (0.0, 1.0, 2.0, 3.0, 7.0, 100.0),
}
NOTHING = 1e-9  # of 1, or of all derivatives if these are smaller: differences where terms of the value cancel
RTOL = 1e-6  # of a traced value against that of the function: both round in float64, in the same order


def check_derivative(what: str, functions: Functions, expressions: tuple[Expression, Expression],
                     *points: Array) -> None:  # fmt: skip
    """Raise ValueError where the derivative is not that of the value, or a function depends on more than its arguments.

    Parameters
    ----------
    what : str
        The formula in words.
    functions : Functions
        Value and derivative, of as many numbers as there are `points`.
    expressions : (Expression, Expression)
        What was traced.
    *points : array (n,)
        The argument by which is differentiated, and others.
    """
    value, derivative = (evaluated(each, *points) for each in expressions)
    for (name, function), found in zip(functions.items(), (value, derivative), strict=True):
        _same_as(what, name, function, found, points)
    finite = np.isfinite(value) & np.isfinite(derivative)
    x, others = points[0][finite], [array[finite] for array in points[1:]]
    result = gradcheck(lambda x: evaluated(expressions[0], x, *others), np.diag(derivative[finite]), x)
    analytic, numeric = np.diag(result.analytic), np.diag(result.numeric)
    difference, larger = np.abs(analytic - numeric), np.maximum(np.abs(analytic), np.abs(numeric))
    nothing = NOTHING * min(1.0, np.max(np.abs(analytic)))
    allowed = np.where(np.abs(x) <= ORDINARY, nothing, RTOL * np.maximum(1.0, larger))
    claimed = (np.diag(result.verdicts) == "wrong") & (difference > allowed)
    wrong = np.flatnonzero(claimed & ~_coarse(expressions[0], analytic, numeric, x, *others))
    if wrong.size:
        worst = wrong[np.argmax(difference[wrong] / larger[wrong])]
        raise ValueError(
            f"{what}: derivative is {analytic[worst]:.8g} at {_at([x, *others], worst)}, but differences of value give "
            f"{numeric[worst]:.8g}; expected its derivative"
        )


def _coarse(value: Expression, analytic: Array, numeric: Array, *points: Array) -> NDArray[np.bool_]:
    """Return where the value moves by steps, as ``log(1 - logistic(z))`` does where the logistic function is nearly 1:
    there differences over a hundredth of the point are others, and the derivative is about theirs."""
    x, *others = points
    h = 0.01 * np.maximum(1.0, np.abs(x))
    wide = (evaluated(value, x + h, *others) - evaluated(value, x - h, *others)) / (2 * h)

    def near(a: Array, b: Array, share: float) -> Any:
        return np.abs(a - b) <= share * np.maximum(np.abs(a), np.abs(b))

    return np.asarray(~near(numeric, wide, 0.05) & near(analytic, wide, 0.1))


def check_finite(what: str, values: Mapping[str, Array], dtype: np.dtype[Any], *points: Array) -> None:
    """Raise ValueError where a function's values, computed in this dtype, are not finite at an ordinary point."""
    ordinary = np.abs(points[0]) <= ORDINARY
    for name, found in values.items():
        if (wrong := np.flatnonzero(ordinary & ~np.isfinite(found))).size:
            first = wrong[np.argmin(np.abs(points[0][wrong]))]
            raise ValueError(
                f"{what}: {name} is {found[first]} in {dtype} at {_at(points, first)}, expected a finite number"
            )


def _at(points: Any, index: int) -> str:
    return ", ".join(f"{name} = {array[index]:g}" for name, array in zip("xt" if len(points) == 1 else "zt", points,
                                                                        strict=False))  # fmt: skip


def _same_as(what: str, name: str, function: Callable[..., Any], traced: Array, points: tuple[Array, ...]) -> None:
    """Call the function itself at some points; what depends on more than its arguments gives another value."""
    for index in np.flatnonzero(np.abs(points[0]) <= ORDINARY)[::3]:
        try:
            returned = float(function(*(float(array[index]) for array in points)))
        except (ArithmeticError, ValueError):  # Python raises where arithmetic of NumPy and of the kernels goes on
            continue
        if not abs(returned - traced[index]) <= RTOL * max(1.0, abs(returned)):
            raise ValueError(
                f"{what}: {name} returned {traced[index]:.8g}, and then {returned:.8g} at {_at(points, index)}, "
                "expected a function of its arguments alone"
            )
