"""Hyper-parameter search: every combination of a grid, or random draws, each cross-validated."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import frames, representation, validation
from ..network import MLP
from ..training.plan import DivergenceError
from .cross_validation import check_argument_names, fold_task, network_factory, split_folds
from .fitting import FIT_ARGUMENTS, check_fit, raise_first_error
from .pool import run_all

MLP_ARGUMENTS = tuple(inspect.signature(MLP).parameters)
Candidate = dict[str, Any]


@dataclass(repr=False)
class Search:
    """The result of `search`.

    Attributes
    ----------
    results : list of dict
        One for each candidate, best first, ties in the order of the grid. It holds the candidate's arguments; "score"
        and "deviation", the mean and the standard deviation over folds; "scores", one for each fold; "epochs", the mean
        over folds; "seconds", the training time of all folds; "error", None or the reason why the score is NaN.
    best : dict
        The arguments of the best candidate.
    network : MLP or None
        The network trained with them on all rows; None without `refit`.
    """

    results: list[dict[str, Any]]
    best: Candidate
    network: MLP | None = None

    @property
    def score(self) -> float:
        """The mean score of the best candidate."""
        return float(self.results[0]["score"])

    @property
    def table(self) -> Any:
        """The results as a pandas.DataFrame if pandas is installed, else the list itself."""
        if find_spec("pandas") is None:
            return self.results
        import pandas  # takes half a second

        return pandas.DataFrame(self.results)

    def __repr__(self) -> str:
        count = len(self.results)
        best = representation.arguments(self.best)
        return f"Search({count} candidate{'' if count == 1 else 's'}, best score {self.score:.4g}: {best})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the candidates, best first."""
        names = dict.fromkeys(itertools.chain(*self.results))  # of every mapping, if the grid is a sequence
        del names["scores"]
        if not any(each["error"] for each in self.results):
            del names["error"]
        rows = ([each.get(name, "") for name in names] for each in self.results)
        return representation.html(repr(self), representation.table([*names], rows))


def search(
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    X: ArrayLike,
    y: ArrayLike,
    *,
    n: int | None = None,
    folds: int | Iterable[tuple[ArrayLike, ArrayLike]] = 5,
    seed: int = 0,
    refit: bool = False,
    progress: bool | None = None,
    **fixed: Any,
) -> Search:
    """Find the best settings by cross-validation, with networks trained side by side, each on a single thread.

    Parameters
    ----------
    grid : mapping, or sequence of mappings
        Maps names of arguments of `MLP` and `MLP.fit` to sequences of values to try. With `n`, a value may also be a
        distribution: an object with ``rvs(random_state=)`` as SciPy's, or a function of a `numpy.random.Generator`.
    X, y, folds
        As for `cross_validate`; all candidates get the same folds.
    n : int, optional
        The number of candidates to draw at random, instead of trying all combinations; without repetition if all values
        are listed.
    seed : int, default 0
        The seed of the draws and folds, and of networks whose arguments have none.
    refit : bool, default False
        Train a network with the best arguments on all rows.
    progress : bool or None
        A progress bar that counts networks, one for each candidate and fold; None: on a terminal and in notebooks only.
    **fixed
        Arguments of `MLP` and of `MLP.fit` that all candidates share.

    Returns
    -------
    Search
        The same whatever the number of threads, except the seconds.

    Raises
    ------
    ValueError, TypeError
        As for `cross_validate`, with a note that names the candidate, before any is trained.
    KeyboardInterrupt
        Ctrl-C ends all fits.

    Notes
    -----
    A candidate that diverges gets the score NaN and comes last. The score of the best is biased, because it was chosen
    by these folds: evaluate it on rows that the search has not seen.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(500, seed=0)
    >>> grid = {"sizes": [(2, 5, 4), (2, 20, 4)], "learning_rate": [0.01, 0.5]}
    >>> found = fastbp.search(grid, X, y, folds=3, epochs=10, batch_size=20, refit=True)
    >>> len(found.results), found.best["learning_rate"]
    (4, 0.5)
    >>> found.network.score(X, y) > 0.9
    True
    """
    grids = [grid] if isinstance(grid, Mapping) else validation.as_list(grid)
    if not grids or not all(isinstance(each, Mapping) for each in grids):
        raise TypeError(f"grid: got {type(grid).__name__}, expected a mapping of names to values, or several")
    for names in (*grids, fixed):
        check_argument_names(names, (*MLP_ARGUMENTS, *FIT_ARGUMENTS), "MLP and MLP.fit")
    twice = sorted({name for each in grids for name in each} & fixed.keys())
    if twice:
        raise TypeError(f"{twice[0]}: got it in the grid and as an argument for all candidates, expected one of them")
    validation.truth("refit", refit)
    count = None if n is None else validation.whole_number("n", n)
    candidates = _all_combinations(grids) if count is None else _draw_candidates(grids, count, seed)
    X = frames.read("X", X)  # once for all
    tasks, costs, parts = [], [], None
    for candidate in candidates:
        try:
            make, fit = _network_and_fit(fixed | candidate, seed)
            parts = parts or split_folds(make(0), X, y, folds, seed)
            cost = check_fit(make(0), X, y, fit)
        except Exception as error:
            error.add_note(f"candidate {candidate}")
            raise
        tasks += [_task(make, fold, X, y, *pair, fit) for fold, pair in enumerate(parts)]
        costs += [cost] * len(parts)
    outcomes = run_all(tasks, costs, progress, "network")
    each = len(tasks) // len(candidates)
    failures = [None if isinstance(outcome, DivergenceError) else outcome for outcome in outcomes]
    raise_first_error(failures, lambda i: f"candidate {candidates[i // each]}, fold {i % each}")
    results = [_result(candidate, outcomes[each * i : each * (i + 1)]) for i, candidate in enumerate(candidates)]
    ranked = sorted(range(len(results)), key=lambda i: -_nan_last(results[i]["score"]))
    best, network = candidates[ranked[0]], None
    if refit:
        make, fit = _network_and_fit(fixed | best, seed)
        network = make(0)
        network.fit(X, y, progress=progress, **fit)
    return Search([results[i] for i in ranked], best, network)


