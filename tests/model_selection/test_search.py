"""Cross-validation and search: folds, the bits of each network, the table with pandas and without, refitting."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, cross_validate, threads
from support.comparisons import assert_same_bits

N, FEATURES, CLASSES = 103, 5, 3
SIZES = (FEATURES, 7, CLASSES)


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = rng.choice(CLASSES, N, p=[0.6, 0.3, 0.1])
    return rng.normal(size=(N, FEATURES)) + y[:, None], y


# ---- folds ----


def test_folds_have_each_row_once_and_each_class_in_its_share() -> None:
    X, y = data()
    found = cross_validate({"sizes": SIZES}, X, y, 4, epochs=1)
    tests = np.concatenate([test for _, test in found.folds])
    assert (np.sort(tests) == np.arange(N)).all()
    for train, test in found.folds:
        assert (np.sort(np.concatenate([train, test])) == np.arange(N)).all()
    for counts in ([np.bincount(y[test], minlength=CLASSES) for _, test in found.folds],
                   [[len(test)] for _, test in found.folds]):  # fmt: skip
        assert (np.ptp(np.array(counts), axis=0) <= 1).all()
    other = cross_validate({"sizes": SIZES}, X, y, 4, epochs=1, seed=1)
    assert any((mine[1] != yours[1]).any() for mine, yours in zip(found.folds, other.folds, strict=True)
               if len(mine[1]) == len(yours[1]))  # fmt: skip


@pytest.mark.parametrize("loss, sorted_y", [("mean_squared_error", False), ("binary_cross_entropy", True)])
def test_folds_of_other_targets(loss: str, sorted_y: bool) -> None:
    X, _ = data()
    y = np.sort(np.arange(N) % 2) if sorted_y else np.linspace(0, 1, N)
    found = cross_validate({"sizes": (FEATURES, 1), "loss": loss}, X, y, 3, epochs=1)
    assert (np.sort(np.concatenate([test for _, test in found.folds])) == np.arange(N)).all()
    if sorted_y:
        shares = [y[test].sum() for _, test in found.folds]
        assert max(shares) - min(shares) <= 1
    assert math.isfinite(found.score) and math.isfinite(found.deviation)


@pytest.mark.parametrize("count", [1, 2])
def test_each_fold_is_that_of_a_network_alone(count: int) -> None:
    X, y = data()
    told: Any = {"epochs": 4, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.01}
    with threads.limit(count):
        found = cross_validate({"sizes": SIZES, "seed": 7}, X, y, 4, **told)
    for net, history, score, (train, test) in zip(found.networks, found.histories, found.scores, found.folds,
                                                  strict=True):  # fmt: skip
        alone = MLP(SIZES, seed=7)
        assert alone.fit(X[train], y[train], **told).loss == history.loss
        assert_same_bits(net.parameters, alone.parameters)
        assert score == alone.score(X[test], y[test])
    assert found.score == found.scores.mean() and found.deviation == found.scores.std()


def test_folds_and_networks_of_the_users_own() -> None:
    X, y = data()
    model_selection = pytest.importorskip("sklearn.model_selection")
    folds = list(model_selection.ShuffleSplit(3, test_size=0.3, random_state=0).split(X))
    made = []

    def make(fold: int) -> MLP:
        made.append(fold)
        return MLP(SIZES, seed=10 + fold)

    found = cross_validate(make, X.tolist(), y.tolist(), iter(folds), epochs=2)
    assert made == [0, 1, 2]
    for net, (train, _), fold in zip(found.networks, folds, made, strict=True):
        alone = MLP(SIZES, seed=10 + fold)
        alone.fit(X[train], y[train], epochs=2)
        assert_same_bits(net.parameters, alone.parameters)


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"folds": 1}, ValueError, "folds: got 1, expected at least 2"), ({"folds": "5"}, TypeError, "folds: got '5'"),
        ({"folds": N + 1}, ValueError, "folds: got 104"), ({"rows": [1]}, TypeError, "rows: got it as an argument"),
        ({"folds": [([0], [N])]}, ValueError, r"folds\[0\]\[1\]: got 103"), ({"folds": []}, TypeError, "folds"),
        ({"epoch": 3}, TypeError, "epoch: got it as an argument"), ({"epochs": 0}, ValueError, "epochs: got 0"),
        ({"network": 3}, TypeError, "network: got int"),
        ({"network": {"sizes": SIZES, "seed": np.random.default_rng(0)}}, TypeError, "seed: got a Generator"),
    ],
)  # fmt: skip
def test_wrong_arguments(wrong: dict[str, Any], error: type[Exception], words: str) -> None:
    X, y = data()
    with pytest.raises(error, match=words):
        cross_validate(**{"network": {"sizes": SIZES}, "X": X, "y": y, **wrong})


# ---- search ----

GRID: dict[str, Any] = {"sizes": [SIZES, (FEATURES, CLASSES)], "learning_rate": [0.001, 0.3], "l2": [0.0, 0.1]}


@pytest.mark.parametrize("count", [1, 2])
def test_every_combination_and_its_cross_validation(count: int) -> None:
    X, y = data()
    with threads.limit(count):
        found = fastbp.search(GRID, X, y, folds=3, epochs=5, batch_size=16, seed=2)
    assert len(found.results) == 8
    for result in found.results:
        expected = cross_validate({"sizes": result["sizes"], "seed": 2}, X, y, 3, seed=2, epochs=5, batch_size=16,
                                  learning_rate=result["learning_rate"], l2=result["l2"])  # fmt: skip
        assert result["scores"] == tuple(expected.scores.tolist())
        assert (result["score"], result["deviation"]) == (expected.score, expected.deviation)
        assert (result["epochs"], result["error"]) == (5, None) and result["seconds"] > 0
    scores = [result["score"] for result in found.results]
    assert scores == sorted(scores, reverse=True) and found.score == scores[0]
    assert found.best == {name: found.results[0][name] for name in GRID} and found.network is None


def test_the_best_is_refitted_on_all_rows() -> None:
    X, y = data()
    found = fastbp.search(GRID, X, y, folds=3, epochs=5, refit=True)
    alone = MLP(found.best["sizes"], seed=0)
    alone.fit(X, y, epochs=5, learning_rate=found.best["learning_rate"], l2=found.best["l2"])
    assert found.network is not None
    assert_same_bits(found.network.parameters, alone.parameters)


def test_the_table_with_pandas_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data()
    found = fastbp.search(GRID, X, y, folds=2, epochs=1)
    pandas = pytest.importorskip("pandas")
    table = found.table
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == [*GRID, "score", "deviation", "scores", "epochs", "seconds", "error"]
    assert table["score"].tolist() == [result["score"] for result in found.results]
    monkeypatch.setattr(sys.modules["fastbp.model_selection.search"], "find_spec", lambda name: None)
    assert found.table is found.results


class Uniform:
    """As SciPy's frozen distributions."""

    def rvs(self, random_state: np.random.Generator) -> float:
        return random_state.uniform(0.01, 0.5)


