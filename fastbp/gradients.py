"""Numeric derivatives: a gradient computed by hand, checked against central differences on the user's own machine.

`numeric_gradient` differentiates any function of an array; `gradcheck` compares a claimed gradient or Jacobian with it,
entry by entry or along a few random directions. A ReLU network is not smooth: where one of its kinks falls between the
two points of a difference, the difference is wrong although the gradient is right. `gradcheck` finds these from the
function's values alone, leaves them out and counts them. Everything is float64, and nothing of fastbp is imported: the
check does not lean on what it checks.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Index = tuple[int, ...]

EPSILON = float(np.finfo(np.float64).eps)

# Rounding of the function's values moves the second differences that show a kink by 8.4 eps |f| / h (root mean square,
# for values good to one eps); what is within 64 eps |f| / h is taken for rounding. A kink below that stays unseen.
ROUNDING = 64.0

# The default tolerance. A difference is good to about eps^(2/3) |f|: 4e-11 |f| in float64, 2e-5 |f| in float32. Where f
# is a sum over n entries, or a mean, that is 4e-11 n of a derivative: a thousand entries leave a reserve. Of a gradient
# that was computed in float32 every entry is a sum, rounded at each term.
LEAST, OF_FUNCTION, OF_GRADIENT, MOST = 1e-7, 400.0, 100.0, 0.1
MANY = 1000
SEED = 0  # of the directions


@dataclass(frozen=True, eq=False)  # eq would compare arrays, whose truth is ambiguous
class GradcheckResult:
    """What `gradcheck` found; true if the gradient passed.

    Attributes
    ----------
    ok : bool
        Whether ``error <= rtol``, with at least one derivative compared.
    error : float
        ``max |analytic − numeric| / scale``, the maximum over the derivatives compared. `scale` is the largest entry of
        both, ``max(max |analytic|, max |numeric|)``; along directions it is no less than what a random direction
        gives, the gradient's root mean square, lest a direction across the gradient ask for too much. 0 if both are
        all zero, inf if the gradient holds NaN or infinity, NaN if everything was left out.
    analytic, numeric : ndarray of float64
        Derivatives of each value of the function, by each entry of the point (the function's shape, then the point's),
        or along each direction (the function's shape, then the number of directions).
    skipped : int
        Derivatives left out because the function has a kink within the step.
    rtol : float
        Largest error to pass.
    worst : tuple of int
        Index into `analytic` and `numeric` of the largest difference, among those compared if there are any.
    directions : int or None
        How many directions were taken; None: every entry.
    """

    ok: bool
    error: float
    analytic: Array
    numeric: Array
    skipped: int
    rtol: float
    worst: Index
    directions: int | None = None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        compared = self.analytic.size - self.skipped
        counts = f"{compared} compared, {self.skipped} left out at kinks"
        if compared == 0:
            return f"gradcheck failed: nothing to go by ({counts})"
        verdict, sign = ("passed", "<=") if self.ok else ("failed", ">")
        return (
            f"gradcheck {verdict}: relative error {self.error:.3g} {sign} {self.rtol:.3g}, worst {self._where()}: "
            f"analytic {self.analytic[self.worst]:.9g}, numeric {self.numeric[self.worst]:.9g} ({counts})"
        )

    def _where(self) -> str:
        if self.directions is None:
            return f"at [{', '.join(map(str, self.worst))}]"
        *value, direction = self.worst
        return f"along direction {direction}" + (f" at value [{', '.join(map(str, value))}]" if value else "")


# ---- arguments ----


def _real(name: str, value: ArrayLike, what: str = "") -> NDArray[Any]:
    """An array of real numbers, in the dtype it came in."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise TypeError(f"{name}: got {type(value).__name__}{what} that is no array ({error})") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}{what}, expected real numbers, convertible to float64")
    return array


def _double(array: NDArray[Any]) -> Array:
    """A C-contiguous float64 copy."""
    return np.array(array, dtype=np.float64, order="C")


def _epsilon(dtype: np.dtype[Any]) -> float:
    """Relative precision of numbers that came in this dtype: never better than float64's, which they are taken to."""
    return max(EPSILON, float(np.finfo(dtype).eps)) if dtype.kind == "f" else EPSILON


