"""Numeric derivatives: a gradient computed by hand, checked against central differences on the user's own machine.

`numeric_gradient` differentiates any scalar function of an array; `gradcheck` compares a claimed gradient with it. A
ReLU network is not smooth: where one of its kinks falls between the two points of a difference, the difference is wrong
although the gradient is right. `gradcheck` finds these entries from the function's values alone, leaves them out and
counts them. Everything is float64, and nothing of fastbp is imported: the check does not lean on what it checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Index = tuple[int, ...]

EPSILON = float(np.finfo(np.float64).eps)

# Rounding of the function's values moves the second differences that show a kink by 8.4 eps |f| / h (root mean square,
# for values good to one eps); what is within 64 eps |f| / h is taken for rounding. A kink below that stays unseen.
ROUNDING = 64 * EPSILON


@dataclass(frozen=True, eq=False)  # eq would compare arrays, whose truth is ambiguous
class GradcheckResult:
    """What `gradcheck` found; true if the gradient passed.

    Attributes
    ----------
    ok : bool
        Whether ``error <= tolerance``, with at least one entry compared.
    error : float
        ``max |analytic − numeric| / max(max |analytic|, max |numeric|)``: relative to the tensor's largest entry. The
        first maximum goes over the entries compared. 0 if both are all zero, inf if the gradient holds NaN or infinity,
        NaN if every entry was left out.
    analytic, numeric : ndarray of float64, the shape of the point
    skipped : int
        Entries left out because the function has a kink within the step.
    tolerance : float
    worst : tuple of int
        Index of the entry with the largest difference, among those compared if there are any.
    """

    ok: bool
    error: float
    analytic: Array
    numeric: Array
    skipped: int
    tolerance: float
    worst: Index

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        compared = self.analytic.size - self.skipped
        counts = f"{compared} compared, {self.skipped} left out at kinks"
        if compared == 0:
            return f"gradcheck failed: nothing to go by ({counts})"
        verdict, sign = ("passed", "<=") if self.ok else ("failed", ">")
        where = ", ".join(map(str, self.worst))
        return (
            f"gradcheck {verdict}: relative error {self.error:.3g} {sign} {self.tolerance:.3g}, worst at [{where}]: "
            f"analytic {self.analytic[self.worst]:.9g}, numeric {self.numeric[self.worst]:.9g} ({counts})"
        )


def _real(name: str, value: ArrayLike, what: str = "") -> Array:
    """A C-contiguous float64 copy of a real array."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise TypeError(f"{name}: got {type(value).__name__}{what} that is no array ({error})") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}{what}, expected real numbers, convertible to float64")
    return np.array(array, dtype=np.float64, order="C")


def _point(point: ArrayLike) -> Array:
    x = _real("point", point)
    if x.size == 0:
        raise ValueError(f"point: got an empty array of shape {x.shape}, expected at least one entry")
    if not np.isfinite(x).all():
        raise ValueError(f"point: got {np.count_nonzero(~np.isfinite(x))} entries NaN or infinite, expected none")
    return x


def _steps(step: ArrayLike | None, x: Array) -> Array:
    """The step of every entry. The default balances the error of a central difference, h², with rounding, eps/h."""
    if step is None:
        h: Array = math.cbrt(EPSILON) * np.maximum(1.0, np.abs(x))
    else:
        h = _real("step", step)
        if not (np.isfinite(h) & (h > 0)).all():
            raise ValueError(f"step: got {step!r}, expected positive finite numbers")
        if h.shape not in ((), x.shape):
            raise ValueError(f"step: got shape {h.shape}, expected one number or the point's shape {x.shape}")
    h = np.broadcast_to(h, x.shape)
    with np.errstate(over="ignore"):
        # Half the step is needed too, by the search for kinks.
        bad = (x + h / 2 == x) | (x - h / 2 == x) | ~np.isfinite(x + h) | ~np.isfinite(x - h)
    if bad.any():
        i = np.unravel_index(int(np.argmax(bad)), x.shape)
        raise ValueError(f"step: got {h[i]:.3g}, expected one that changes {x[i]:.3g}, and not to infinity")
    return h


