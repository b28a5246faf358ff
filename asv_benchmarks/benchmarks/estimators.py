"""Whole fits of the estimators against scikit-learn's: the same class, data, parameters and random state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import BRIEF
from .duel import PROCESSORS, ROUNDS, Outcome, Side, duel

SOLVERS = ("adam", "sgd")
CLASSES = {"fastbp": "fastbp", "scikit-learn": "sklearn.neural_network"}


class Data(NamedTuple):
    """Code that makes n rows X and y, train and test; epochs of one fit; how many times as fast fastbp should be."""

    rows: int
    code: str
    epochs: int
    asked: float


DATA = {
    "digits 1,797 x 64": Data(1797, "X, y = fastbp.datasets.load_digits(); X = X[:n] / 16; y = y[:n]", 20, 4),
    "45,000 x 104, 2 classes": Data(
        49_500,
        "rng = np.random.default_rng(0)\n"
        "X = rng.normal(size=(n, 104))\n"
        "y = (np.tanh(X @ rng.normal(size=(104, 8))).sum(axis=1) + rng.normal(size=n) > 0).astype(int)",
        3,
        3,
    ),
    "60,000 x 784, 10 classes": Data(
        66_000,
        "rng = np.random.default_rng(0)\n"
        "y = rng.integers(0, 10, n)\n"
        "X = (0.3 * rng.normal(size=(10, 784)))[y] + rng.normal(size=(n, 784))",
        1,
        2,
    ),
}
PREPARE = """
import warnings
import numpy as np
import fastbp
from {module} import MLPClassifier
warnings.simplefilter("ignore")  # so few epochs do not converge
n = {rows}
{code}
X = X.astype("{dtype}")
rows = np.arange(len(X)) % 11 > 0
X, y, X_test, y_test = X[rows], y[rows], X[~rows], y[~rows]
fit = lambda: MLPClassifier(solver="{solver}", max_iter={epochs}, random_state=0).fit(X, y)
"""


def sides(data: str, solver: str, dtype: str, threads: int) -> dict[str, Side]:
    rows, code, epochs, _ = DATA[data]
    values = {
        "code": code,
        "rows": min(rows, 440) if BRIEF else rows,
        "solver": solver,
        "dtype": dtype,
        "epochs": 1 if BRIEF else epochs,
    }
    return {
        name: Side(PREPARE.format(module=module, **values), "fit()", "fit().score(X_test, y_test)", threads)
        for name, module in CLASSES.items()
    }


def fit_duel(
    data: str, solver: str, dtype: str, threads: int, rounds: int = ROUNDS
) -> tuple[Outcome, dict[str, float]]:
    """Return the seconds of a fit, and the score of each side on rows that were held out."""
    scores: list[float] = []
    found = sides(data, solver, dtype, threads)
    outcome = duel(found, rounds, check=lambda score, first: scores.append(float(score)))
    return outcome, dict(zip(outcome.seconds, scores, strict=True))


class EstimatorsAgainst:
    params = [list(DATA), list(SOLVERS)]
    param_names = ["data", "solver"]
    timeout = 600
    unit = "fastbp / scikit-learn"

    def track_fit(self, data, solver):
        outcome, scores = fit_duel(data, solver, "float64", len(PROCESSORS))
        if "scikit-learn" not in outcome.seconds:
            raise NotImplementedError(outcome.missing["scikit-learn"])
        assert np.ptp(list(scores.values())) <= 0.005, scores
        return outcome.seconds["fastbp"] / outcome.seconds["scikit-learn"]