def _point(point: ArrayLike) -> Array:
    x = _double(_real("point", point))
    if x.size == 0:
        raise ValueError(f"point: got an empty array of shape {x.shape}, expected at least one entry")
    if not np.isfinite(x).all():
        raise ValueError(f"point: got {np.count_nonzero(~np.isfinite(x))} entries NaN or infinite, expected none")
    return x


def _steps(eps: ArrayLike | None, x: Array, precision: float) -> Array:
    """The step of every entry. The default balances the error of a central difference, h², with rounding, eps/h."""
    if eps is None:
        h: Array = math.cbrt(precision) * np.maximum(1.0, np.abs(x))
    else:
        h = _double(_real("eps", eps))
        if not (np.isfinite(h) & (h > 0)).all():
            raise ValueError(f"eps: got {eps!r}, expected positive finite numbers")
        if h.shape not in ((), x.shape):
            raise ValueError(f"eps: got shape {h.shape}, expected one number or the point's shape {x.shape}")
    h = np.broadcast_to(h, x.shape)
    with np.errstate(over="ignore"):
        # Half the step is needed too, by the search for kinks.
        bad = (x + h / 2 == x) | (x - h / 2 == x) | ~np.isfinite(x + h) | ~np.isfinite(x - h)
    if bad.any():
        i = np.unravel_index(int(np.argmax(bad)), x.shape)
        raise ValueError(f"eps: got {h[i]:.3g}, expected one that changes {x[i]:.3g}, and not to infinity")
    return h


def _limit(rtol: float | None, of_function: float, of_gradient: float, entries: int) -> float:
    """The tolerance, by default from the precision of the function's values and of the gradient."""
    if rtol is None:
        of_difference = max(LEAST, OF_FUNCTION * of_function ** (2 / 3)) * max(1.0, entries / MANY)
        return float(min(MOST, max(of_difference, OF_GRADIENT * of_gradient)))
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float, np.integer, np.floating)):
        raise TypeError(f"rtol: got {type(rtol).__name__}, expected a number or None")
    if not rtol >= 0:
        raise ValueError(f"rtol: got {rtol}, expected 0 or more")
    return float(rtol)


def _number_of(directions: int | None) -> int | None:
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


class _Function:
    """The user's function: its values checked, and flat. The callable has each argument to itself."""

    def __init__(self, function: Callable[[Array], Any], x: Array):
        if not callable(function):
            raise TypeError(f"function: got {type(function).__name__}, expected a callable")
        self._function = function
        value = self._real(x.copy())
        if value.size == 0:
            raise ValueError(f"function: returned an empty array of shape {value.shape}, expected at least one number")
        self.shape, self.precision = value.shape, _epsilon(value.dtype)
        self.at_point: Array = _double(value).reshape(-1)

    def __call__(self, x: Array) -> Array:
        value = self._real(x)
        if value.shape != self.shape:
            raise ValueError(f"function: returned shape {value.shape}, expected {self.shape} as at the point itself")
        return _double(value).reshape(-1)

    def _real(self, x: Array) -> NDArray[Any]:
        value = self._function(x)
        try:
            array = np.asarray(value)
        except ValueError as error:  # a ragged list
            raise TypeError(f"function: returned {type(value).__name__} that is no array ({error})") from error
        if array.dtype.kind not in "biuf":
            got = f"shape {array.shape} of {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"function: returned {got}, expected real numbers")
        if not np.isfinite(array).all():
            got = str(array[()]) if array.ndim == 0 else f"{np.count_nonzero(~np.isfinite(array))} numbers NaN or inf"
            raise ValueError(f"function: returned {got}, expected finite numbers at the point and a step around it")
        return array


# ---- differences ----


class _Entry:
    """The line through the point on which one entry moves."""

    def __init__(self, x: Array, i: Index, h: float):
        self._x, self._i, self._h = x, i, h

    def ends(self, part: float) -> tuple[Array, Array, float, float]:
        """The points a part of the step above and below, and the two distances that float64 makes of it."""
        # A call gets copies of its own: a function that writes into its argument, or keeps it, spoils nothing.
        x, i, above, below = self._x, self._i, self._x.copy(), self._x.copy()
        above[i] += part * self._h
        below[i] -= part * self._h
        return above, below, float(above[i] - x[i]), float(x[i] - below[i])

    def of(self, jacobian: Array) -> Array:
        """The derivatives on this line of each value of the function, from its Jacobian (values, entries)."""
        return jacobian[:, np.ravel_multi_index(self._i, self._x.shape) if self._i else 0]


