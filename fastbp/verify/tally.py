"""The results of a check: cases compared, the largest error as a share of its bound, the first failure in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numeric_gradients.check import GradcheckResult

Array = NDArray[Any]


@dataclass(frozen=True)
class Check:
    """One check of the kernels in one dtype; true if it passed.

    Attributes
    ----------
    name, dtype : str
    cases : int
        Comparisons made.
    worst : float or None
        The largest error as a share of its bound, infinity for NaN; None if only bits were compared.
    failures : int
        Cases that failed.
    left_out : int
        Rows, entries or runs left out because they come near a kink of an activation or a loss, as ReLU has at 0.
    seconds : float
    detail : str
        The first failure, in words; empty if there is none.

    Examples
    --------
    >>> print(Check("affine layers", "float64", 120, 0.25, 0, 0, 1.5, ""))
    affine layers           float64     120 cases   worst error 0.25 of its bound    ok
    """

    name: str
    dtype: str
    cases: int
    worst: float | None
    failures: int
    left_out: int
    seconds: float
    detail: str

    @property
    def ok(self) -> bool:
        return self.failures == 0 and self.cases > 0

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        found = "same bits" if self.worst is None else f"worst error {self.worst:.2g} of its bound"
        found = found if self.ok else f"{self.failures:,} wrong"
        line = f"{self.name:<22}  {self.dtype}  {self.cases:>6,} cases   {found:<31}  {'ok' if self.ok else 'FAILED'}"
        line += f" ({self.left_out:,} left out at kinks)" if self.left_out else ""
        return line if self.ok else f"{line}\n    {self.detail}"


class Tally:
    """Counts and compares the cases of one check."""

    def __init__(self) -> None:
        self.cases = self.failures = self.left_out = 0
        self.worst: float | None = None
        self.detail = ""

    def fail(self, detail: str) -> None:
        """Count a failure; the first one is told in detail."""
        self.failures += 1
        self.detail = self.detail or detail

    def within(self, what: str, actual: Any, expected: Any, bound: Any) -> None:
        """Count a case that passes if ``|actual - expected| <= bound``, entry by entry."""
        self.cases += 1
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        if actual.shape != expected.shape:
            self.fail(f"{what}: got shape {actual.shape}, expected {expected.shape}")
            return
        error = np.abs(actual - expected)
        share = np.where(error == 0, 0.0, error / bound)
        share[np.isnan(share)] = math.inf
        largest = float(share.max(initial=0.0))
        self.worst = max(self.worst or 0.0, largest)
        if largest > 1:
            at = np.unravel_index(int(share.argmax()), share.shape)
            where = f"[{', '.join(map(str, at))}]" if at else "the value"
            got = f"got {actual[at]:.9g} at {where}, expected {expected[at]:.9g}"
            self.fail(f"{what}: {got}; the error is {largest:.3g} times its bound")

    def same(self, what: str, actual: Array, expected: Array) -> None:
        """Count a case that passes if all bits are the same."""
        self.cases += 1
        if actual.dtype != expected.dtype or actual.shape != expected.shape:
            self.fail(f"{what}: got {actual.dtype} {actual.shape}, expected {expected.dtype} {expected.shape}")
        elif actual.tobytes() != expected.tobytes():
            bits = f"u{actual.dtype.itemsize}"
            first, second = (np.ascontiguousarray(a).reshape(-1).view(bits) for a in (actual, expected))
            wrong = np.flatnonzero(first != second)
            self.fail(f"{what}: other bits in {wrong.size} of {actual.size} numbers, first in number {wrong[0]}")

    def numeric(self, what: str, result: GradcheckResult) -> None:
        """Count a case that passes if a gradient agrees with central differences.

        A derivative that rounding hides, such as the 0 of a unit that is off, counts neither as wrong nor as left out.
        """
        self.cases += 1
        self.left_out += result.skipped
        self.worst = max(self.worst or 0.0, math.inf if math.isnan(result.error) else result.error)
        if not result:
            self.fail(f"{what}: {result}")
