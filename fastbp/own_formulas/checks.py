"""Check a traced formula: against the functions that it was traced from, and its derivative by central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.expressions import Expression, evaluated
from ..numeric_gradients import gradcheck

Array = NDArray[np.float64]

_SIZES = (1e-6, 1e-3, 0.03, 0.2, 0.5, 0.9, 1.0, 1.3, 2.0, 2.7, 4.0, 6.0, 10.0, 20.0, 30.0)
_BEYOND = (60.0, 100.0, 300.0, 1e3, 1e4)  # where a formula may overflow: what is finite is compared
ORDINARY = 30.0
POINTS = np.array([0.0, *(sign * size for size in (*_SIZES, *_BEYOND) for sign in (1.0, -1.0))])
# What targets may be.
TARGETS = {
    "numbers": (-300.0, -2.5, -1.0, -0.1, 0.0, 0.4, 1.0, 3.5, 50.0),
    "shares": (0.0, 0.01, 0.3, 0.5, 0.8, 1.0),
    "counts": (0.0, 1.0, 2.0, 7.0, 100.0),
}
NOTHING = 1e-9  # of 1, or of all derivatives if these are smaller: differences where terms of the value cancel
RTOL = 1e-6  # of a traced value against that of the function: both round in float64, in the same order


def grid(targets: str) -> tuple[Array, Array]:
    """Return logits and targets, each of the one with each of the other."""
    z, t = np.meshgrid(POINTS, np.array(TARGETS[targets]), indexing="ij")
    return z.ravel(), t.ravel()


def check(
    what: str,
    names: tuple[str, str],
    functions: tuple[Callable[..., Any], Callable[..., Any]],
    expressions: tuple[Expression, Expression],
    *points: Array,
) -> None:
    """Raise ValueError where value or derivative are not finite at ordinary points, or not each other's.

    Parameters
    ----------
    what : str
        The formula in words.
    names : (str, str)
        Of its two functions.
    functions : (callable, callable)
        Of as many numbers as there are `points`.
    expressions : (Expression, Expression)
        What was traced.
    *points : array (n,)
        The argument by which is differentiated, and others.
    """
    value, derivative = (evaluated(each, *points) for each in expressions)
    ordinary = np.abs(points[0]) <= ORDINARY
    for name, found, function in zip(names, (value, derivative), functions, strict=True):
        if (wrong := np.flatnonzero(ordinary & ~np.isfinite(found))).size:
            raise ValueError(
                f"{what}: {name} is {found[wrong[0]]} at {_at(points, wrong[0])}, expected a finite number"
            )
        _same_as(what, name, function, found, points)
    finite = np.isfinite(value) & np.isfinite(derivative)
    x, others = points[0][finite], [array[finite] for array in points[1:]]
    result = gradcheck(lambda x: evaluated(expressions[0], x, *others), np.diag(derivative[finite]), x)
    analytic, numeric = np.diag(result.analytic), np.diag(result.numeric)
    difference, larger = np.abs(analytic - numeric), np.maximum(np.abs(analytic), np.abs(numeric))
    nothing = NOTHING * min(1.0, np.max(np.abs(analytic)))
    allowed = np.where(np.abs(x) <= ORDINARY, nothing, RTOL * np.maximum(1.0, larger))
    wrong = np.flatnonzero((np.diag(result.verdicts) == "wrong") & (difference > allowed))
    if wrong.size:
        worst = wrong[np.argmax(difference[wrong] / larger[wrong])]
        raise ValueError(
            f"{what}: {names[1]} is {analytic[worst]:.8g} at {_at([x, *others], worst)}, but differences "
            f"of {names[0]} give {numeric[worst]:.8g}; expected its derivative"
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
