"""scikit-learn's example of learning curves (plot_mlp_training_curves), by its estimator and by fastbp's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import BRIEF
from .duel import PROCESSORS, ROUNDS, Outcome, Side, duel
from .estimators import CLASSES


class Data(NamedTuple):
    """An expression for X and y, and the epochs of each fit."""

    code: str
    epochs: int = 400


DATA = {
    "iris": Data("datasets.load_iris(return_X_y=True)"),
    "circles": Data("datasets.make_circles(noise=0.2, factor=0.5, random_state=1)"),
    "moons": Data("datasets.make_moons(noise=0.3, random_state=0)"),
    "digits": Data("datasets.load_digits(return_X_y=True)", 15),
}
SETTINGS = (
    {"solver": "sgd", "learning_rate_init": 0.2, "momentum": 0},
    {"solver": "sgd", "learning_rate_init": 0.2, "momentum": 0.9, "nesterovs_momentum": False},
    {"solver": "sgd", "learning_rate_init": 0.2, "momentum": 0.9, "nesterovs_momentum": True},
    {"solver": "sgd", "learning_rate_init": 0.2, "momentum": 0, "learning_rate": "invscaling"},
    {"solver": "adam", "learning_rate_init": 0.01},
)
ASKED = 8.0
PREPARE = """
import warnings
from sklearn import datasets
from sklearn.preprocessing import MinMaxScaler
from {module} import MLPClassifier
warnings.simplefilter("ignore")  # some settings do not converge
X, y = {code}
X = MinMaxScaler().fit_transform(X)
def fit():
    return [MLPClassifier(random_state=0, max_iter={epochs}, **setting).fit(X, y) for setting in {settings}]
"""
TAKE_UP = """
from benchmarks.tiers import MORE_SECONDS, take_up
take_up(fit, seconds=MORE_SECONDS)
"""


def curves_duel(data: str, threads: int, rounds: int = ROUNDS) -> Outcome:
    """Return the seconds of the fits with all settings, in float64, whose last losses are compared."""
    code, epochs = DATA[data]

    def side(name: str, module: str) -> Side:
        setup = PREPARE.format(module=module, code=code, epochs=2 if BRIEF else epochs, settings=SETTINGS)
        return Side(setup + TAKE_UP * (name == "fastbp"), "fit()", "[each.loss_ for each in fit()]", threads)

    def check(theirs, ours):
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)  # 2e-15 apart, but the last bit may be another elsewhere

    return duel({name: side(name, module) for name, module in CLASSES.items()}, rounds, check)


class CurvesAgainst:
    params = [list(DATA)]
    param_names = ["data"]
    timeout = 600
    unit = "fastbp / scikit-learn"

    def track_fit(self, data):
        outcome = curves_duel(data, len(PROCESSORS))
        if "scikit-learn" not in outcome.seconds or "fastbp" not in outcome.seconds:
            raise NotImplementedError(str(outcome.missing))
        return outcome.seconds["fastbp"] / outcome.seconds["scikit-learn"]