class _Direction:
    """The line through the point along a random direction, on which every entry moves in proportion to its step."""

    def __init__(self, x: Array, normal: Array, h: Array):
        self._x, self._move = x, normal / _length(normal) * h

    def ends(self, part: float) -> tuple[Array, Array, float, float]:
        x, move = self._x, part * self._move
        above, below = x + move, x - move
        to_above, to_below = _length(above - x), _length(x - below)
        if not (to_above > 0 and to_below > 0):
            raise ValueError("eps: got steps too small to move the point along a direction, expected longer ones")
        return above, below, to_above, to_below

    def of(self, jacobian: Array) -> Array:
        # Along what float64 made of the direction: of a step of 6e-9, an entry's share, 2e-16 is lost beside 1.
        above, below, to_above, to_below = self.ends(1.0)
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are found in the result
            derivatives: Array = jacobian @ ((above - below) / (to_above + to_below)).reshape(-1)
        return derivatives


_Line = _Entry | _Direction


def _length(vector: Array) -> float:
    """Euclidean norm, without the squares' overflow."""
    largest = float(np.abs(vector).max())
    return largest * float(np.linalg.norm((vector / largest).reshape(-1))) if largest > 0 else 0.0


def _lines(x: Array, h: Array, directions: int | None) -> Iterator[_Line]:
    """One line for each entry, or for each direction: made one by one, for each is as large as the point."""
    if directions is None:
        for i in np.ndindex(x.shape):
            yield _Entry(x, i, float(h[i]))
    else:
        rng = np.random.default_rng(SEED)
        for _ in range(directions):
            yield _Direction(x, rng.standard_normal(x.shape), h)


def _central(function: _Function, line: _Line) -> Array:
    above, below, to_above, to_below = line.ends(1.0)
    return (function(above) - function(below)) / (to_above + to_below)


def _kinks(function: _Function, line: _Line, matters: float) -> NDArray[np.bool_]:
    """Which values of the function have a kink, or a jump, on the line within its step h, seen from values alone.

    Be ``bend`` the forward slope minus the backward slope. Where the function is smooth it is ``h f''``: it halves with
    the step, to ``h³ f''''/16``, and the central slope changes by ``h² f'''/8``, both far less than the bend. A kink
    that changes the slope by J at a distance d < h makes it ``J (1 − d/h)``, which does not halve, unless d = h/3, and
    there the central slope changes by a quarter of the bend. So there is a kink if the bend misses its half by more
    than what matters, and either that or the change of the central slope is more than an eighth of the bend.
    """
    f = function.at_point
    bends, centrals = [], []
    rounding = np.zeros_like(f)
    for part in (1.0, 0.5):
        above, below, to_above, to_below = line.ends(part)
        f_above, f_below = function(above), function(below)
        bends.append((f_above - f) / to_above - (f - f_below) / to_below)
        centrals.append((f_above - f_below) / (to_above + to_below))
        largest = np.maximum(np.abs(f), np.maximum(np.abs(f_above), np.abs(f_below)))
        noise = ROUNDING * function.precision * largest * part / min(to_above, to_below)  # of the whole step, each time
        rounding = np.maximum(rounding, noise)
    unhalved = np.abs(bends[0] - 2 * bends[1])
    sharp = np.maximum(unhalved, np.abs(centrals[0] - centrals[1])) > np.abs(bends[0]) / 8
    found: NDArray[np.bool_] = (unhalved > np.maximum(matters, rounding)) & sharp
    return found


