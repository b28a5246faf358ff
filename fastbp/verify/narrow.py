"""Checks of what is compiled for one narrow network: its training against plain NumPy, its predictions bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import shapes
from ..program.tuning import Tuning, forced
from .cases import DROPOUT, Case, draw
from .tally import Tally
from .training import compare_runs

ROWS, BATCH = 100, 70  # more than a block of rows, which is 64 at most, and a short last minibatch
GENERAL, SPECIALISED = Tuning(), Tuning(specialised=True)
SHARED = Tuning(specialised=True, parallel=True)  # the minibatch's blocks of rows among several threads
# Every activation, every form of update, and losses of every kind; more classes than a vector has lanes; widths that
# fill no vector and no tile. Each of them is compiled for its shape, 2 s: so there are few.
CASES = (
    Case((7, 9, 8, 5, 6, 3), ROWS, ("relu", "tanh", "leaky_relu", "selu"), l2=0.02),
    Case((6, 35, 23), ROWS, "logistic", form="probabilities", optimizer="adam", weighted=True, dropout=DROPOUT),
    Case((5, 18, 7, 4), ROWS, ("gelu", "silu"), "binary_cross_entropy", "targets", l2=0.02, max_grad_norm=0.2),
    Case((4, 11, 9, 2), ROWS, ("mish", "elu"), "huber", "targets", 0.02, True, True, 0.0, "momentum", 0.2),
    Case((17, 6, 1), ROWS, "identity", "poisson_deviance", "targets", optimizer="lion", dropout=DROPOUT),
    Case((3, 50, 12, 5), ROWS, ("relu", "identity"), "quantile", "targets", l2=0.02, weighted=True, optimizer="adamw"),
)
SHARED_CASES = CASES[1], CASES[5]  # two more functions each


def check_narrow(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check training by compiled steps, and predictions of few and many rows."""
    with forced(SPECIALISED):
        compare_runs(tally, dtype, CASES, BATCH)
    with forced(SHARED):
        compare_runs(tally, dtype, SHARED_CASES, BATCH)
    for case in CASES:
        drawn = draw(case, dtype)
        net, X = drawn.net, np.resize(drawn.X, (40 * shapes.MR, case.sizes[0]))
        for count in (1, 7, 33, len(X)):
            with forced(GENERAL):
                expected = net.outputs(X[:count])
            with forced(SPECIALISED):
                tally.same(f"{case}: outputs of {count} rows", net.outputs(X[:count]), expected)