def _value(function: Callable[[Array], Any], x: Array) -> float:
    """``function(x)``, checked to be one finite real number. The callable has ``x`` to itself."""
    value = function(x)
    array = np.asarray(value)
    if array.ndim != 0 or array.dtype.kind not in "biuf":
        got = f"shape {array.shape} of {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"function: returned {got}, expected one real number")
    if not math.isfinite(array):
        raise ValueError(f"function: returned {value}, expected a finite number at the point and a step around it")
    return float(array)


def _difference(function: Callable[[Array], Any], x: Array, i: Index, h: float) -> tuple[float, float, float, float]:
    """``f(x + h e_i)``, ``f(x − h e_i)`` and the two distances from ``x`` that float64 makes of ``h``."""
    # Each call gets a copy of its own: a function that writes into its argument, or keeps it, spoils nothing.
    above, below = x.copy(), x.copy()
    above[i] += h
    below[i] -= h
    to_above, to_below = float(above[i] - x[i]), float(x[i] - below[i])
    return _value(function, above), _value(function, below), to_above, to_below


def _central(function: Callable[[Array], Any], x: Array, h: Array) -> Array:
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        f_above, f_below, to_above, to_below = _difference(function, x, i, float(h[i]))
        gradient[i] = (f_above - f_below) / (to_above + to_below)
    return gradient


def _has_kink(function: Callable[[Array], Any], x: Array, i: Index, h: float, f: float, matters: float) -> bool:
    """Whether the function has a kink, or a jump, within ``h`` of entry ``i``, seen from its values alone.

    Be ``bend`` the forward slope minus the backward slope. Where the function is smooth it is ``h f''``: it halves with
    the step, to ``h³ f''''/16``, and the central slope changes by ``h² f'''/8``, both far less than the bend. A kink
    that changes the slope by J at a distance d < h makes it ``J (1 − d/h)``, which does not halve, unless d = h/3, and
    there the central slope changes by a quarter of the bend. So there is a kink if the bend misses its half by more
    than what matters, and either that or the change of the central slope is more than an eighth of the bend.
    """
    bends, centrals = [], []
    rounding = 0.0
    for step in (h, h / 2):
        f_above, f_below, to_above, to_below = _difference(function, x, i, step)
        bends.append((f_above - f) / to_above - (f - f_below) / to_below)
        centrals.append((f_above - f_below) / (to_above + to_below))
        rounding = max(rounding, ROUNDING * max(abs(f), abs(f_above), abs(f_below)) / h)
    unhalved = abs(bends[0] - 2 * bends[1])
    return unhalved > max(matters, rounding) and max(unhalved, abs(centrals[0] - centrals[1])) > abs(bends[0]) / 8


def numeric_gradient(function: Callable[[Array], Any], point: ArrayLike, step: ArrayLike | None = None) -> Array:
    """Gradient of a scalar function by central differences, ``(f(x + h) − f(x − h)) / ((x + h) − (x − h))``.

    Parameters
    ----------
    function : callable
        Gets a float64 array of the point's shape, a fresh one each time, and returns one real number. It is called
        twice for each entry.
    point : array_like of real numbers, any shape
        Not changed.
    step : array_like of float, () or the point's shape, optional
        ``h``; by default ``cbrt(eps) · max(1, |x|)`` for each entry, 6e-6 near 0. A function that computes in float32
        wants about 1e-2.

    Returns
    -------
    gradient : ndarray of float64, the shape of ``point``

    Raises
    ------
    TypeError
        If ``function`` is not callable or returns anything but a real number, or ``point`` or ``step`` is not of real
        numbers.
    ValueError
        If ``function`` returns NaN or infinity, ``point`` is empty or not finite, or ``step`` is not positive, of
        another shape, or so small that it changes nothing.

    Examples
    --------
    >>> numeric_gradient(lambda x: (x**3).sum(), [[1.0, 2.0]]).round(6)
    array([[ 3., 12.]])
    """
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, expected a callable")
    x = _point(point)
    return _central(function, x, _steps(step, x))


