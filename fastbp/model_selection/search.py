"""Search for the best arguments: every combination of a grid, or random draws, each by cross-validation."""

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

from .. import frames, validation
from ..network import MLP
from ..training.plan import DivergenceError
from .cross_validation import fold_job, maker, split, unknown
from .ensemble import OF_FIT, check, raised
from .pool import run_all

OF_MLP = tuple(inspect.signature(MLP).parameters)
Candidate = dict[str, Any]


@dataclass
class Search:
    """What `search` returns.

    Attributes
    ----------
    results : list of dict
        One for each candidate, best first, ties in the order of the grid: its arguments; "score" and "deviation", mean
        and standard deviation over folds; "scores", those of each; "epochs", their mean number; "seconds" of training,
        their sum; "error", None or why it has no score (NaN).
    best : dict
        The arguments of the best.
    network : MLP or None
        Trained with them on all rows, where that was asked for.
    """

    results: list[dict[str, Any]]
    best: Candidate
    network: MLP | None = None

    @property
    def score(self) -> float:
        """The best's mean score."""
        return float(self.results[0]["score"])

    @property
    def table(self) -> Any:
        """The results as a frame of pandas where that is installed, else as they are."""
        if find_spec("pandas") is None:
            return self.results
        import pandas  # half a second that only a look at the table pays

        return pandas.DataFrame(self.results)


