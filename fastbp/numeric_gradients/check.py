"""`gradcheck`: compare a gradient or Jacobian computed by hand with central differences.

It compares entry by entry or along a few random directions. Nothing else of fastbp is imported except the differences
and their comparison, so the check does not depend on what it checks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .comparison import Comparison, GradcheckResult
from .differences import EPSILON, Array, Function, NotDeterministic, Point, epsilon_of, flat, numeric_gradient, real

__all__ = ["GradcheckResult", "gradcheck", "numeric_gradient"]

# The default tolerance: far above the error of a difference, far below that of a wrong formula.
LEAST, OF_FUNCTION, MOST = 1e-7, 400.0, 0.1


# ---- arguments ----


def _limit(rtol: float | None, precision: float) -> float:
    """Return the tolerance, by default from the precision of the function's values, the point and the gradient."""
    if rtol is None:
        return float(min(MOST, max(LEAST, OF_FUNCTION * precision ** (2 / 3))))
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float, np.integer, np.floating)):
        raise TypeError(f"rtol: got {type(rtol).__name__}, expected a number or None")
    if not rtol >= 0:
        raise ValueError(f"rtol: got {rtol}, expected 0 or more")
    return float(rtol)


def _number_of(directions: int | None) -> int | None:
    """Return a checked number of directions."""
    if directions is None:
        return None
    try:
        number = operator.index(directions)
    except TypeError:
        number = None
    if number is None or isinstance(directions, bool):
        raise TypeError(f"directions: got {directions!r}, expected a whole number of at least 1, or None")
    if number < 1:
        raise ValueError(f"directions: got {directions}, expected at least 1, or None for every entry")
    return number


def _claimed(gradient: Any, point: Point, function: Function) -> tuple[Array, float]:
    """Return the claimed Jacobian (values, entries), and the precision of its dtype."""
    came = " returned" if callable(gradient) else ""
    given = gradient(*point.split(point.x.copy())) if callable(gradient) else gradient
    if point.several:
        if not isinstance(given, (tuple, list)):
            got = type(given).__name__ + came
            raise TypeError(f"gradient: got {got}, expected a tuple of {len(point.shapes)} arrays, one for each input")
        if len(given) != len(point.shapes):
            raise ValueError(
                f"gradient: got {len(given)} arrays{came}, expected {len(point.shapes)}, one for each input"
            )
    parts = given if point.several else (given,)
    columns, precision = [], EPSILON
    for k, (part, shape) in enumerate(zip(parts, point.shapes, strict=True)):
        name, its = point.name("gradient", k), point.name("point", k)
        array = real(name, part, came)
        if array.shape != function.shape + shape:
            expected = (
                f"{function.shape + shape}, the function's shape and then that of {its}"
                if function.shape
                else f"the shape of {its}, {shape}"
            )
            raise ValueError(f"{name}: got shape {array.shape}, expected {expected}")
        columns.append(flat(array).reshape(function.at_point.size, -1))
        precision = max(precision, epsilon_of(array.dtype))
    return np.concatenate(columns, axis=1), precision