def test_random_draws() -> None:
    X, y = data()
    grid: Any = {"learning_rate": Uniform(), "l2": lambda rng: 10 ** rng.uniform(-5, -1), "batch_size": [8, 16]}
    found = fastbp.search(grid, X, y, n=6, folds=2, epochs=1, sizes=SIZES)
    again = fastbp.search(grid, X, y, n=6, folds=2, epochs=1, sizes=SIZES)
    other = fastbp.search(grid, X, y, n=6, folds=2, epochs=1, sizes=SIZES, seed=1)
    arguments = [[{name: result[name] for name in grid} for result in each.results] for each in (found, again, other)]
    assert arguments[0] == arguments[1] != arguments[2]
    assert len({result["learning_rate"] for result in found.results}) == 6
    assert all(0.01 <= result["learning_rate"] <= 0.5 and 1e-5 <= result["l2"] <= 0.1 for result in found.results)
    assert {result["batch_size"] for result in found.results} == {8, 16}
    with pytest.raises(ValueError, match="grid: got a distribution for learning_rate"):
        fastbp.search(grid, X, y, sizes=SIZES)


def test_draws_of_listed_values_do_not_repeat() -> None:
    X, y = data()
    for n, expected in ((3, 3), (8, 8), (20, 8)):
        found = fastbp.search(GRID, X, y, n=n, folds=2, epochs=1)
        assert len({tuple(result[name] for name in GRID) for result in found.results}) == expected


