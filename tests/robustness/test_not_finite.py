"""NaN and infinity in X are refused exactly where one is there."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, DivergenceError
from fastbp.program.split import Tuning, forced
from support.comparisons import assert_same_bits
from support.lanes import forms
from support.limits import DTYPES, Limits, inf, nan

# ---- NaN and infinity in X: refused exactly when one is there ----
# Passes find them by a sum of squares, one for each strand of the first phase; X in place is looked at by Python only
# where that sum is not finite, as it is for large numbers too.
NETWORKS = [(1, 2), (7, 5, 3), (64, 10), (33, 40, 40, 4), (300, 2)]
ROWS = [1, 2, 3, 15, 64, 65, 333, 2000]


def padded(X: Any) -> Any:
    wide = np.zeros((X.shape[0], X.shape[1] + 3), X.dtype)
    wide[:, 1:-2] = X
    return wide[:, 1:-2]


LAYOUTS = {
    "in place": lambda X: X, "Fortran order": np.asfortranarray, "padded": padded,
    "backwards": lambda X: X[::-1].copy()[::-1], "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "other dtype": lambda X: X.astype("f8" if X.itemsize == 4 else "f4"),
    "long double": lambda X: X.astype(np.longdouble),
    "read-only": lambda X: np.frombuffer(X.tobytes(), X.dtype).reshape(X.shape),
}  # fmt: skip


@contextlib.contextmanager
def threads(number: int, tuning: Tuning) -> Iterator[None]:
    with fastbp.threads.limit(number), forced(tuning):
        yield


TUNINGS = [Tuning(), Tuning(parallel=True), Tuning(parallel=True, row_parts=5), Tuning(parallel=True, column_parts=2),
           Tuning(slabs=True, row_parts=20, parallel=True)]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@forms(400, 40_000)
@pytest.mark.filterwarnings("ignore:overflow encountered in reduce")  # known, see test_random_calls.py
def test_nan_and_infinity_are_refused_wherever_they_are(cases: int, dtype: Any) -> None:
    rng = np.random.default_rng(6)
    v = Limits(dtype)
    counts = {"refused": 0, "taken": 0}
    scalings: tuple[dict[str, float], ...] = (
        {}, {"input_shift": 1.0}, {"input_scale": 1e-3}, {"input_shift": 2.0, "input_scale": 0.5}
    )  # fmt: skip
    nets = [
        MLP(sizes, activation, dtype=dtype, seed=0, **scaling)
        for sizes, activation, scaling in itertools.product(NETWORKS, ("relu", "identity"), scalings)
    ]
    for case in range(cases):
        net, n = nets[int(rng.integers(len(nets)))], int(rng.choice(ROWS))
        X = rng.normal(size=(n, net.sizes[0])).astype(dtype)
        # Large numbers whose squares overflow, in none, one or all places; they are well.
        large = [0.0, math.sqrt(v.max) * 2, v.huge / 100, -v.huge / 100, v.max][int(rng.integers(5))]
        where = int(rng.integers(X.size))
        if large and rng.random() < 0.3:
            X[...] = large
        elif large:
            X.flat[where] = large
        net.parameters[...] = rng.choice([0.0, 1.0, 1e-30], net.parameters.size)
        layout = list(LAYOUTS)[int(rng.integers(len(LAYOUTS))) if rng.random() < 0.7 else 0]
        wrong = [None, None, nan, inf, -inf][int(rng.integers(5))]
        at = [0, X.size - 1, int(rng.integers(X.size))][int(rng.integers(3))]
        if wrong is not None:
            X.flat[at] = wrong
        shift = dtype(0) if net.input_shift is None else net.input_shift
        scale = dtype(1) if net.input_scale is None else net.input_scale
        with np.errstate(over="ignore", invalid="ignore"):  # of this test's own making: fastbp is to warn of nothing
            given = LAYOUTS[layout](X)  # then the gather: one rounding and two operations
            seen = (given.astype(dtype) - shift) * scale
        bad = ~np.isfinite(seen).all(axis=1)
        number = int(rng.integers(1, 3))
        with threads(number, TUNINGS[int(rng.integers(len(TUNINGS)))]):
            for method in ("logits", "predict_proba", "predict"):
                if bad.any():
                    row = int(np.argmax(bad))
                    with pytest.raises(ValueError, match=rf"^X: got NaN or infinity in row {row}, expected"):
                        getattr(net, method)(given)
                    counts["refused"] += 1
                else:
                    assert len(getattr(net, method)(given)) == n, case
                    counts["taken"] += 1
            if case % 8 == 0:
                check_the_rest(net, given, bad, rng)
    assert min(counts.values()) > cases // 2
    print(f"{np.dtype(dtype)}: {counts}")


def check_the_rest(net: MLP, X: Any, bad: Any, rng: np.random.Generator) -> None:
    """loss, gradient, fit and score refuse the same."""
    y = rng.integers(0, net.sizes[-1], len(X))
    before = net.parameters.copy()
    shuffle = bool(rng.integers(2))
    for call in (
        lambda: net.loss(X, y), lambda: net.score(X, y), lambda: net.gradient(X, y),
        lambda: net.fit(X, y, epochs=1, learning_rate=float(rng.choice([0, 0.5])), shuffle=shuffle, progress=False),
    ):  # fmt: skip
        if bad.any():
            with pytest.raises(ValueError, match=r"^X: got NaN or infinity in row \d+, expected"):
                call()
            np.testing.assert_array_equal(net.parameters, before)
        else:
            with contextlib.suppress(DivergenceError):  # of numbers so large
                call()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_single_place_of_a_small_X(dtype: Any) -> None:
    net = MLP((5, 4, 3), dtype=dtype, seed=0)
    for n, wrong in itertools.product((1, 2, 17), (nan, inf, -inf)):
        X = np.zeros((n, 5), dtype)
        for at in range(X.size):
            X.flat[at] = wrong
            for number in (1, 2):
                with (
                    threads(number, Tuning(parallel=number > 1)),
                    pytest.raises(ValueError, match=f"in row {at // 5},"),
                ):
                    net.logits(X)
            X.flat[at] = math.sqrt(Limits(dtype).max) * 2
            assert_same_bits(net.logits(X)[[at // 5]], net.logits(X[[at // 5]]))
            X.flat[at] = 0
