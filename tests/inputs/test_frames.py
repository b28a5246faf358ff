"""Frames: columns matched by name wherever a network is given some.

What is expected comes from the same numbers as a plain array, in the order of the columns that were trained on.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
import fastbp.plotting
from fastbp import MLP, Ensemble, cross_validate, distributed, fit_many, search
from fastbp.frames import name_of
from support.comparisons import assert_same_bits
from support.frame_cases import FRAMES, NAMED, NAMES, PLAIN, REVERSED, X, Y, fitted, frame, network

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")


@pytest.mark.parametrize("kind", FRAMES)
def test_names_come_from_any_frame_and_put_columns_in_order(kind: str) -> None:
    net = fitted(frame(kind=kind))
    assert net.feature_names == NAMES
    assert_same_bits(net.parameters, PLAIN.parameters)
    for names in (NAMES, REVERSED, ("mass", "length", "depth", "width")):
        given, order = frame(names, kind), [NAMES.index(name) for name in names]
        for method in ("predict", "predict_proba", "logits", "outputs"):
            assert_same_bits(getattr(net, method)(given), getattr(PLAIN, method)(X))
        assert net.score(given, Y) == PLAIN.score(X, Y)
        assert net.loss(given, Y) == PLAIN.loss(X, Y)
        for method in ("gradient", "sample_gradients"):  # of the inputs as they were given
            got, expected = getattr(net, method)(given, Y), getattr(PLAIN, method)(X, Y)
            assert_same_bits(got.inputs, expected.inputs[:, order])
            assert_same_bits(got.weights[0], expected.weights[0])


def test_training_again_matches_too() -> None:
    net, plain = copy.deepcopy(NAMED), copy.deepcopy(PLAIN)
    net.fit(frame(REVERSED), Y, epochs=1, batch_size=16, rows=np.arange(30))
    plain.fit(X, Y, epochs=1, batch_size=16, rows=np.arange(30))
    for each, rows in ((net, frame(REVERSED, "polars")), (plain, X)):
        each.partial_fit(rows, Y, optimizer="adam")
        each.fit(rows, Y, epochs=1, memory_limit=10**8)
    assert_same_bits(net.parameters, plain.parameters)
    assert net.feature_names == NAMES


def test_validation_data_have_the_names_that_x_brings() -> None:
    plain = network().fit(X, Y, epochs=2, validation_data=(X[:20], Y[:20]))
    history = network().fit(frame(), Y, epochs=2, validation_data=(frame(REVERSED)[:20], Y[:20]))
    assert history.validation_loss == plain.validation_loss
    with pytest.raises(ValueError, match=r"^validation_data\[0\]: got no column named 'mass'"):
        network().fit(frame(), Y, validation_data=(frame(NAMES[:3]), Y))


def test_chunks_are_matched_to_the_first() -> None:
    def chunks(*kinds: Any) -> Any:
        parts = [(slice(0, 20), NAMES), (slice(20, 45), REVERSED), (slice(45, 60), ("mass", *NAMES[:3]))]
        return lambda: ((frame(names, values=X[rows]), pd.Series(Y[rows], name="kind")) for rows, names in parts)

    net, plain = network(), network()
    net.fit(chunks(), epochs=2, shuffle=False)
    plain.fit(lambda: iter([(X[:20], Y[:20]), (X[20:45], Y[20:45]), (X[45:], Y[45:])]), epochs=2, shuffle=False)
    assert_same_bits(net.parameters, plain.parameters)
    assert (net.feature_names, net.target_name) == (NAMES, "kind")
    other = network()  # validation data are checked before the first chunk is read, and go by its names all the same
    seen = other.fit(chunks(), epochs=2, shuffle=False, validation_data=(frame(REVERSED), Y))
    assert other.feature_names == REVERSED
    assert seen.validation_loss[-1] == other.loss(X[:, ::-1], Y)
    with pytest.raises(ValueError, match="^X of chunk 1: got columns that the network does not know, 'more'"):
        network().fit(lambda: iter([(frame(), Y), (frame().assign(more=1.0), Y)]))


def test_columns_that_are_missing_or_unknown_are_listed() -> None:
    for method in (NAMED.predict, lambda given: NAMED.fit(given, Y)):
        with pytest.raises(
            ValueError, match="^X: got no column named 'length', 'depth', expected all .* 'length', 'wi"
        ):
            method(frame(("width", "mass")))
        with pytest.raises(
            ValueError, match="^X: got columns that the network does not know, 'id', 'z', expected only"
        ):
            method(frame().assign(id=1, z=2))
        with pytest.raises(ValueError, match="^X: got no column named 'mass'"):  # also where the numbers agree
            method(frame().rename(columns={"mass": "weight"}))
    with pytest.raises(ValueError, match="^X: got more than one column named 'length', expected names that differ$"):
        network().fit(frame().set_axis(["length", "width", "depth", "length"], axis=1), Y)


def test_without_names_on_either_side_columns_count() -> None:
    numbered = frame().set_axis(range(4), axis=1)
    assert_same_bits(NAMED.logits(X), PLAIN.logits(X))
    assert_same_bits(NAMED.logits(numbered), PLAIN.logits(X))
    assert_same_bits(PLAIN.logits(frame(REVERSED)), PLAIN.logits(X[:, ::-1]))
    for labels in (range(4), ["a", "b", "c", 3], pd.MultiIndex.from_product([["a", "b"], ["c", "d"]])):
        assert fitted(frame().set_axis(labels, axis=1)).feature_names is None
    with pytest.raises(ValueError, match=r"^X: got shape \(60, 3\), expected"):
        NAMED.predict(numbered.iloc[:, :3])


def test_names_that_are_set_are_those_that_count() -> None:
    net = copy.deepcopy(PLAIN)
    net.feature_names = NAMES
    assert_same_bits(net.logits(frame(REVERSED)), PLAIN.logits(X))
    net = network()
    net.feature_names = NAMES
    net.fit(frame(REVERSED), Y, epochs=2, batch_size=16)
    assert_same_bits(net.parameters, PLAIN.parameters)


TARGETS: dict[str, tuple[Any, str | None]] = {
    "series": (pd.Series(Y, name="kind"), "kind"), "frame": (pd.DataFrame({"kind": Y}), "kind"),
    "polars": (pl.Series("kind", Y), "kind"), "polars frame": (pl.DataFrame({"kind": Y}), "kind"),
    "table": (pa.table({"kind": Y}), "kind"), "index": (pd.Index(Y, name="kind"), "kind"),
    "array": (Y, None), "without": (pd.Series(Y), None), "numbered": (pd.Series(Y, name=3), None),
    "polars without": (pl.Series(Y), None), "several": (pd.DataFrame(np.eye(3)[Y]), None), "column": (Y[:, None], None),
    "chunked": (pa.chunked_array([Y[:20], Y[20:]]), None), "list": (Y.tolist(), None),
}  # fmt: skip


@pytest.mark.parametrize("kind", TARGETS)
def test_a_target_gives_its_name(kind: str) -> None:
    y, name = TARGETS[kind]
    assert name_of(y) == name
    for options in ({}, {"memory_limit": 200_000}):
        net = network()
        net.fit(X, y, epochs=2, batch_size=16, **options)
        assert net.target_name == name
        assert_same_bits(net.parameters, PLAIN.parameters)
    net.target_name = "mine"
    net.fit(X, y, epochs=1)
    assert net.target_name == "mine"


def test_a_refused_fit_leaves_no_names(tmp_path: Path) -> None:
    named = pd.Series(Y, name="kind")
    spoiled = frame()
    spoiled.iloc[50, 2] = np.nan
    refused: dict[str, Callable[[MLP], Any]] = {
        "epochs": lambda net: net.fit(frame(), named, epochs=0), "NaN": lambda net: net.fit(spoiled, named),
        "labels": lambda net: net.fit(frame(), named + 1), "rows": lambda net: net.fit(frame(), named, rows=[99]),
        "weights": lambda net: net.fit(frame(), named, sample_weight=3),
        "shape": lambda net: net.fit(frame().assign(more=1.0), named),
        "validation": lambda net: net.fit(frame(), named, validation_data=(X, Y + 9)),
        "checkpoint": lambda net: net.fit(frame(), named, checkpoint=tmp_path / "no" / "folder"),
        "partial": lambda net: net.partial_fit(spoiled, named), "several": lambda net: fit_many([net], spoiled, named),
        "chunks": lambda net: net.fit(iter([(spoiled, named)]), epochs=1),
    }  # fmt: skip
    for what, call in refused.items():
        net = network()
        with pytest.raises((ValueError, TypeError, OSError)):
            call(net)
        assert (net.feature_names, net.target_name) == (None, None), what
        NAMED_AGAIN = copy.deepcopy(NAMED)
        with pytest.raises((ValueError, TypeError, OSError)):
            call(NAMED_AGAIN)
        assert (NAMED_AGAIN.feature_names, NAMED_AGAIN.target_name) == (NAMES, None), what


def test_files_keep_names_and_checkpoints_do_not_depend_on_them(tmp_path: Path) -> None:
    NAMED.save(tmp_path / "net.npz")
    assert_same_bits(fastbp.load(tmp_path / "net.npz").logits(frame(REVERSED)), PLAIN.logits(X))
    path = tmp_path / "run.npz"
    fitted(frame(), checkpoint=path)
    other = fitted(X, checkpoint=path)  # a finished run, returned at once
    assert other.feature_names is None
    assert_same_bits(other.parameters, PLAIN.parameters)


def test_many_networks() -> None:
    nets, plain = [network(), network(activation="tanh")], [network(), network(activation="tanh")]
    fit_many(nets, frame(), Y, epochs=2, validation_data=(frame(REVERSED), Y))
    fit_many(plain, X, Y, epochs=2)
    for net, other in zip(nets, plain, strict=True):
        assert net.feature_names == NAMES
        assert_same_bits(net.parameters, other.parameters)
    ensemble = Ensemble(nets)
    assert ensemble.feature_names == NAMES
    assert_same_bits(ensemble.outputs(frame(REVERSED, "polars")), Ensemble(plain).outputs(X))
    assert ensemble.score(frame(REVERSED), pd.DataFrame({"y": Y})) == Ensemble(plain).score(X, Y)
    with pytest.raises(ValueError, match="^X: got no column named 'mass'"):
        ensemble.predict(frame(NAMES[:3]))
    with pytest.raises(ValueError, match=r"^networks\[1\]: got feature names none, expected 'length', .* as of netw"):
        Ensemble([nets[0], plain[0]])


def test_cross_validation_and_search() -> None:
    settings: dict[str, Any] = {"epochs": 3, "seed": 3, "progress": False}
    expected = cross_validate({"sizes": (4, 3)}, X, Y, folds=3, **settings)
    for given in (frame(), frame(kind="pyarrow")):
        found = cross_validate({"sizes": (4, 3)}, given, pd.Series(Y, name="kind"), folds=3, **settings)
        assert_same_bits(found.scores, expected.scores)
        assert [(net.feature_names, net.target_name) for net in found.networks] == [(NAMES, "kind")] * 3

    def known(fold: int) -> MLP:
        net = MLP((4, 3), seed=3)
        net.feature_names = NAMES
        return net

    assert_same_bits(cross_validate(known, frame(REVERSED), Y, folds=3, **settings).scores, expected.scores)
    grid = {"sizes": [(4, 3), (4, 5, 3)]}
    best = search(grid, frame(), pl.Series("kind", Y), folds=3, refit=True, **settings)
    assert best.score == search(grid, X, Y, folds=3, **settings).score
    assert best.network is not None
    assert (best.network.feature_names, best.network.target_name) == (NAMES, "kind")


class Rank:
    """A communicator of two threads."""

    def __init__(self, rank: int, shared: dict[str, Any]):
        self._rank, self._shared = rank, shared

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return 2

    def allgather(self, value: Any) -> list[Any]:
        self._shared["values"][self._rank] = copy.deepcopy(value)
        self._shared["barrier"].wait(60)
        values = list(self._shared["values"])
        self._shared["barrier"].wait(60)
        return values

    def bcast(self, value: Any) -> Any:
        return copy.deepcopy(self.allgather(value)[0])

    def Bcast(self, array: Any) -> None:
        array[...] = self.allgather(array)[0]

    def Allgather(self, sent: Any, received: Any) -> None:
        received.reshape(2, -1)[...] = [np.ravel(each) for each in self.allgather(sent)]

    def Alltoall(self, sent: Any, received: Any) -> None:
        received[...] = [each.reshape(2, -1)[self._rank] for each in self.allgather(sent)]

    def Abort(self, code: int) -> None:
        self._shared["barrier"].abort()


def together(shards: list[tuple[Any, Any]], **options: Any) -> list[MLP]:
    shared = {"values": [None, None], "barrier": threading.Barrier(2)}
    nets = [network(), network()]
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            distributed.fit(nets[rank], *shards[rank], Rank(rank, shared), epochs=2, progress=False, **options)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]
    return nets


def test_ranks_go_by_the_names_of_the_first() -> None:
    first, second = slice(0, 30), slice(30, 60)
    shards = [(frame()[first], pd.Series(Y[first], name="kind")), (frame(REVERSED)[second], Y[second])]
    nets = together(shards)
    plain = together([(X[first], Y[first]), (X[second], Y[second])])
    for net in nets:
        assert (net.feature_names, net.target_name) == (NAMES, "kind")
        assert_same_bits(net.parameters, plain[0].parameters)
    with pytest.raises(ValueError, match="X_local: got no column named 'mass'"):
        together([shards[0], (frame(NAMES[:3])[second], Y[second])])


def test_a_picture_has_the_columns_in_order() -> None:
    pytest.importorskip("matplotlib")
    net = MLP((2, 3), seed=0)
    net.feature_names = NAMES[:2]
    axes = fastbp.plotting.plot_decision_regions(net, frame(("width", "length")), Y).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == NAMES[:2]
    for label, line in enumerate(axes.lines):
        np.testing.assert_array_equal(line.get_xydata(), X[label == Y, :2])


def test_estimators_keep_the_rules_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    classifier = fastbp.MLPClassifier((6,), max_iter=3, random_state=0, solver="sgd", tol=0.0, n_iter_no_change=99)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        classifier.fit(frame(), Y)
    expected = classifier.predict_proba(frame())
    assert classifier.network_.feature_names == NAMES
    assert_same_bits(classifier.network_.outputs(frame(REVERSED)), expected)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        classifier.predict(frame(REVERSED))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        classifier.partial_fit(frame(REVERSED), Y)
    assert classifier.network_.feature_names == NAMES
    classifier.feature_names_in_ = np.array(["a", "b", "c", "a"], object)  # which older ones of its versions take
    assert copy.deepcopy(classifier).network_.feature_names is None


# ---- several targets ----


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_several_targets_are_matched_by_name(frame: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    Y = {"p": X[:, 0] * 2, "q": X[:, 1] - 1.0}
    net, plain = (MLP((3, 5, 2), loss="mean_squared_error", seed=0) for _ in range(2))
    net.fit(X, frame(Y), epochs=5, batch_size=20)
    plain.fit(X, np.column_stack([Y["p"], Y["q"]]), epochs=5, batch_size=20)
    assert net.class_names == ("p", "q") and plain.class_names is None
    np.testing.assert_array_equal(net.parameters, plain.parameters)

    turned = frame({"q": Y["q"], "p": Y["p"]})
    assert net.score(X, turned) == net.score(X, frame(Y)) == plain.score(X, np.column_stack([Y["p"], Y["q"]]))
    net.fit(X, turned, epochs=2, batch_size=20)
    plain.fit(X, np.column_stack([Y["p"], Y["q"]]), epochs=2, batch_size=20)
    np.testing.assert_array_equal(net.parameters, plain.parameters)
    with pytest.raises(ValueError, match=r"y: got no column named 'q', expected all"):
        net.loss(X, frame({"p": Y["p"], "r": Y["q"]}))


def test_names_of_targets_are_not_taken_from_a_fit_that_is_refused() -> None:
    net = MLP((3, 5, 2), loss="mean_squared_error", seed=0)
    with pytest.raises(ValueError, match="NaN or infinity"):
        net.fit(np.full((4, 3), np.nan), pd.DataFrame(np.ones((4, 2)), columns=["p", "q"]))
    assert net.class_names is None
