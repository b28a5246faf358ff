"""Embeddings: columns of X whose numbers name vectors of a table, forward and back."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, gradcheck, reference
from fastbp.program.tuning import forced
from fastbp.verify.bits import SPLITS
from support.comparisons import assert_same_bits
from support.embedded import EMBEDDINGS, embedded, rows_for, vectors_of, without_embeddings

DTYPES = ("float32", "float64")


# ---- parameters ----


def test_tables_lie_behind_weights_and_biases() -> None:
    net = embedded()
    width = 3 + 3 + 19
    assert [W.shape for W in net.weights] == [(width, 12), (12, 6), (6, 3)]
    assert {column: table.shape for column, table in net.embeddings.items()} == EMBEDDINGS
    layers = sum(part.size for part in (*net.weights, *net.biases))
    assert net.parameters.size == layers + 7 * 3 + 90 * 19
    net.parameters[layers:] = np.arange(7 * 3 + 90 * 19)
    assert_same_bits(net.embeddings[1], np.arange(21, dtype=np.float32).reshape(7, 3))
    assert net.embeddings[4][-1, -1] == 7 * 3 + 90 * 19 - 1
    net.embeddings[1][0, 0] = -1
    assert net.parameters[layers] == -1


@pytest.mark.parametrize("dtype", DTYPES)
def test_tables_are_drawn_behind_the_weights_from_a_standard_normal_distribution(dtype: str) -> None:
    net, plain = MLP((3, 20, 2), embeddings={2: (300, 50)}, dtype=dtype, seed=7), MLP((52, 20, 2), dtype=dtype, seed=7)
    for ours, theirs in zip(net.weights, plain.weights, strict=True):
        assert_same_bits(ours, theirs)
    table = net.embeddings[2]
    assert_same_bits(table, plain.rng.standard_normal((300, 50)).astype(dtype))
    assert abs(table.mean()) < 0.05
    assert abs(table.std() - 1) < 0.05


def test_the_order_of_the_mapping_does_not_matter() -> None:
    assert_same_bits(
        embedded(embeddings=dict(reversed(EMBEDDINGS.items()))).parameters, embedded(embeddings=EMBEDDINGS).parameters
    )


def test_tables_may_be_given() -> None:
    given = [np.ones((3, 2)), np.zeros(2), [[1.0, 2.0], [3.0, 4.0]]]
    net = MLP((2, 2), initializer=given, embeddings={0: (2, 2)})
    np.testing.assert_array_equal(net.embeddings[0], given[2])
    with pytest.raises(ValueError, match=r"initializer: got 2 arrays, .* or 3 arrays: W1, .*, then the embe"):
        MLP((2, 2), initializer=given[:2], embeddings={0: (2, 2)})


def test_without_embeddings_nothing_changes() -> None:
    for given in (None, {}):
        net, plain = MLP((4, 6, 3), seed=2, embeddings=given), MLP((4, 6, 3), seed=2)
        assert_same_bits(net.parameters, plain.parameters)
        assert net.model.network is plain.model.network
        assert net.embeddings == net.gradient(np.ones((1, 4)), [0]).embeddings == {}
        assert "embeddings" not in net.model.describe()


@pytest.mark.parametrize(
    "given, error, message",
    [
        (3, TypeError, "embeddings: got 3, expected a mapping of columns of X to .levels, width."),
        ([(0, 3, 2)], TypeError, "embeddings: got .*, expected a mapping"),
        ({5: (1, 1)}, ValueError, "embeddings: got column 5, expected one from 0 to 4"),
        ({-1: (1, 1)}, ValueError, "embeddings: column: got -1, expected at least 0"),
        ({"a": (1, 1)}, TypeError, "embeddings: column: got 'a', expected a whole number"),
        ({0: 3}, ValueError, r"embeddings\[0\]: got 3, expected \(levels, width\)"),
        ({0: (3, 4, 5)}, ValueError, r"embeddings\[0\]: got \(3, 4, 5\), expected \(levels, width\)"),
        ({0: (0, 1)}, ValueError, r"embeddings\[0\]: got 0, expected at least 1"),
        ({0: (3, 0)}, ValueError, r"embeddings\[0\]: got 0, expected at least 1"),
        ({0: (3, 1.5)}, TypeError, r"embeddings\[0\]: got 1.5, expected a whole number"),
        ({0: (2**24 + 1, 1)}, ValueError, r"embeddings\[0\]: got 16777217 levels, expected at most 16777216"),
        ({0: (2**24, 2**60)}, ValueError, "embeddings: got .*, expected a network that fits into memory"),
    ],
)  # fmt: skip
def test_wrong_embeddings_are_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MLP((5, 2), embeddings=given)


def test_input_scaling_leaves_embedded_columns_out() -> None:
    net = embedded(input_shift=2.0, input_scale=0.5)
    assert net.input_shift is not None
    assert net.input_scale is not None
    assert net.input_shift.tolist() == [2, 0, 2, 2, 0]
    assert net.input_scale.tolist() == [0.5, 1, 0.5, 0.5, 1]
    X, _ = rows_for(net)
    scaled = (X - net.input_shift) * net.input_scale
    assert_same_bits(net.logits(X), without_embeddings(net).logits(vectors_of(net, scaled)))
    embedded(input_shift=[1, 0, 1, 1, 0], input_scale=[3, 1, 3, 3, 1])
    with pytest.raises(ValueError, match="input_shift: got 1.0 for column 4, which is embedded; expected 0"):
        embedded(input_shift=[1, 0, 1, 1, 1])
    with pytest.raises(ValueError, match="input_scale: got 2.0 for column 1, which is embedded; expected 1"):
        embedded(input_scale=[3, 2, 3, 3, 1])


# ---- what is computed ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("embeddings", [EMBEDDINGS, {0: (2, 1)}, {2: (5, 16)}, dict.fromkeys(range(5), (9, 4))])
@pytest.mark.parametrize("n", [1, 2, 53, 700])
def test_an_embedding_is_a_layer_of_the_same_bits_over_its_vectors(dtype: str, embeddings: Any, n: int) -> None:
    net = embedded(dtype, embeddings=embeddings)
    X, y = rows_for(net, n)
    inputs, layers = vectors_of(net, X), without_embeddings(net)
    for _ in range(3):  # the second time with a pass that is bound, the third by it
        assert_same_bits(net.logits(X), layers.logits(inputs))
    assert_same_bits(net.outputs(X.astype(np.float64)), layers.outputs(inputs))
    assert_same_bits(net.hidden(X, 0), layers.hidden(inputs, 0))
    assert net.loss(X, y) == layers.loss(inputs, y)
    g, wanted = net.gradient(X, y), layers.gradient(inputs, y)
    assert g.loss == wanted.loss
    for ours, theirs in zip((*g.weights, *g.biases), (*wanted.weights, *wanted.biases), strict=True):
        assert_same_bits(ours, theirs)
    plain = [column for column in range(5) if column not in embeddings]
    assert_same_bits(g.inputs[:, plain], wanted.inputs[:, : len(plain)])
    assert_same_bits(g.inputs[:, list(embeddings)], np.zeros((n, len(embeddings)), dtype))
    at = len(plain)
    for column, table in net.embeddings.items():
        total = np.zeros_like(table)
        for i in range(n):  # in ascending order
            total[int(X[i, column])] += wanted.inputs[i, at : at + table.shape[1]]
        at += table.shape[1]
        assert_same_bits(g.embeddings[column], total)


def test_gradients_agree_with_the_reference_and_with_differences() -> None:
    net = embedded("float64", input_scale=0.5)
    X, y = rows_for(net)
    weight = np.random.default_rng(1).uniform(0, 2, len(X))
    g = net.gradient(X, y, 0.1, sample_weight=weight)
    parameters = net.embeddings, net.weights, net.biases
    value, dWs, dbs, dX, d_tables = reference.embedded_gradient(
        *parameters, X, y, 0.1, "silu", None, net.input_scale, sample_weight=weight
    )
    assert g.loss == pytest.approx(value, rel=1e-14)
    for got, wanted in zip(
        [*g.weights, *g.biases, g.inputs, *g.embeddings.values()], [*dWs, *dbs, dX, *d_tables.values()], strict=True
    ):
        assert np.abs(got - wanted).max() <= 1e-13 * np.abs(wanted).max()
    for column, table in net.embeddings.items():
        start = table.copy()

        def loss(values: Any, table: Any = table) -> float:
            table[...] = values
            return net.loss(X, y, 0.1, sample_weight=weight)

        assert gradcheck(loss, g.embeddings[column], start)
        table[...] = start


def test_levels_that_no_row_has_get_the_penalty_alone() -> None:
    net = embedded("float64")
    X, y = rows_for(net)
    X[:, 4] %= 10
    assert not net.gradient(X, y).embeddings[4][10:].any()
    assert_same_bits(net.gradient(X, y, 0.5).embeddings[4][10:], 0.5 * net.embeddings[4][10:])
    squares = sum((part**2).sum() for part in (*net.weights, *net.embeddings.values()))
    assert net.loss(X, y, 0.5) == pytest.approx(net.loss(X, y) + 0.25 * squares, rel=1e-14)


def test_backward_takes_derivatives_of_the_logits() -> None:
    net = embedded("float64")
    X, y = rows_for(net)
    found = net.backward(X, (net.outputs(X) - np.eye(3)[y]) / len(X))
    for column, wanted in net.gradient(X, y).embeddings.items():
        np.testing.assert_allclose(found.embeddings[column], wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_row_has_the_gradient_that_it_has_alone(dtype: str) -> None:
    net = embedded(dtype)
    X, y = rows_for(net, 9)
    each = net.sample_gradients(X, y)
    for i in range(9):
        alone = net.gradient(X[i : i + 1], y[i : i + 1])
        assert_same_bits(each.weights[0][i], alone.weights[0])
        for column, table in alone.embeddings.items():
            assert_same_bits(each.embeddings[column][i], table)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_on_any_number_of_threads(dtype: str) -> None:
    def results() -> list[Any]:
        net = embedded(dtype)
        X, y = rows_for(net, 400)
        g = net.gradient(X, y, 0.01)
        for optimizer, clip in (("sgd", None), ("adam", 0.1), ("momentum", None)):
            net.fit(X, y, 2, 150, l2=0.01, optimizer=optimizer, dropout=0.2, max_grad_norm=clip)
        return [net.logits(X), *g.weights, *g.biases, g.inputs, *g.embeddings.values(), net.parameters]

    with fastbp.threads.limit(1):
        wanted = results()
    for way in SPLITS:
        with forced(way):
            for ours, theirs in zip(results(), wanted, strict=True):
                assert_same_bits(ours, theirs)


def test_no_step_is_compiled_for_such_a_network() -> None:
    """The general pass serves it, however narrow it is."""
    assert not {"predictions"} & fastbp.warmup(embedded(), optimizers="sgd").keys()
    assert "predictions" in fastbp.warmup(without_embeddings(embedded()), optimizers="sgd")


# ---- copies and files ----


def test_copies_pickles_and_files_have_the_tables(tmp_path: Path) -> None:
    net = embedded(input_shift=1.0)
    X, y = rows_for(net)
    net.fit(X, y, 2, 16, optimizer="adam")
    net.save(tmp_path / "net.npz")
    for other in (
        fastbp.load(tmp_path / "net.npz"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net)
    ):  # fmt: skip
        assert_same_bits(other.parameters, net.parameters)
        assert other.embeddings.keys() == net.embeddings.keys()
        assert_same_bits(other.logits(X), net.logits(X))
    loaded = fastbp.load(tmp_path / "net.npz")
    for either in (net, loaded):  # it goes on as if it had not stopped
        either.fit(X, y, 2, 16)
    assert_same_bits(loaded.parameters, net.parameters)


def test_repr_names_the_embeddings() -> None:
    assert repr(embedded()) == "MLP((5, 12, 6, 3), activation='silu', embeddings={1: (7, 3), 4: (90, 19)})"


@pytest.mark.parametrize(
    "stored", [None, 3, [[1, 7]], [[1, 7, 4], [4, 90, 19]], [[9, 7, 3]], [[True, 7, 3]], [[1, "7", 3]], []]
)
def test_a_file_with_wrong_embeddings_is_refused(stored: Any, tmp_path: Path) -> None:
    from fastbp.model import npz_file

    net = embedded()
    net.save(tmp_path / "net.npz")
    arrays, metadata = npz_file.read(tmp_path / "net.npz")
    assert metadata["embeddings"] == [[1, 7, 3], [4, 90, 19]]
    npz_file.write(tmp_path / "net.npz", arrays, {**metadata, "embeddings": stored})
    with pytest.raises(fastbp.CheckpointError, match="not a network that fastbp can read"):
        fastbp.load(tmp_path / "net.npz")


def test_ensembles_mean_and_save_them(tmp_path: Path) -> None:
    networks = [embedded(), embedded(embeddings={1: (7, 3)}), MLP((5, 4, 3), seed=0)]
    X, _ = rows_for(networks[0])
    ensemble = fastbp.Ensemble(networks)
    mean = sum(net.outputs(X).astype(np.float64) for net in networks) / 3
    np.testing.assert_allclose(ensemble.outputs(X), mean, rtol=1e-6)
    ensemble.save(tmp_path / "many.npz")
    assert_same_bits(fastbp.Ensemble.load(tmp_path / "many.npz").outputs(X), ensemble.outputs(X))
