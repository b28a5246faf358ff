"""Cross-validation: one network per fold, trained on the rows of the other folds, all side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames, representation, validation
from ..inputs.in_memory import rows_of
from ..network import MLP
from ..training.history import History
from .fitting import FIT_ARGUMENTS, check_distinct, check_fit, fit_task, raise_first_error
from .pool import run_all

Indices = NDArray[np.int64]
Folds = list[tuple[Indices, Indices]]


@dataclass(repr=False)
class CrossValidation:
    """The result of `cross_validate`, with one entry per fold in each attribute.

    Attributes
    ----------
    scores : float64 array (folds,)
        `MLP.score` on the rows held out.
    networks : list of MLP
        The networks trained on the other rows; `fastbp.Ensemble(networks)` is their mean.
    histories : list of History
    folds : list of (train, test)
        Row indices, int64 arrays.
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
        """The standard deviation of the scores, with n in the divisor."""
        return float(self.scores.std())

    def __repr__(self) -> str:
        return f"CrossValidation({len(self.folds)} folds, score {self.score:.4g} ± {self.deviation:.2g})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the folds."""
        rows = (
            (fold, len(train), len(test), len(history.loss), history.loss[-1], float(score))
            for fold, ((train, test), history, score) in enumerate(
                zip(self.folds, self.histories, self.scores, strict=True)
            )
        )
        head = "fold", "trained rows", "rows held out", "epochs", "loss", "score"
        return representation.html(repr(self), representation.table(head, rows))


def cross_validate(
    network: Mapping[str, Any] | Callable[[int], MLP],
    X: ArrayLike,
    y: ArrayLike,
    folds: int | Iterable[tuple[ArrayLike, ArrayLike]] = 5,
    *,
    seed: int = 0,
    progress: bool | None = None,
    **fit: Any,
) -> CrossValidation:
    """Train a network for each fold on the rows of the other folds, and score it on the rows of its own.

    Parameters
    ----------
    network : mapping or callable
        Arguments of `MLP`, with `seed` as the seed if they have none; or a function that takes the fold's number,
        from 0, and returns a network.
    X, y
        As for `MLP.fit`.
    folds : int, or iterable of (train, test), default 5
        The number of folds, into which rows are shuffled; for classification each fold gets its share of each class.
        Or row indices, or masks, for instance from a splitter of scikit-learn.
    seed : int, default 0
        The seed of the shuffle.
    progress : bool or None
        A progress bar that counts networks; None: on a terminal and in notebooks only.
    **fit
        Further arguments of `MLP.fit`, for all folds. `early_stopping` watches the training loss unless
        `validation_data` is given: the rows held out never influence training.

    Returns
    -------
    CrossValidation
        With the same bits whatever the number of threads.

    Raises
    ------
    ValueError, TypeError, DivergenceError, KeyboardInterrupt
        As for `fit_many`; or there are more folds than rows.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> found = fastbp.cross_validate({"sizes": (2, 20, 4)}, X, y, epochs=20, batch_size=20, learning_rate=0.5)
    >>> len(found.networks), found.score > 0.9
    (5, True)
    """
    check_argument_names(fit, FIT_ARGUMENTS, "MLP.fit")
    if not (callable(network) or isinstance(network, Mapping)):
        raise TypeError(
            f"network: got {type(network).__name__}, expected a mapping of arguments of MLP, or a function that takes "
            "the fold's number and returns an MLP"
        )
    X = frames.read("X", X)  # once for all
    make = _checked(network) if callable(network) else network_factory(network, seed)
    first = make(0)
    parts = split_folds(first, X, y, folds, seed)
    networks = [first, *map(make, range(1, len(parts)))]
    check_distinct(networks)  # a network trained on several folds would have seen every row it is scored on
    tasks, costs = [], []
    for i, (net, (train, test)) in enumerate(zip(networks, parts, strict=True)):
        tasks.append(fold_task(net, X, y, train, test, fit))
        try:
            costs.append(check_fit(net, X, y, {**fit, "rows": train}))
        except Exception as error:
            error.add_note(f"fold {i}")
            raise
    outcomes = raise_first_error(run_all(tasks, costs, progress, "network"), "fold {}".format)
    histories, scores = zip(*outcomes, strict=True)
    return CrossValidation(np.array(scores), networks, list(histories), parts)


def _checked(function: Callable[[int], MLP]) -> Callable[[int], MLP]:
    """Return a function that calls `function` and checks that it returns a network."""

    def make(fold: int) -> MLP:
        net = function(fold)
        if not isinstance(net, MLP):
            raise TypeError(f"network: got {type(net).__name__} from the function for fold {fold}, expected an MLP")
        return net

    return make


def network_factory(arguments: Mapping[str, Any], seed: int) -> Callable[[int], MLP]:
    """Return a function that makes the same network for every fold."""
    if isinstance(arguments.get("seed"), np.random.Generator):
        raise TypeError("seed: got a Generator, expected a whole number: networks are trained side by side")
    with_seed = {"seed": seed, **arguments}
    return lambda fold: MLP(**with_seed)


def fold_task(
    net: MLP, X: Any, y: Any, train: Indices, test: Indices, fit: Mapping[str, Any]
) -> Callable[[], tuple[History, float]]:
    """Return a function that calls `fit` on one part of the rows and `score` on the other, in any thread."""
    fit_on_train = fit_task(net, X, y, {**fit, "rows": train})

    def task() -> tuple[History, float]:
        history = fit_on_train()
        rows = rows_of(net.model, "X", X)
        return history, net.score(rows.source[test], net.model.targets("y", y, rows.count)[test])

    return task


def split_folds(net: MLP, X: Any, y: Any, folds: Any, seed: int) -> Folds:
    """Return the row indices (train, test) of each fold, in ascending order if `folds` is a number."""
    count = rows_of(net.model, "X", X).count
    targets = net.model.targets("y", y, count)
    if not isinstance(folds, (int, np.integer)):
        pairs = validation.as_list(folds)
        if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            raise TypeError(f"folds: got {folds!r}, expected a number, or pairs (train, test) of row indices")
        checked = []
        for i, (train, test) in enumerate(pairs):
            train_rows = validation.row_indices(f"folds[{i}][0]", train, count)
            checked.append((train_rows, validation.row_indices(f"folds[{i}][1]", test, count)))
        return checked
    parts = validation.whole_number("folds", folds, 2)
    if parts > count:
        raise ValueError(f"folds: got {parts}, expected at most as many as rows, {count}")
    order = np.random.default_rng(seed).permutation(count)
    if net.model.loss.targets == "classes":
        classes = targets if targets.ndim == 1 else targets.argmax(axis=1)
    else:
        classes = targets[:, 0] if net.model.loss.classifies and targets.shape[1] == 1 else np.zeros(count)
    order = order[np.argsort(classes[order], kind="stable")]  # class by class, assigned to the folds in turn
    fold_of = np.empty(count, np.int64)
    fold_of[order] = np.arange(count) % parts
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(parts)]


def check_argument_names(given: Iterable[str], known: Iterable[str], functions: str) -> None:
    """Refuse names that are no arguments, and `rows`, which follows from the folds."""
    for name in given:
        if name not in known or name == "rows":
            raise TypeError(f"{name}: got it as an argument, expected only those of {functions}, without rows")