def gradcheck(
    function: Callable[..., Any],
    gradient: Any,
    point: Any,
    *,
    eps: Any = None,
    rtol: float | None = None,
    directions: int | None = None,
) -> GradcheckResult:
    """Compare a gradient, or a Jacobian, with central differences.

    A derivative passes if ``|analytic − numeric| <= rtol · max(|analytic|, |numeric|) + atol``. Each one has its own
    `atol`, the rounding error of its difference: ``e |f| / h`` for values of precision `e`. If a derivative does
    not pass, 17 samples within the step show how noisy the function is, whether it has a kink (or a jump) there, and
    how much half the step changes the difference, which measures its error from curvature. Noise and curvature are
    added to `atol`. A derivative is left out if a kink explains the difference. It is hidden if rounding, noise or
    curvature may explain it, or if it passes only because `atol` exceeds five times ``rtol`` of it (1 % if that is
    more). So zeros are hidden if the function does not change by a bit, as for units that are off. All this is decided
    from the function's values.

    The function is called at the point again at least 32 times: before, between and after the differences. If any bit
    differs, the function is not deterministic, and the check fails.

    Parameters
    ----------
    function : callable
        It receives new float64 arrays of the inputs' shapes and returns a real number or an array of them, of the same
        shape each time. It is called ``2 · n + 33`` times for `n` entries or directions (from 128, once more for each
        eight of them), and up to 33 times more for each one that differs.
    gradient : array_like, or a callable that receives the point and returns it
        Of the function's shape, then the point's: for one number a gradient of the point's shape, else a Jacobian. For
        several inputs, a tuple of such arrays.
    point : array_like of real numbers, any shape, or a tuple of arrays
        Not changed. With a tuple of arrays, ``function`` and ``gradient`` are called with as many arguments.
    eps : array_like of float, () or the point's shape, optional
        The step `h`, as in `numeric_gradient`, for several inputs one number or a tuple. A direction moves every entry
        in proportion to its step, all together by a step's length. By default the step suits the precision of the
        coarsest dtype among those of the function's values, ``point`` and ``gradient``.
    rtol : float, optional
        Largest relative error to pass. By default 1e-7, or 1e-2 if that coarsest dtype is float32, 0.1 if float16.
        A function that computes in float32 and returns a Python float needs a point or a gradient in float32.
    directions : int, optional
        Compare the derivatives along this many random unit directions, always the same ones, instead of by every entry,
        for points with very many entries. A few directions find any error that is spread over the gradient. An error in
        one of n entries shows in each direction as ``1/sqrt(n)`` of itself, as all entries do, so it can hide behind
        larger ones. The tolerance for a derivative along a direction is relative to at least their root mean square,
        since a direction may be almost orthogonal to the gradient.

    Returns
    -------
    result : GradcheckResult
        True if at least one derivative was compared and none is wrong; its ``str`` is one line that says what is wrong
        and where, and what was not compared.

    Raises
    ------
    TypeError
        If ``function`` is not callable or returns anything except real numbers, or ``gradient``, ``point``, ``eps`` or
        ``rtol`` does not consist of real numbers, or ``directions`` is not a whole number.
    ValueError
        If ``function`` returns NaN, infinity, nothing, or another shape than before, ``gradient`` is of another shape
        than the function's and the point's, ``point`` is empty or not finite, ``eps`` is unfit (see
        `numeric_gradient`), ``rtol`` is negative or NaN, or ``directions`` is below 1.

    Examples
    --------
    >>> bool(gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, [1.0, -3.0]))
    True
    >>> print(gradcheck(lambda x: (x**2).sum(), [2.0, 6.0], [1.0, -3.0]))  # doctest: +NORMALIZE_WHITESPACE
    gradcheck failed: 1 of 2 wrong, at [1]: analytic 6, numeric -6
    (2 compared, 0 left out at kinks, 0 hidden by rounding)
    >>> gradcheck(lambda x: abs(x).sum(), [0.0, 1.0], [1e-6, 1.0]).skipped  # a wrong entry, 1e-6 from the kink
    1
    >>> gradcheck(lambda x: 1e12 * x[0] + x[1] ** 2, [1e12, 0.0], [1.0, 1.0]).hidden  # a wrong entry, beside 1e12
    1
    >>> bool(gradcheck(lambda x: x**2, lambda x: np.diag(2 * x), [1.0, -3.0]))  # a Jacobian, of 2 values by 2 entries
    True
    >>> bool(gradcheck(lambda w, b: (w * b).sum(), lambda w, b: (b, w), (np.array([1.0, 2.0]), np.array([3.0, 4.0]))))
    True
    >>> bool(gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, np.linspace(-1, 1, 100_000), directions=3))
    True
    """
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, expected a callable")
    at, number = Point(point), _number_of(directions)
    at.steps(eps, EPSILON)  # errors in eps and rtol are raised before the function is called
    _limit(rtol, EPSILON)
    checked = Function(function, at)
    jacobian, of_gradient = _claimed(gradient, at, checked)
    precision = max(checked.epsilon, at.epsilon, of_gradient)
    limits = precision, _limit(rtol, precision)
    comparison = Comparison(checked, jacobian, at, at.steps(eps, precision), *limits, number)
    try:
        comparison.carry_out()
    except NotDeterministic as error:
        return comparison.result(error.returned)
    return comparison.result()
