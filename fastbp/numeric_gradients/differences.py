"""Central differences: numeric derivatives of a function of one or several arrays.

`numeric_gradient` differentiates; `gradcheck` compares a claimed gradient with such differences. Everything is in
float64, and nothing that might be checked is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Shape = tuple[int, ...]

EPSILON = float(np.finfo(np.float64).eps)
SEED = 0  # of the directions


class NotDeterministic(ValueError):
    """The function returned two values at one point; `returned` holds both."""

    def __init__(self, first: Array, again: Array):
        at = int(np.argmax(np.ascontiguousarray(first).view(np.uint64) != np.ascontiguousarray(again).view(np.uint64)))
        self.returned = float(first[at]), float(again[at])
        super().__init__(
            f"function: returned {self.returned[0]!r} and then {self.returned[1]!r} at the same point, expected a "
            "deterministic function: draw the same random numbers in every call"
        )


def check_same(first: Array, again: Array) -> None:
    """Raise `NotDeterministic` where the function's values at one point differ by a bit."""
    if again.tobytes() != first.tobytes():
        raise NotDeterministic(first, again)


# ---- arguments ----


def real(name: str, value: ArrayLike, what: str = "") -> NDArray[Any]:
    """Return an array of real numbers, in the dtype it came in."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise TypeError(f"{name}: got {type(value).__name__}{what} that is not an array ({error})") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}{what}, expected real numbers, convertible to float64")
    return array


def flat(array: NDArray[Any]) -> Array:
    """Return a one-dimensional float64 copy."""
    return np.array(array, dtype=np.float64, order="C").reshape(-1)


def epsilon_of(dtype: np.dtype[Any]) -> float:
    """Return the relative precision of numbers of this dtype, at best that of float64, which they are converted to."""
    return max(EPSILON, float(np.finfo(dtype).eps)) if dtype.kind == "f" else EPSILON


def _is_several(point: Any) -> bool:
    """Tell whether the point is a tuple of arrays. A tuple of numbers or lists is one array, as for NumPy."""
    return isinstance(point, tuple) and any(
        hasattr(part, "__array__") and not isinstance(part, np.generic) for part in point
    )


class Point:
    """The point: all of its inputs in one flat array."""

    def __init__(self, point: Any):
        self.several = _is_several(point)
        parts = point if self.several else (point,)
        arrays = [real(self.name("point", k), part) for k, part in enumerate(parts)]
        self.shapes = [array.shape for array in arrays]
        self.epsilon = max(epsilon_of(array.dtype) for array in arrays)
        flats = [flat(array) for array in arrays]
        for k, x in enumerate(flats):
            name = self.name("point", k)
            if x.size == 0:
                raise ValueError(f"{name}: got an empty array of shape {self.shapes[k]}, expected at least one entry")
            if not np.isfinite(x).all():
                bad = np.count_nonzero(~np.isfinite(x))
                raise ValueError(f"{name}: got {bad} entries NaN or infinite, expected none")
        self.x: Array = np.concatenate(flats)
        ends = [0, *np.cumsum([x.size for x in flats]).tolist()]
        self._slices = list(map(slice, ends[:-1], ends[1:]))

    def name(self, argument: str, k: int) -> str:
        """Return the name in errors of the part of an argument that belongs to input `k`."""
        return f"{argument}[{k}]" if self.several else argument

    def split(self, array: NDArray[Any], values: Shape = ()) -> list[NDArray[Any]]:
        """Cut the last axis, all inputs' entries, into the inputs; the axes before it get the function's shape."""
        pairs = zip(self._slices, self.shapes, strict=True)
        return [array[..., its].reshape(values + shape) for its, shape in pairs]

    def steps(self, eps: Any, precision: float) -> Array:
        """Return the step of every entry. The default balances the error of a difference, h², with rounding, eps/h."""
        x = self.x
        h = math.cbrt(precision) * np.maximum(1.0, np.abs(x)) if eps is None else self._given_steps(eps)
        with np.errstate(over="ignore"):
            # Half the step is needed too, by `gradcheck`.
            bad = (x + h / 2 == x) | (x - h / 2 == x) | ~np.isfinite(x + h) | ~np.isfinite(x - h)
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"eps: got {h[i]:.3g}, expected one that changes {x[i]:.3g}, and not to infinity")
        return h

    def _given_steps(self, eps: Any) -> Array:
        parts = [eps] * len(self.shapes)
        if self.several and isinstance(eps, tuple):
            parts = list(eps)
            if len(parts) != len(self.shapes):
                raise ValueError(f"eps: got {len(parts)} steps, expected one for each of {len(self.shapes)} inputs")
        steps = []
        for k, (part, shape) in enumerate(zip(parts, self.shapes, strict=True)):
            name = self.name("eps", k)
            h = np.array(real(name, part), dtype=np.float64)
            if not (np.isfinite(h) & (h > 0)).all():
                raise ValueError(f"{name}: got {part!r}, expected positive finite numbers")
            if h.shape not in ((), shape):
                raise ValueError(f"{name}: got shape {h.shape}, expected one number or the point's shape {shape}")
            steps.append(np.broadcast_to(h, shape).reshape(-1))
        return np.concatenate(steps)


class Function:
    """The user's function of flat points, with checked flat values. Each call receives arguments of its own."""

    def __init__(self, function: Callable[..., Any], point: Point):
        if not callable(function):
            raise TypeError(f"function: got {type(function).__name__}, expected a callable")
        self._function, self._point = function, point
        value = self._real(point.x)
        if value.size == 0:
            raise ValueError(f"function: returned an empty array of shape {value.shape}, expected at least one number")
        self.shape, self.epsilon, self.at_point = value.shape, epsilon_of(value.dtype), flat(value)
        _check_finite(value)

    def __call__(self, x: Array) -> Array:
        value = self._real(x)
        if not np.isfinite(value).all():
            self._same(flat(value), x)  # a random NaN is reported as randomness
            _check_finite(value)
        return flat(value)

    def repeat(self) -> None:
        """Call it at the point again; a value that differs by a bit is an error."""
        self._same(self.at_point, self._point.x)

    def _same(self, first: Array, x: Array) -> None:
        check_same(first, flat(self._real(x)))

    def _real(self, x: Array) -> NDArray[Any]:
        # A copy: the function may write into its arguments, or keep them.
        value = self._function(*self._point.split(x.copy()))
        try:
            array = np.asarray(value)
        except ValueError as error:  # a ragged list
            raise TypeError(f"function: returned {type(value).__name__} that is not an array ({error})") from error
        if array.dtype.kind not in "biuf":
            got = f"shape {array.shape} of {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"function: returned {got}, expected real numbers")
        if array.shape != getattr(self, "shape", array.shape):
            raise ValueError(f"function: returned shape {array.shape}, expected {self.shape} as at the point itself")
        return array