def _network_and_fit(arguments: Candidate, seed: int) -> tuple[Callable[[int], MLP], dict[str, Any]]:
    """Return a function that makes the network, and the arguments of its fit."""
    of_network = {name: value for name, value in arguments.items() if name in MLP_ARGUMENTS}
    of_fit = {name: value for name, value in arguments.items() if name in FIT_ARGUMENTS}
    return network_factory(of_network, seed), of_fit


def _task(
    make: Callable[[int], MLP], fold: int, X: Any, y: Any, train: Any, test: Any, fit: dict[str, Any]
) -> Callable[[], tuple[int, float, float]]:
    """Return a function that makes, trains and scores a network: epochs, seconds and score.

    The network is not kept: there may be thousands.
    """

    def task() -> tuple[int, float, float]:
        history, score = fold_task(make(fold), X, y, train, test, fit)()
        return len(history.loss), sum(history.seconds), score

    return task


def _result(candidate: Candidate, outcomes: list[Any]) -> dict[str, Any]:
    """Return a row of the table, from what `_task` returned for each fold, or the error that it raised."""
    errors = [str(outcome) for outcome in outcomes if isinstance(outcome, DivergenceError)]
    none = math.nan, math.nan, math.nan
    folds = [none if isinstance(outcome, DivergenceError) else outcome for outcome in outcomes]
    epochs, seconds, scores = np.array(folds).T
    return {
        **candidate,
        "score": float(scores.mean()),
        "deviation": float(scores.std()),
        "scores": tuple(scores.tolist()),
        "epochs": float(epochs.mean()),
        "seconds": float(seconds.sum()),
        "error": errors[0] if errors else None,
    }


def _nan_last(score: float) -> float:
    return -math.inf if math.isnan(score) else score


# ---- candidates ----


def _values(name: str, values: Any) -> list[Any]:
    """Return the listed values of an argument."""
    listed = None if isinstance(values, (str, bytes)) else validation.as_list(values)
    if not listed:
        raise ValueError(f"grid: got {values!r} for {name}, expected a sequence of values to try")
    return listed


def _all_combinations(grids: list[Mapping[str, Any]]) -> list[Candidate]:
    """Return every combination; the last name varies fastest."""
    found = []
    for grid in grids:
        for name, values in grid.items():
            if _is_distribution(values):
                raise ValueError(f"grid: got a distribution for {name}, expected values; or pass n, the number to draw")
        columns = [_values(name, values) for name, values in grid.items()]
        found += [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*columns)]
    return found


def _draw_candidates(grids: list[Mapping[str, Any]], n: int, seed: int) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    if not any(_is_distribution(values) for grid in grids for values in grid.values()):
        listed = _all_combinations(grids)
        return [listed[i] for i in rng.permutation(len(listed))[:n]]
    candidates = []
    for _ in range(n):
        grid = grids[rng.integers(len(grids))]
        candidates.append({name: _draw(name, values, rng) for name, values in grid.items()})
    return candidates


def _is_distribution(values: Any) -> bool:
    return hasattr(values, "rvs") or callable(values)


def _draw(name: str, values: Any, rng: np.random.Generator) -> Any:
    if hasattr(values, "rvs"):
        return values.rvs(random_state=rng)
    if callable(values):
        return values(rng)
    listed = _values(name, values)
    return listed[rng.integers(len(listed))]