def test_several_grids() -> None:
    X, y = data()
    grids = [{"optimizer": ["sgd"], "learning_rate": [0.1, 0.2]}, {"optimizer": ["adam", "rmsprop"]}]
    found = fastbp.search(grids, X, y, folds=2, epochs=1, sizes=SIZES)
    assert {(result["optimizer"], result.get("learning_rate")) for result in found.results} == {
        ("sgd", 0.1), ("sgd", 0.2), ("adam", None), ("rmsprop", None)
    }  # fmt: skip
    assert len(fastbp.search(grids, X, y, n=5, folds=2, epochs=1, sizes=SIZES).results) == 4


def test_what_diverges_comes_last() -> None:
    X, y = data()
    found = fastbp.search({"learning_rate": [1e30, 0.1]}, X, y, folds=2, epochs=3, batch_size=8, sizes=SIZES)
    assert [result["learning_rate"] for result in found.results] == [0.1, 1e30]
    assert math.isnan(found.results[1]["score"]) and found.results[1]["error"].startswith("training diverged")


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"grid": 3}, TypeError, "grid: got int"), ({"grid": []}, TypeError, "grid: got list"),
        ({"grid": {"l2": []}}, ValueError, "for l2, expected a sequence"), ({"n": 0}, ValueError, "n: got 0"),
        ({"grid": {"optimizer": "adam"}}, ValueError, "grid: got 'adam' for optimizer"),
        ({"grid": {"alpha": [1]}}, TypeError, "alpha: got it as an argument"), ({"refit": 2}, TypeError, "refit"),
        ({"grid": {"l2": [0, -1]}}, ValueError, "l2: got -1"), ({"hidden": 3}, TypeError, "hidden: got it"),
    ],
)  # fmt: skip
def test_a_search_that_is_refused(wrong: dict[str, Any], error: type[Exception], words: str) -> None:
    X, y = data()
    with pytest.raises(error, match=words) as caught:
        fastbp.search(**{"grid": {"l2": [0.0]}, "X": X, "y": y, "sizes": SIZES, "folds": 2, **wrong})
    if words == "l2: got -1":
        assert caught.value.__notes__ == ["candidate {'l2': -1}"]


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = data()
    fastbp.search(GRID, X, y, folds=3, epochs=1, progress=True)
    assert "/24" in capsys.readouterr().err
    fastbp.search(GRID, X, y, folds=3, epochs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_a_name_in_the_grid_and_for_all_is_refused() -> None:
    with pytest.raises(TypeError, match="epochs: got it in the grid and as an argument for all"):
        fastbp.search({"epochs": [1, 2]}, *data(), sizes=(FEATURES, CLASSES), epochs=3)


def test_a_function_of_the_fold_gives_networks_of_their_own() -> None:
    """One network for all folds would be scored on rows that it has seen."""
    with pytest.raises(TypeError, match="network: got int from the function for fold 0, expected an MLP"):
        cross_validate(lambda fold: 3, *data())  # type: ignore[arg-type, return-value]
    net = MLP((FEATURES, CLASSES), seed=0)
    with pytest.raises(ValueError, match=r"networks: got the same network at \[0\] and \[1\]"):
        cross_validate(lambda fold: net, *data())
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"networks: got one Generator, .* at \[0\] and \[1\]"):
        cross_validate(lambda fold: MLP((FEATURES, CLASSES), seed=rng), *data())