def search(grid: Mapping[str, Any] | Sequence[Mapping[str, Any]], X: ArrayLike, y: ArrayLike, *, n: int | None = None,
           folds: int | Iterable[tuple[ArrayLike, ArrayLike]] = 5, seed: int = 0, refit: bool = False,
           progress: bool | None = None, **fixed: Any) -> Search:  # fmt: skip
    """Cross-validate many settings side by side, one network a thread, and tell which is best.

    Parameters
    ----------
    grid : mapping, or sequence of mappings
        From names of arguments, of `MLP` and of `MLP.fit`, to the values to try: a sequence. With `n` also a
        distribution: an object with ``rvs(random_state=)`` as SciPy's, or a function of a `numpy.random.Generator`.
    X, y, folds
        As for `cross_validate`; all candidates get the same folds.
    n : int, optional
        Draw so many candidates at random, instead of trying all combinations; without repetition where all values are
        listed.
    seed : int
        Of the draws, the folds, and the networks where no argument names one.
    refit : bool
        Train the best on all rows.
    progress : bool or None
        A progress bar that counts networks, one for each candidate and fold; None: on a terminal only.
    **fixed
        Arguments of `MLP` and of `MLP.fit` that all candidates share.

    Returns
    -------
    Search
        `table`, `best`, `score`, `network`; the same whatever the number of threads, but for the seconds.

    Raises
    ------
    ValueError, TypeError
        Arguments as for `cross_validate`; of a candidate with a note that names it, before any is trained.
    KeyboardInterrupt
        Ctrl-C ends all.

    Notes
    -----
    A candidate that diverges gets no score and comes last. The best of many is better on these folds than on other
    rows: judge it by rows that the search has not seen.

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
        unknown(names, (*OF_MLP, *OF_FIT), "MLP and MLP.fit")
    twice = sorted({name for each in grids for name in each} & fixed.keys())
    if twice:
        raise TypeError(f"{twice[0]}: got it in the grid and as an argument for all, expected one of them")
    validation.truth("refit", refit)
    candidates = _all(grids) if n is None else _drawn(grids, validation.whole_number("n", n), seed)
    X = frames.read("X", X)  # once for all
    jobs, costs, parts = [], [], None
    for candidate in candidates:
        try:
            make, fit = _parts(fixed | candidate, seed)
            parts = parts or split(make(0), X, y, folds, seed)
            cost = check(make(0), X, y, fit)
        except Exception as error:
            error.add_note(f"candidate {candidate}")
            raise
        jobs += [_job(make, fold, X, y, *pair, fit) for fold, pair in enumerate(parts)]
        costs += [cost] * len(parts)
    outcomes = run_all(jobs, costs, progress, "network")
    each = len(jobs) // len(candidates)
    raised([None if isinstance(outcome, DivergenceError) else outcome for outcome in outcomes],
           lambda i: f"candidate {candidates[i // each]}, fold {i % each}")  # fmt: skip
    results = [_result(candidate, outcomes[each * i : each * (i + 1)]) for i, candidate in enumerate(candidates)]
    ranked = sorted(range(len(results)), key=lambda i: -_or_last(results[i]["score"]))
    best, network = candidates[ranked[0]], None
    if refit:
        make, fit = _parts(fixed | best, seed)
        network = make(0)
        network.fit(X, y, progress=progress, **fit)
    return Search([results[i] for i in ranked], best, network)


def _parts(arguments: Candidate, seed: int) -> tuple[Callable[[int], MLP], dict[str, Any]]:
    """What makes the network, and the arguments of its fit."""
    of_network = {name: value for name, value in arguments.items() if name in OF_MLP}
    return maker(of_network, seed), {name: value for name, value in arguments.items() if name in OF_FIT}


def _job(make: Callable[[int], MLP], fold: int, X: Any, y: Any, train: Any, test: Any,
         fit: dict[str, Any]) -> Callable[[], tuple[int, float, float]]:  # fmt: skip
    """Makes, trains and scores; the network is not kept, for there may be thousands."""

    def job() -> tuple[int, float, float]:
        history, score = fold_job(make(fold), X, y, train, test, fit)()
        return len(history.loss), sum(history.seconds), score

    return job


def _result(candidate: Candidate, outcomes: list[Any]) -> dict[str, Any]:
    """A row of the table, from what `_job` returned for each fold or the error that it raised."""
    errors = [str(outcome) for outcome in outcomes if isinstance(outcome, DivergenceError)]
    none = math.nan, math.nan, math.nan
    epochs, seconds, scores = np.array([none if isinstance(outcome, DivergenceError) else outcome
                                        for outcome in outcomes]).T  # fmt: skip
    return {
        **candidate, "score": float(scores.mean()), "deviation": float(scores.std()), "scores": tuple(scores.tolist()),
        "epochs": float(epochs.mean()), "seconds": float(seconds.sum()), "error": errors[0] if errors else None,
    }  # fmt: skip


def _or_last(score: float) -> float:
    return -math.inf if math.isnan(score) else score


# ---- candidates ----


def _values(name: str, values: Any) -> list[Any]:
    listed = None if isinstance(values, (str, bytes)) else validation.as_list(values)
    if not listed:
        raise ValueError(f"grid: got {values!r} for {name}, expected a sequence of values to try")
    return listed


def _all(grids: list[Mapping[str, Any]]) -> list[Candidate]:
    """Every combination; the last name varies fastest."""
    found = []
    for grid in grids:
        for name, values in grid.items():
            if _drawable(values):
                raise ValueError(f"grid: got a distribution for {name}, expected values, or n: how many to draw")
        columns = [_values(name, values) for name, values in grid.items()]
        found += [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*columns)]
    return found


def _drawn(grids: list[Mapping[str, Any]], n: int, seed: int) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    if not any(_drawable(values) for grid in grids for values in grid.values()):
        listed = _all(grids)
        return [listed[i] for i in rng.permutation(len(listed))[:n]]
    return [{name: _draw(name, values, rng) for name, values in grids[rng.integers(len(grids))].items()}
            for _ in range(n)]  # fmt: skip


def _drawable(values: Any) -> bool:
    return hasattr(values, "rvs") or callable(values)


def _draw(name: str, values: Any, rng: np.random.Generator) -> Any:
    if hasattr(values, "rvs"):
        return values.rvs(random_state=rng)
    if callable(values):
        return values(rng)
    listed = _values(name, values)
    return listed[rng.integers(len(listed))]