def numeric_gradient(function: Callable[[Array], Any], point: ArrayLike, *, eps: ArrayLike | None = None) -> Array:
    """Derivatives of a function by central differences, ``(f(x + h) − f(x − h)) / ((x + h) − (x − h))``.

    Parameters
    ----------
    function : callable
        Gets a float64 array of the point's shape, a fresh one each time, and returns a real number or an array of them,
        of the same shape each time. It is called ``2 · size + 1`` times.
    point : array_like of real numbers, any shape
        Not changed.
    eps : array_like of float, () or the point's shape, optional
        The step ``h``, in the point's units. By default ``cbrt(e) · max(1, |x|)`` for each entry, with `e` the
        precision of the dtype that the function returns: 6e-6 near 0 for float64, 5e-3 for float32. A function that
        computes in float32 and returns a Python float wants 5e-3 too, and has to be given it.

    Returns
    -------
    gradient : ndarray of float64
        Of the function's shape, then the point's; a function of one number has a gradient of the point's shape.

    Raises
    ------
    TypeError
        If ``function`` is not callable or returns anything but real numbers, or ``point`` or ``eps`` is not of real
        numbers.
    ValueError
        If ``function`` returns NaN, infinity, nothing, or another shape than before, ``point`` is empty or not finite,
        or ``eps`` is not positive, of another shape, or so small that it changes nothing.

    Examples
    --------
    >>> numeric_gradient(lambda x: (x**3).sum(), [[1.0, 2.0]]).round(6)
    array([[ 3., 12.]])
    >>> numeric_gradient(lambda x: x[:2] * x[2], [1.0, 2.0, 3.0]).round(6)  # a Jacobian, 2 values by 3 entries
    array([[3., 0., 1.],
           [0., 3., 2.]])
    """
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, expected a callable")
    x = _point(point)
    _steps(eps, x, EPSILON)  # what is wrong with it is said before the function is called
    checked = _Function(function, x)
    h = _steps(eps, x, checked.precision)
    columns = [_central(checked, line) for line in _lines(x, h, None)]
    return np.stack(columns, axis=1).reshape(checked.shape + x.shape)


def gradcheck(
    function: Callable[[Array], Any],
    gradient: ArrayLike | Callable[[Array], ArrayLike],
    point: ArrayLike,
    *,
    eps: ArrayLike | None = None,
    rtol: float | None = None,
    directions: int | None = None,
) -> GradcheckResult:
    """Compare a gradient, or a Jacobian, with central differences.

    What differs by more than the tolerance is looked at again with half the step, and left out if the function has a
    kink (or a jump) within the step. Whether it has one is told from the function's values, never from the gradient
    under test.

    Central differences in float64 are good to about ``1e-16 |f| / h``, 4e-11 of the function's value: where the largest
    entry of the gradient is less than a thousandth of that value, the default tolerance asks for more than they give.

    Parameters
    ----------
    function : callable
        Gets a float64 array of the point's shape, a fresh one each time, and returns a real number or an array of them,
        of the same shape each time. It is called ``2 · size + 1`` times, or ``2 · directions + 1`` times, and four
        times more for each entry or direction that differs.
    gradient : array_like, or a callable that gets the point and returns it
        Of the function's shape, then the point's: for one number a gradient of the point's shape, else a Jacobian.
    point : array_like of real numbers, any shape
        Not changed.
    eps : array_like of float, () or the point's shape, optional
        The step, as in `numeric_gradient`. A direction moves every entry in proportion to its step, all together by a
        step's length.
    rtol : float, optional
        Largest error to pass, relative to the largest derivative (see `GradcheckResult.error`). By default 1e-7 for a
        function of float64, 1e-2 for one of float32, times ``size / 1000`` for a point of more than 1000 entries,
        whose sums are rounded accordingly; at least 1.2e-5 if the gradient comes as float32; at most 0.1. A function
        that computes in float32 and returns a Python float wants 1e-2, and has to be given it.
    directions : int, optional
        Compare the derivatives along so many random unit directions, always the same ones, instead of by every entry:
        for points whose every entry would take too long. A few find any error spread over the gradient. An error in
        one of n entries shows in each direction as ``1/sqrt(n)`` of itself, as the gradient's entries all do.

    Returns
    -------
    result : GradcheckResult
        True if the gradient passed; its ``str`` is one line that says how far off it is and where.

    Raises
    ------
    TypeError
        If ``function`` is not callable or returns anything but real numbers, or ``gradient``, ``point``, ``eps`` or
        ``rtol`` is not of real numbers, or ``directions`` is no whole number.
    ValueError
        If ``function`` returns NaN, infinity, nothing, or another shape than before, ``gradient`` is of another shape
        than the function's and the point's, ``point`` is empty or not finite, ``eps`` is unfit (see
        `numeric_gradient`), ``rtol`` is negative or NaN, or ``directions`` is below 1.

    Examples
    --------
    >>> bool(gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, [1.0, -3.0]))
    True
    >>> print(gradcheck(lambda x: (x**2).sum(), [2.0, 6.0], [1.0, -3.0]))
    gradcheck failed: relative error 2 > 1e-07, worst at [1]: analytic 6, numeric -6 (2 compared, 0 left out at kinks)
    >>> gradcheck(lambda x: abs(x).sum(), [0.0, 1.0], [1e-6, 1.0]).skipped  # a wrong entry, 1e-6 from the kink
    1
    >>> bool(gradcheck(lambda x: x**2, lambda x: np.diag(2 * x), [1.0, -3.0]))  # a Jacobian, of 2 values by 2 entries
    True
    >>> bool(gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, np.linspace(-1, 1, 100_000), directions=3))
    True
    """
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, expected a callable")
    x, number = _point(point), _number_of(directions)
    _steps(eps, x, EPSILON)  # what is wrong with it, or with rtol, is said before the function is called
    _limit(rtol, EPSILON, EPSILON, x.size)
    checked = _Function(function, x)
    h = _steps(eps, x, checked.precision)
    given = _real("gradient", gradient(x.copy()), " returned") if callable(gradient) else _real("gradient", gradient)
    if given.shape != checked.shape + x.shape:
        expected = (
            f"{checked.shape + x.shape}, the function's shape and then the point's"
            if checked.shape
            else f"the point's shape {x.shape}"
        )
        raise ValueError(f"gradient: got shape {given.shape}, expected {expected}")
    limit = _limit(rtol, checked.precision, _epsilon(given.dtype), x.size)
    jacobian = _double(given).reshape(checked.at_point.size, x.size)
    return _compare(checked, jacobian, x, h, limit, number)


