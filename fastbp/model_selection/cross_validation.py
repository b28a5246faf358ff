"""Cross-validation: one network a fold, trained side by side on the other folds' rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames, validation
from ..inputs.in_memory import rows_of
from ..network import MLP
from ..training.history import History
from .ensemble import OF_FIT, check, distinct, fit_job, raised
from .pool import run_all

Indices = NDArray[np.int64]
Folds = list[tuple[Indices, Indices]]


@dataclass
class CrossValidation:
    """What `cross_validate` returns: one entry a fold in each.

    Attributes
    ----------
    scores : ndarray of float64, (folds,)
        `MLP.score` on the rows that were held out.
    networks : list of MLP
        Trained on the others; `fastbp.Ensemble(networks)` is their mean.
    histories : list of History
    folds : list of (train, test)
        Row indices.
    """

    scores: NDArray[np.float64]
    networks: list[MLP]
    histories: list[History]
    folds: Folds

    @property
    def score(self) -> float:
        """The mean of the scores."""
        return float(self.scores.mean())

    @property
    def deviation(self) -> float:
        """Their standard deviation, with n in the divisor."""
        return float(self.scores.std())


def cross_validate(network: Mapping[str, Any] | Callable[[int], MLP], X: ArrayLike, y: ArrayLike,
                   folds: int | Iterable[tuple[ArrayLike, ArrayLike]] = 5, *, seed: int = 0,
                   progress: bool | None = None, **fit: Any) -> CrossValidation:  # fmt: skip
    """Train a network for each fold on the rows of the others, side by side, and score it on its own.

    Parameters
    ----------
    network : mapping or callable
        Arguments of `MLP`; their seed is `seed` where they name none. Or a function of the fold's number, from 0 on,
        that makes one.
    X, y
        As for `MLP.fit`.
    folds : int, or iterable of (train, test)
        Into how many parts rows are dealt: shuffled, and for networks of classes so that each part has its share of
        each class. Or row indices, or masks, for instance from a splitter of scikit-learn.
    seed : int
        Of the shuffle.
    progress : bool or None
        A progress bar that counts networks; None: on a terminal only.
    **fit
        Further arguments of `MLP.fit`, for all folds. `early_stopping` watches the training loss unless
        `validation_data` is given: the rows held out decide about nothing.

    Returns
    -------
    CrossValidation
        The same bits whatever the number of threads.

    Raises
    ------
    ValueError, TypeError, DivergenceError, KeyboardInterrupt
        As for `fit_many`; more folds than rows.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> found = fastbp.cross_validate({"sizes": (2, 20, 4)}, X, y, epochs=20, batch_size=20, learning_rate=0.5)
    >>> len(found.networks), found.score > 0.9
    (5, True)
    """
    unknown(fit, OF_FIT, "MLP.fit")
    if not (callable(network) or isinstance(network, Mapping)):
        raise TypeError(f"network: got {type(network).__name__}, expected a mapping of arguments of MLP, or a function")
    X = frames.read("X", X)  # once for all
    make = _checked(network) if callable(network) else maker(network, seed)
    first = make(0)
    parts = split(first, X, y, folds, seed)
    networks = [first, *map(make, range(1, len(parts)))]
    distinct(networks)  # one that learns from all folds has seen every row that it is scored on
    jobs, costs = [], []
    for i, (net, (train, test)) in enumerate(zip(networks, parts, strict=True)):
        jobs.append(fold_job(net, X, y, train, test, fit))
        try:
            costs.append(check(net, X, y, {**fit, "rows": train}))
        except Exception as error:
            error.add_note(f"fold {i}")
            raise
    outcomes = raised(run_all(jobs, costs, progress, "network"), "fold {}".format)
    histories, scores = zip(*outcomes, strict=True)
    return CrossValidation(np.array(scores), networks, list(histories), parts)


def _checked(function: Callable[[int], MLP]) -> Callable[[int], MLP]:
    def make(fold: int) -> MLP:
        net = function(fold)
        if not isinstance(net, MLP):
            raise TypeError(f"network: got {type(net).__name__} from the function for fold {fold}, expected an MLP")
        return net

    return make


def maker(arguments: Mapping[str, Any], seed: int) -> Callable[[int], MLP]:
    """A function that makes the same network for every fold."""
    if isinstance(arguments.get("seed"), np.random.Generator):
        raise TypeError("seed: got a Generator, expected a whole number: networks are trained side by side")
    told = {"seed": seed, **arguments}
    return lambda fold: MLP(**told)


def fold_job(net: MLP, X: Any, y: Any, train: Indices, test: Indices,
             fit: Mapping[str, Any]) -> Callable[[], tuple[History, float]]:  # fmt: skip
    """A `fit` and a score, to be called from a thread of its own."""
    train_on = fit_job(net, X, y, {**fit, "rows": train})

    def job() -> tuple[History, float]:
        history = train_on()
        rows = rows_of(net.model, "X", X)
        return history, net.score(rows.source[test], net.model.targets("y", y, rows.count)[test])

    return job


def split(net: MLP, X: Any, y: Any, folds: Any, seed: int) -> Folds:
    """Row indices of each fold, (train, test), each in ascending order where the folds are a number."""
    count = rows_of(net.model, "X", X).count
    targets = net.model.targets("y", y, count)
    if not isinstance(folds, (int, np.integer)):
        given = validation.as_list(folds)
        if not given or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in given):
            raise TypeError(f"folds: got {folds!r}, expected a number, or pairs (train, test) of row indices")
        return [tuple(validation.row_indices(f"folds[{i}][{part}]", pair[part], count) for part in (0, 1))  # type: ignore[misc]
                for i, pair in enumerate(given)]  # fmt: skip
    parts = validation.whole_number("folds", folds, 2)
    if parts > count:
        raise ValueError(f"folds: got {parts}, expected at most as many as rows, {count}")
    order = np.random.default_rng(seed).permutation(count)
    if net.model.loss.targets == "classes":
        classes = targets if targets.ndim == 1 else targets.argmax(axis=1)
    else:
        classes = targets[:, 0] if net.model.loss.classifies and targets.shape[1] == 1 else np.zeros(count)
    order = order[np.argsort(classes[order], kind="stable")]  # class by class, dealt to the folds in turn
    fold_of = np.empty(count, np.int64)
    fold_of[order] = np.arange(count) % parts
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(parts)]


def unknown(given: Iterable[str], known: Iterable[str], of: str) -> None:
    """Refuse names of no argument; and `rows`, which the folds decide."""
    for name in given:
        if name not in known or name == "rows":
            raise TypeError(f"{name}: got it as an argument, expected only those of {of}, without rows")
