"""Many networks at once: a search over 64 networks against scikit-learn's GridSearchCV, and two threads against one.

Both search the same 16 settings by the same four folds of the digits: 64 fits of a network 64-32-10 with Adam.
"""

from __future__ import annotations

import numpy as np

from . import BRIEF
from .duel import ROUNDS, Outcome, Side, duel

DEFAULT = "200, scikit-learn's default"
BATCHES = {"32": 32, DEFAULT: 200}
EPOCHS = 1 if BRIEF else 10
ALPHAS = (1e-4,) if BRIEF else (1e-5, 1e-4, 1e-3, 1e-2)
RATES = (1e-3,) if BRIEF else (5e-4, 1e-3, 2e-3, 4e-3)
ASKED, ASKED_OF_THREADS = 20, 1.8
DATA = f"""
import warnings
import numpy as np
import fastbp
from benchmarks.tiers import MORE_SECONDS, take_up
warnings.simplefilter("ignore")  # that so few epochs do not converge
X, y = fastbp.datasets.load_digits()
X = X / 16
alphas, rates = {ALPHAS}, {RATES}
rng = np.random.default_rng(0)
fold_of = rng.permutation(len(X)) % 4
folds = [(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(4)]
"""
# alpha is divided by the rows of a minibatch there
OURS = f"""
X = X.astype("float32")
grid = {{"l2": [alpha / BATCH for alpha in alphas], "learning_rate": rates}}
def search():
    return fastbp.search(grid, X, y, folds=folds, sizes=(64, 32, 10), initializer="glorot_uniform", optimizer="adam",
                         epochs={EPOCHS}, batch_size=BATCH, progress=False).score
take_up(search, seconds=MORE_SECONDS)  # compiles, or loads
"""
THEIRS = f"""
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
X = X.astype("float32")
def search():
    network = MLPClassifier((32,), batch_size=BATCH, max_iter={EPOCHS}, n_iter_no_change={EPOCHS}, random_state=0)
    grid = {{"alpha": alphas, "learning_rate_init": rates}}
    return GridSearchCV(network, grid, cv=folds, n_jobs=THREADS, refit=False).fit(X, y).best_score_
search()  # starts its processes, which stay
"""
MANY = f"""
X, several, epochs = X.astype("float32"), *{(1, 1) if BRIEF else (8, 50)}
def train():
    fastbp.fit_many([fastbp.MLP((64, 32, 10), seed=seed) for seed in range(several)], X, y, epochs, BATCH,
                    optimizer="adam", progress=False)
take_up(train)
"""


def search_duel(batch: int, threads: int, rounds: int = ROUNDS) -> tuple[Outcome, dict[str, float]]:
    """Return the seconds of a whole search, and the best mean score that each side finds."""
    scores: list[float] = []

    def side(code: str) -> Side:
        code = code.replace("BATCH", str(batch)).replace("THREADS", str(threads))
        return Side(DATA + code, "search()", "search()", threads)

    sides = {"fastbp": side(OURS), "scikit-learn": side(THEIRS)}
    outcome = duel(sides, rounds, check=lambda score, first: scores.append(float(score)))
    return outcome, dict(zip(outcome.seconds, scores, strict=True))


def threads_duel(batch: int, counts: list[int], rounds: int = ROUNDS) -> dict[int, float]:
    """Return the seconds of `fit_many` by the number of threads."""
    sides = {str(count): Side(DATA + MANY.replace("BATCH", str(batch)), "train()", threads=count) for count in counts}
    return {int(count): seconds for count, seconds in duel(sides, rounds).seconds.items()}


class ManyAgainst:
    params = [list(BATCHES)]
    param_names = ["batch"]
    timeout = 900
    unit = "fastbp / scikit-learn"

    def track_search(self, batch):
        outcome, scores = search_duel(BATCHES[batch], 2)
        if "scikit-learn" not in outcome.seconds or "fastbp" not in outcome.seconds:
            raise NotImplementedError(str(outcome.missing))
        assert BRIEF or np.ptp(list(scores.values())) <= 0.01, scores
        return outcome.seconds["fastbp"] / outcome.seconds["scikit-learn"]
