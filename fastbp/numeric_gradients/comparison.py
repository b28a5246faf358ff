"""The comparison of claimed derivatives with central differences, and its result.

Differences have errors that are not the gradient's fault, and each is recognised from the function's values: a kink
within the step, rounding, a step too long for the curvature. Derivatives that these hide are counted separately, never
as agreement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .differences import EPSILON, Array, Function, Line, Point, length, lines
from .roughness import REACH, roughness

Index = tuple[int, ...]

# A derivative is hidden if rounding and step leave more than five times rtol of it open, or 1 % if that is more.
OPEN, OPEN_AT_LEAST = 5.0, 0.01

# Rounding that was measured: a central difference errs by 0.7 noise / h (root mean square).
MEASURED = 4.0

# Repeated calls at the point: before the first difference, among them (at least, and one per LINES_EACH), after all.
BEFORE, BETWEEN, LINES_EACH, AFTER = 8, 16, 8, 8

LISTED = 5  # wrong derivatives that a message lists

AGREES, WRONG, KINK, ROUNDING, CURVATURE, UNKNOWN = "agrees", "wrong", "kink", "rounding", "curvature", "unknown"
VERDICT = "U9"


@dataclass(frozen=True, eq=False, repr=False)  # eq would compare arrays, whose truth is ambiguous
class GradcheckResult:
    """The result of `gradcheck`; true if the gradient passed. For several inputs, arrays are tuples of arrays.

    Attributes
    ----------
    ok : bool
        Whether at least one derivative was compared, and none is wrong.
    compared, wrong, skipped, hidden : int
        Derivatives that were compared, are wrong, were left out at kinks, are hidden by rounding or curvature.
    analytic, numeric : ndarray of float64
        Derivatives of each value of the function, by each entry of the point (the function's shape, then the point's),
        or along each direction (the function's shape, then the number of directions). `numeric` is NaN if the function
        is not deterministic.
    atol : ndarray of float64
        The possible error of each numeric derivative from rounding and from the length of the step.
    verdicts : ndarray of str
        For each derivative "agrees" or "wrong", if it was compared; "kink" if it was left out because the function has
        a kink within the step; "rounding" or "curvature" if these hide it, so that another derivative would have
        passed, too. "unknown" if the function is not deterministic.
    error : float
        The largest ``|analytic − numeric|`` of the compared ones, as a share of what is allowed. inf if the gradient
        holds NaN or infinity, NaN if none was compared.
    within : float
        The largest relative error that the coarsest of the comparisons that agree could have missed; NaN if none
        agrees.
    worst : tuple of int
        Index into `analytic` and `numeric` of the derivative with that `error` (for several inputs, the input comes
        first), or with the largest difference if none was compared.
    rtol : float
        Largest relative error to pass, besides `atol`.
    precision : float
        Relative precision of the function's values, as the coarsest dtype has it.
    directions : int or None
        Number of directions; None if every entry was compared.
    returned : tuple of float, or None
        Two values at one point of a function that is not deterministic.
    """

    analytic: Any
    numeric: Any
    atol: Any
    verdicts: Any
    error: float
    within: float
    worst: Index
    rtol: float
    precision: float
    directions: int | None = None
    returned: tuple[float, float] | None = None

    @property
    def ok(self) -> bool:
        return self.compared > 0 and self.wrong == 0

    @property
    def compared(self) -> int:
        return self._count(AGREES) + self.wrong

    @property
    def wrong(self) -> int:
        return self._count(WRONG)

    @property
    def skipped(self) -> int:
        return self._count(KINK)

    @property
    def hidden(self) -> int:
        return self._count(ROUNDING) + self._count(CURVATURE)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.returned is not None:
            first, again = self.returned
            return (
                f"gradcheck failed: the function is not deterministic, it returned {first!r} and then {again!r} at the "
                "same point; draw the same random numbers in every call"
            )
        counts = (
            f"{self.compared} compared, {self.skipped} left out at kinks, {self._count(ROUNDING)} hidden by rounding"
        )
        if self._count(CURVATURE):
            counts += f", {self._count(CURVATURE)} by curvature"
        if self.compared == 0:
            return f"gradcheck failed: {self._reason()} ({counts}); {self._told(self.worst)}"
        verdict = "passed" if self.ok else "failed"
        total = self.compared + self.skipped + self.hidden
        if 2 * self.compared < total:
            verdict += f", most derivatives left out ({counts})"
            counts = ""
        if self.ok:
            found = f"equal to within {self.within:.2g}, worst {self._told(self.worst)}"
        else:
            found = f"{self.wrong} of {self.compared} wrong, {'; '.join(map(self._told, self._wrong_ones()))}"
            found += f"; and {self.wrong - LISTED} more" if self.wrong > LISTED else ""
        return f"gradcheck {verdict}: {found}" + (f" ({counts})" if counts else "")

    def __repr__(self) -> str:
        return f"<{self}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the counts, and the derivatives that are wrong, or else the worst one."""
        from .. import representation  # the check itself depends on nothing else of fastbp

        if self.returned is not None:
            return representation.html(str(self))
        head = "compared", "wrong", "left out at kinks", "hidden by rounding", "hidden by curvature"
        counts = self.compared, self.wrong, self.skipped, self._count(ROUNDING), self._count(CURVATURE)
        places = [self._place(index) for index in self._wrong_ones() or [self.worst]]
        of_places = representation.table(("wrong" if self.wrong else "worst", "analytic", "numeric"), places)
        return representation.html(str(self), representation.table(head, [counts]), of_places)

    def _count(self, verdict: str) -> int:
        return sum(int(np.count_nonzero(array == verdict)) for array in self._parts(self.verdicts))

    def _parts(self, arrays: Any) -> tuple[Any, ...]:
        return arrays if isinstance(arrays, tuple) else (arrays,)

    def _reason(self) -> str:
        if self.hidden == 0:
            return "no derivative could be compared"
        if self._count(CURVATURE) > self._count(ROUNDING):
            return "curvature hides the answer, take a shorter step (eps)"
        remedy = "compute in float64" if self.precision > EPSILON else "subtract what is constant"
        return f"rounding to {self.precision:.2g} hides the answer, {remedy} or take a longer step (eps)"

    def _wrong_ones(self) -> list[Index]:
        """Return the indices of the first wrong derivatives."""
        found: list[Index] = []
        for k, array in enumerate(self._parts(self.verdicts)):
            for at in np.flatnonzero(array == WRONG)[: LISTED - len(found)]:
                index = _unravel(int(at), array.shape)
                found.append((k, *index) if isinstance(self.verdicts, tuple) else index)
        return found

    def _told(self, index: Index) -> str:
        where, analytic, numeric = self._place(index)
        return f"{where}: analytic {analytic}, numeric {numeric}"

    def _place(self, index: Index) -> tuple[str, str, str]:
        """Return in words where a derivative is, and the two values."""
        analytic, numeric, where = self.analytic, self.numeric, ""
        if isinstance(analytic, tuple):
            k, index = index[0], index[1:]
            analytic, numeric, where = analytic[k], numeric[k], f"of input {k} "
        if self.directions is None:
            where += f"at {list(index)}"
        else:
            *value, direction = index
            where = f"along direction {direction}" + (f" at value {value}" if value else "")
        return where, f"{analytic[index]:.9g}", f"{numeric[index]:.9g}"


class Comparison:
    """Numeric and claimed derivatives of each value on each line: arrays (values, lines)."""

    def __init__(
        self,
        function: Function,
        jacobian: Array,
        point: Point,
        h: Array,
        precision: float,
        rtol: float,
        directions: int | None,
    ):
        self._function, self._point, self._h, self._directions = function, point, h, directions
        self._precision, self._rtol = precision, rtol
        self._analytic = np.stack([line.of(jacobian) for line in self._lines()], axis=1)
        self._least = 0.0 if directions is None else _typical(jacobian, h)
        self._ahead, self._behind = np.empty_like(self._analytic), np.empty_like(self._analytic)
        self._width = np.empty(self._analytic.shape[1])

    def _lines(self) -> Iterator[Line]:
        return lines(self._point.x, self._h, self._directions)

    def carry_out(self) -> None:
        """Compare every derivative, and examine those that differ."""
        for _ in range(BEFORE):
            self._function.repeat()
        self._take_differences()
        self._look_again()
        for _ in range(AFTER):
            self._function.repeat()

    def _take_differences(self) -> None:
        """Take a central difference on every line, and compare."""
        function, number = self._function, self._width.size
        repeats = max(BETWEEN, number // LINES_EACH)
        for column, line in enumerate(self._lines()):
            self._ahead[:, column], self._behind[:, column] = function(line.at(1.0)), function(line.at(-1.0))
            self._width[column] = line.width(1.0)
            for _ in range((column + 1) * repeats // number - column * repeats // number):
                function.repeat()

        f = function.at_point[:, np.newaxis]
        largest = np.maximum(np.abs(f), np.maximum(np.abs(self._ahead), np.abs(self._behind)))
        with np.errstate(over="ignore"):
            self._numeric = (self._ahead - self._behind) / self._width
            self._atol = self._precision * largest * 2 / self._width
            one_sided = np.maximum(np.abs(self._ahead - f), np.abs(f - self._behind)) * 2 / self._width
        # NaN or infinity in the gradient counts as infinitely wrong.
        finite = np.isfinite(self._analytic)
        analytic = np.abs(np.where(finite, self._analytic, 0.0))
        self._difference = np.where(finite, np.abs(np.where(finite, self._analytic, 0.0) - self._numeric), math.inf)
        self._relative = self._rtol * np.maximum(np.maximum(analytic, np.abs(self._numeric)), self._least)
        # A derivative of 0 differs from a hidden one: the function changes on both sides of the point.
        self._slope = np.maximum(np.maximum(analytic, one_sided), self._least)
        self._allowed = self._relative + self._atol
        passes = (self._difference <= self._allowed) & np.isfinite(self._difference)
        agrees = np.where(self._shows(self._atol, self._slope), AGREES, ROUNDING)
        self._verdicts = np.where(passes, agrees, WRONG).astype(VERDICT)

    def _shows(self, atol: Array, slope: Array) -> NDArray[np.bool_]:
        shown: NDArray[np.bool_] = atol <= min(1.0, max(OPEN_AT_LEAST, OPEN * self._rtol)) * slope
        return shown

    def _look_again(self) -> None:
        """Find out whether rounding, the step or a kink explains what differs."""
        doubtful = (self._verdicts == WRONG) & np.isfinite(self._difference)
        for column, line in enumerate(self._lines() if doubtful.any() else ()):
            if doubtful[:, column].any():
                self._function.repeat()
                self._explain(line, column, doubtful[:, column])

    def _explain(self, line: Line, column: int, doubtful: NDArray[np.bool_]) -> None:
        h = self._width[column] / 2
        atol, relative = self._atol[:, column], self._relative[:, column]
        difference, slope = self._difference[:, column], self._slope[:, column]
        rough = roughness(self._function, line, self._ahead[:, column], self._behind[:, column], atol * h)
        reach = REACH * rough.noise / h
        rounding = np.maximum(atol, MEASURED * rough.noise / h)
        total = np.where(rough.kink, atol, rounding + rough.curvature)
        allowed = relative + total
        # Noise alone makes the curvature look like 3.2 noise / h.
        hidden_by = np.where(rough.curvature > 4 * rounding, CURVATURE, ROUNDING)
        verdicts = np.select(
            [
                rough.kink & (difference <= allowed + reach),
                rough.kink,
                difference <= allowed,
                difference <= allowed + reach,
            ],
            [KINK, WRONG, np.where(self._shows(total, slope), AGREES, hidden_by), ROUNDING],
            WRONG,
        )
        self._verdicts[doubtful, column] = verdicts[doubtful]
        self._atol[doubtful, column], self._allowed[doubtful, column] = total[doubtful], allowed[doubtful]

    def result(self, returned: tuple[float, float] | None = None) -> GradcheckResult:
        if returned is not None:
            self._verdicts = np.full(self._analytic.shape, UNKNOWN)
            self._numeric = self._atol = np.full(self._analytic.shape, math.nan)
            return self._result(math.nan, math.nan, 0, returned)
        compared, agrees = np.isin(self._verdicts, (AGREES, WRONG)), self._verdicts == AGREES
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(self._difference == 0, 0.0, self._difference / self._allowed)
            opens = np.where(self._allowed == 0, 0.0, self._allowed / self._slope)
        candidates = np.where(compared, shares, -1.0) if compared.any() else self._difference
        worst = int(np.argmax(candidates))
        error = float(shares.flat[worst]) if compared.any() else math.nan
        within = float(opens[agrees].max()) if agrees.any() else math.nan
        return self._result(error, within, worst)

    def _result(
        self, error: float, within: float, worst: int, returned: tuple[float, float] | None = None
    ) -> GradcheckResult:
        shaped = self._shaped
        return GradcheckResult(
            analytic=shaped(self._analytic),
            numeric=shaped(self._numeric),
            atol=shaped(self._atol),
            verdicts=shaped(self._verdicts),
            error=error,
            within=within,
            worst=self._index(worst),
            rtol=self._rtol,
            precision=self._precision,
            directions=self._directions,
            returned=returned,
        )

    def _shaped(self, array: NDArray[Any]) -> Any:
        """Return an array (values, lines) in the shape of the result."""
        if self._directions is not None:
            return array.reshape((*self._function.shape, self._directions))
        parts = self._point.split(array, self._function.shape)
        return tuple(parts) if self._point.several else parts[0]

    def _index(self, at: int) -> Index:
        """Return the index in the result's arrays of a place in the flat (values, lines)."""
        value, column = divmod(at, self._width.size)
        of_value = _unravel(value, self._function.shape)
        if self._directions is not None:
            return (*of_value, column)
        for k, shape in enumerate(self._point.shapes):
            size = math.prod(shape)
            if column < size:
                index = (*of_value, *_unravel(column, shape))
                return (k, *index) if self._point.several else index
            column -= size
        raise AssertionError("a line of no input")


def _unravel(at: int, shape: Index) -> Index:
    return tuple(int(i) for i in np.unravel_index(at, shape)) if shape else ()


def _typical(jacobian: Array, h: Array) -> float:
    """Return the root mean square of derivatives along random directions, for the value with the largest."""
    weights = h / length(h)
    rows = (np.where(np.isfinite(row), row, 0.0) * weights for row in jacobian)
    return max(length(row) for row in rows)