def gradcheck(
    function: Callable[[Array], Any],
    gradient: ArrayLike | Callable[[Array], ArrayLike],
    point: ArrayLike,
    step: ArrayLike | None = None,
    tolerance: float | None = None,
) -> GradcheckResult:
    """Compare a gradient with central differences.

    An entry that differs by more than the tolerance is looked at again with half the step, and left out if the function
    has a kink (or a jump) within the step. Whether it has one is told from the function's values, never from the
    gradient under test.

    Central differences in float64 are good to about ``eps |f| / h``, 4e-11 of the function's value: where the largest
    entry of the gradient is less than a thousandth of that value, the default tolerance asks for more than they give.

    Parameters
    ----------
    function : callable
        Gets a float64 array of the point's shape, a fresh one each time, and returns one real number. It is called
        ``2 · size + 1`` times, and four times more for each entry that differs.
    gradient : array_like of the point's shape, or a callable that gets the point and returns it
    point : array_like of real numbers, any shape
        Not changed.
    step : array_like of float, () or the point's shape, optional
        As in `numeric_gradient`.
    tolerance : float, optional
        Largest error to pass, relative to the tensor's largest entry; 1e-7 by default.

    Returns
    -------
    result : GradcheckResult
        True if the gradient passed; its ``str`` is one line that says how far off it is and where.

    Raises
    ------
    TypeError
        If ``function`` is not callable or returns anything but a real number, or ``gradient``, ``point``, ``step`` or
        ``tolerance`` is not of real numbers.
    ValueError
        If ``function`` returns NaN or infinity, ``gradient`` is of another shape than ``point``, ``point`` is empty or
        not finite, ``step`` is unfit (see `numeric_gradient`), or ``tolerance`` is negative or NaN.

    Examples
    --------
    >>> bool(gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, [1.0, -3.0]))
    True
    >>> print(gradcheck(lambda x: (x**2).sum(), [2.0, 6.0], [1.0, -3.0]))
    gradcheck failed: relative error 2 > 1e-07, worst at [1]: analytic 6, numeric -6 (2 compared, 0 left out at kinks)
    >>> gradcheck(lambda x: abs(x).sum(), [0.0, 1.0], [1e-6, 1.0]).skipped  # a wrong entry, 1e-6 from the kink
    1
    """
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, expected a callable")
    x = _point(point)
    h = _steps(step, x)
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.floating, type(None))):
        raise TypeError(f"tolerance: got {type(tolerance).__name__}, expected a number")
    limit = 1e-7 if tolerance is None else float(tolerance)
    if not limit >= 0:
        raise ValueError(f"tolerance: got {tolerance}, expected 0 or more")
    analytic = _real("gradient", gradient(x.copy()), " returned") if callable(gradient) else _real("gradient", gradient)
    if analytic.shape != x.shape:
        raise ValueError(f"gradient: got shape {analytic.shape}, expected the point's shape {x.shape}")

    f = _value(function, x.copy())
    numeric = _central(function, x, h)
    finite = np.isfinite(analytic)
    scale = max(float(np.abs(numeric).max()), float(np.abs(analytic[finite]).max(initial=0.0)))
    # NaN or infinity in the gradient is as wrong as can be.
    difference = np.where(finite, np.abs(np.where(finite, analytic, 0.0) - numeric), np.inf)

    compared = np.full(x.shape, True)
    for i in map(tuple, np.argwhere(difference > limit * scale)):
        compared[i] = not (finite[i] and _has_kink(function, x, i, float(h[i]), f, matters=limit * scale))
    skipped = x.size - int(np.count_nonzero(compared))
    candidates = np.where(compared, difference, -1.0) if skipped < x.size else difference
    worst = tuple(int(k) for k in np.unravel_index(int(np.argmax(candidates)), x.shape))
    error = 0.0 if difference[worst] == 0 else float(difference[worst]) / scale if scale > 0 else math.inf
    if skipped == x.size:
        error = math.nan  # nothing was compared, so nothing is known
    return GradcheckResult(error <= limit, error, analytic, numeric, skipped, limit, worst)