def _compare(
    function: _Function, jacobian: Array, x: Array, h: Array, limit: float, directions: int | None
) -> GradcheckResult:
    lines = x.size if directions is None else directions
    analytic, numeric = (np.empty((function.at_point.size, lines)) for _ in range(2))
    for column, line in enumerate(_lines(x, h, directions)):
        analytic[:, column], numeric[:, column] = line.of(jacobian), _central(function, line)
    finite = np.isfinite(analytic)
    scale = max(float(np.abs(numeric).max()), float(np.abs(analytic[finite]).max(initial=0.0)))
    if directions is not None:
        scale = max(scale, _typical(jacobian, h))
    # NaN or infinity in the gradient is as wrong as can be.
    difference = np.where(finite, np.abs(np.where(finite, analytic, 0.0) - numeric), np.inf)

    wrong = difference > limit * scale
    compared = np.full(difference.shape, True)
    for column, line in enumerate(_lines(x, h, directions) if wrong.any() else ()):
        doubtful = wrong[:, column] & finite[:, column]
        if doubtful.any():
            compared[doubtful, column] = ~_kinks(function, line, limit * scale)[doubtful]
    skipped = compared.size - int(np.count_nonzero(compared))
    candidates = np.where(compared, difference, -1.0) if skipped < compared.size else difference
    at = np.unravel_index(int(np.argmax(candidates)), candidates.shape)
    error = 0.0 if difference[at] == 0 else float(difference[at]) / scale if scale > 0 else math.inf
    if skipped == compared.size:
        error = math.nan  # nothing was compared, so nothing is known
    shape = function.shape + (x.shape if directions is None else (directions,))
    worst = tuple(int(k) for k in np.unravel_index(int(np.argmax(candidates)), shape)) if shape else ()
    return GradcheckResult(
        error <= limit, error, analytic.reshape(shape), numeric.reshape(shape), skipped, limit, worst, directions
    )


def _typical(jacobian: Array, h: Array) -> float:
    """Root mean square of the derivatives along random directions, of the value that has the largest."""
    weights = (h / _length(h)).reshape(-1)
    rows = (np.where(np.isfinite(row), row, 0.0) * weights for row in jacobian)
    return max(_length(row) for row in rows)