def _check_finite(value: NDArray[Any]) -> None:
    if not np.isfinite(value).all():
        got = str(value[()]) if value.ndim == 0 else f"{np.count_nonzero(~np.isfinite(value))} numbers NaN or inf"
        raise ValueError(f"function: returned {got}, expected finite numbers at the point and a step around it")


# ---- lines through the point ----


class _Entry:
    """The line on which one entry moves."""

    def __init__(self, x: Array, i: int, h: float):
        self._x, self._i, self._h = x, i, h

    def at(self, part: float) -> Array:
        """Return the point a part of the step ahead."""
        x = self._x.copy()
        x[self._i] += part * self._h
        return x

    def width(self, part: float) -> float:
        """Return the distance in float64 between the points a part of the step ahead and behind."""
        x, move = self._x[self._i], part * self._h
        return float((x + move) - (x - move))

    def of(self, jacobian: Array) -> Array:
        """Return the derivative of each value along this line, from the Jacobian (values, entries)."""
        return jacobian[:, self._i]


class _Direction:
    """The line along a random direction, on which every entry moves in proportion to its step."""

    def __init__(self, x: Array, normal: Array, h: Array):
        self._x, self._move = x, normal / length(normal) * h

    def at(self, part: float) -> Array:
        return self._x + part * self._move

    def width(self, part: float) -> float:
        width = length(self.at(part) - self.at(-part))
        if width == 0:
            raise ValueError("eps: got steps too small to move the point along a direction, expected longer ones")
        return width

    def of(self, jacobian: Array) -> Array:
        # Along the direction as rounded to float64: a step of 6e-9, an entry's share, loses 2e-16 when added to 1.
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are found in the result
            derivatives: Array = jacobian @ ((self.at(1.0) - self.at(-1.0)) / self.width(1.0))
        return derivatives


Line = _Entry | _Direction


def length(vector: Array) -> float:
    """Return the Euclidean norm, whose squares do not overflow."""
    largest = float(np.abs(vector).max())
    return largest * float(np.linalg.norm(vector / largest)) if largest > 0 else 0.0


def lines(x: Array, h: Array, directions: int | None) -> Iterator[Line]:
    """Give a line for each entry, or each direction, one at a time, since each is as large as the point."""
    if directions is None:
        for i in range(x.size):
            yield _Entry(x, i, float(h[i]))
    else:
        rng = np.random.default_rng(SEED)
        for _ in range(directions):
            yield _Direction(x, rng.standard_normal(x.size), h)


def numeric_gradient(function: Callable[..., Any], point: Any, *, eps: Any = None) -> Any:
    """Differentiate a function by central differences, ``(f(x + h) − f(x − h)) / ((x + h) − (x − h))``.

    Parameters
    ----------
    function : callable
        It receives a new float64 array of the point's shape and returns a real number or an array of them, of the same
        shape each time. It is called ``2 · size + 1`` times.
    point : array_like of real numbers, any shape, or a tuple of arrays
        Not changed. With a tuple of arrays, ``function`` is called with as many arguments. A tuple of numbers or lists
        is one array, as for NumPy.
    eps : array_like of float, () or the point's shape, optional
        The step ``h``, in the point's units; for several inputs one number, or a tuple. By default
        ``cbrt(e) · max(1, |x|)`` for each entry, where `e` is the precision of the coarser of two dtypes, that of the
        point and that of the function's value: 6e-6 near 0 for float64, 5e-3 for float32. A function that computes in
        float32 and returns a Python float needs a point in float32 to get the right step.

    Returns
    -------
    gradient : ndarray of float64, or a tuple of them, one for each input
        Of the function's shape, then the point's; a function of one number has a gradient of the point's shape.

    Raises
    ------
    TypeError
        If ``function`` is not callable or returns anything except real numbers, or ``point`` or ``eps`` does not
        consist of real numbers.
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
    >>> of_w, of_b = numeric_gradient(lambda w, b: (w * b).sum(), (np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    >>> of_w.round(6), of_b.round(6)
    (array([3., 4.]), array([1., 2.]))
    """
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, expected a callable")
    at = Point(point)
    at.steps(eps, EPSILON)  # errors in eps are raised before the function is called
    checked = Function(function, at)
    h = at.steps(eps, max(checked.epsilon, at.epsilon))
    columns = [(checked(line.at(1.0)) - checked(line.at(-1.0))) / line.width(1.0) for line in lines(at.x, h, None)]
    parts = at.split(np.stack(columns, axis=1), checked.shape)
    return tuple(parts) if at.several else parts[0]
