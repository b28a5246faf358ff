"""The network's public face: construction, initial weights, copies, and outputs for every form of X."""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.program import passes
from support.networks import DTYPES, WIDE, close, network, parts, probabilities, rows

SIZES = ((2, 50, 4), (13, 57, 129, 7), (64, 100, 10), (5, 3), (9, 20, 37))  # of 37 classes: more than a vector holds


# ---- construction ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_parameters_are_one_flat_buffer(sizes: tuple[int, ...], dtype: str) -> None:
    net = MLP(sizes, dtype=dtype, seed=0)
    assert net.sizes == sizes
    assert net.classes == sizes[-1]
    assert net.dtype == np.dtype(dtype)
    assert [W.shape for W in net.weights] == list(itertools.pairwise(sizes))
    assert [b.shape for b in net.biases] == [(size,) for size in sizes[1:]]
    assert net.parameters.ndim == 1
    assert net.parameters.flags.c_contiguous
    assert net.parameters.flags.writeable
    net.parameters[...] = np.arange(net.parameters.size)
    at = 0
    for W, b in zip(net.weights, net.biases, strict=True):  # W1, b1, W2, b2, ..., nothing between them
        for part in (W, b):
            assert part.dtype == np.dtype(dtype)
            assert np.shares_memory(part, net.parameters)
            np.testing.assert_array_equal(part, np.arange(at, at + part.size).reshape(part.shape))
            at += part.size
    assert at == net.parameters.size


def test_writing_into_the_views_changes_the_network() -> None:
    net = network((3, 4, 2))
    X, _ = rows(6, net.sizes)
    for W in net.weights:
        W[...] = 0.0
    net.biases[-1][...] = [1.5, -2.5]
    np.testing.assert_array_equal(net.logits(X), np.broadcast_to(np.float32([1.5, -2.5]), (6, 2)))
    net.parameters *= 2
    np.testing.assert_array_equal(net.logits(X), np.broadcast_to(np.float32([3.0, -5.0]), (6, 2)))
    net.weights[1][0, 1] = 7.0
    assert net.parameters[3 * 4 + 4 + 1] == 7.0


def test_parameters_cannot_be_replaced_by_what_kernels_would_read_beyond() -> None:
    net = network((3, 4, 2))
    X, _ = rows(5, net.sizes)
    before = net.logits(X)
    strided = np.zeros(52, np.float32)[::2]
    for wrong in (np.zeros(3, np.float32), np.zeros(26), np.zeros((26, 1), np.float32), strided, None):
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # refused, or its values are taken over
            net.parameters = wrong
        assert isinstance(net.parameters, np.ndarray)
        assert (net.parameters.dtype, net.parameters.shape) == (np.dtype("f4"), (26,))
        assert net.parameters.flags.carray
    assert net.logits(X).shape == before.shape


@pytest.mark.parametrize("name", ["input_shift", "input_scale"])
def test_input_scaling_cannot_be_replaced_by_what_kernels_would_read_beyond(name: str) -> None:
    net = network((3, 4, 2), input_shift=0.5, input_scale=2.0)
    X, _ = rows(5, net.sizes)
    for wrong in (np.ones(1, np.float32), np.ones(3), np.ones((3, 1), np.float32), 0.25, "2", [1.0, 2.0, 3.0]):
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # refused, or its values are taken over
            setattr(net, name, wrong)
        kept = getattr(net, name)
        assert isinstance(kept, np.ndarray)
        assert (kept.dtype, kept.shape) == (np.dtype("f4"), (3,))
    assert net.logits(X).shape == (5, 2)


@pytest.mark.parametrize("sizes", [[3, 4, 2], np.array([3, 4, 2]), (np.int64(3), np.uint8(4), 2), iter((3, 4, 2))])
def test_sizes_of_any_sequence(sizes: Any) -> None:
    net = MLP(sizes, seed=0)
    assert net.sizes == (3, 4, 2)
    assert all(type(size) is int for size in net.sizes)


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("f4"), "f4"])
def test_dtype_by_any_name(dtype: Any) -> None:
    assert MLP((2, 2), dtype=dtype).parameters.dtype == np.float32


def test_float32_by_default() -> None:
    assert MLP((2, 2)).parameters.dtype == np.float32


@pytest.mark.parametrize(
    "text",
    [
        "MLP((2, 50, 4))", "MLP((2, 50, 4), activation='identity', dtype='float64')",
        "MLP((2, 5, 6, 3), activation=('tanh', 'leaky_relu'), loss='half_squared_error', leaky_slope=0.2)",
        "MLP((2, 5, 1), loss='huber', huber_delta=0.1, input_scale=0.003921569)",
        "MLP((3, 1), loss='huber', input_shift=[0.1, 0.2, 3.0], input_scale=[1.0, 10.0, 0.003921569])",
    ],
)  # fmt: skip
def test_repr_makes_such_a_network_again(text: str) -> None:
    """Every argument that is not the default, but for the seed and the initial weights."""
    net = eval(text)
    assert repr(net) == text
    for name in ("sizes", "activation", "loss_name", "dtype", "leaky_slope", "huber_delta"):
        assert getattr(eval(repr(net)), name) == getattr(net, name)
    for name in ("input_shift", "input_scale"):
        np.testing.assert_array_equal(getattr(eval(repr(net)), name), getattr(net, name))


def test_repr_is_short_whatever_the_number_of_features() -> None:
    assert repr(MLP((784, 10), input_shift=0.5, input_scale=np.arange(784))) == (
        "MLP((784, 10), input_shift=0.5, input_scale=<784 numbers>)"
    )


def test_seeds() -> None:
    def initial(seed: Any) -> Any:
        return MLP((4, 5, 3), seed=seed).parameters

    np.testing.assert_array_equal(initial(5), initial(5))
    assert (initial(5) != initial(6)).any()
    assert (initial(None) != initial(None)).any()
    np.testing.assert_array_equal(initial(np.random.default_rng(5)), initial(5))
    rng = np.random.default_rng(5)
    assert (initial(rng) != initial(rng)).any()  # it draws on


# ---- initial weights ----


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_initial_weights_are_drawn_in_float64_and_rounded(activation: str, dtype: str) -> None:
    net = MLP((30, 20, 10, 5), activation=activation, dtype=dtype, seed=11)
    rng = np.random.default_rng(11)
    for W in net.weights:
        fan_in, fan_out = W.shape
        deviation = np.sqrt(2.0 / fan_in if activation == "relu" else 2.0 / (fan_in + fan_out))
        np.testing.assert_array_equal(W, rng.normal(0.0, deviation, W.shape).astype(dtype))
    assert net.rng.bit_generator.state == rng.bit_generator.state
    assert all((b == 0).all() for b in net.biases)


@pytest.mark.parametrize(("activation", "variances"), [("relu", (2 / 400, 2 / 300)), ("identity", (2 / 700, 2 / 500))])
def test_initial_weights_are_he_or_glorot_normal(activation: str, variances: tuple[float, float]) -> None:
    for W, variance in zip(MLP((400, 300, 200), activation=activation, seed=1).weights, variances, strict=True):
        z, n = W.astype(np.float64) / np.sqrt(variance), W.size
        for power, moment, spread in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):  # of a standard normal: moment, its variance
            assert abs((z**power).mean() - moment) <= 5 * np.sqrt(spread / n)


# ---- forward ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("sizes", [*SIZES, (1, 1), (3, 4, 5, 6, 2)])
def test_outputs_agree_with_the_reference(sizes: tuple[int, ...], activation: str, dtype: str) -> None:
    shift, scale = np.linspace(-0.5, 0.5, sizes[0]), np.linspace(0.5, 1.5, sizes[0])
    net = network(sizes, dtype, activation=activation, input_shift=shift, input_scale=scale)
    length = sum(sizes) + 10
    for n in (1, 2, 37):
        X, y = rows(n, sizes, dtype)
        inputs = reference.scale_inputs(X, net.input_shift, net.input_scale)
        logits = reference.forward(net.weights, net.biases, inputs, activation)[-1]
        got = net.logits(X)
        assert got.dtype == np.dtype(dtype)
        close(got, logits, dtype, length)
        # a probability's relative error is the logits' absolute one
        close(net.predict_proba(X), reference.softmax(logits), dtype, length * (1 + np.ceil(np.abs(logits).max())))
        np.testing.assert_allclose(net.predict_proba(X).sum(axis=1), 1.0, rtol=0, atol=sizes[-1] * np.finfo(dtype).eps)
        predicted = net.predict(X)
        assert predicted.dtype == np.int64
        np.testing.assert_array_equal(predicted, got.argmax(axis=1))
        assert net.score(X, y) == pytest.approx((predicted == y).mean(), abs=1e-15)
        for l2 in (0.0, 0.25):
            expected = reference.loss(**parts(net), X=X, labels=y, l2=l2)
            close(net.loss(X, y, l2=l2), expected, dtype, 2 * length)


def test_predictions_agree_with_the_reference() -> None:
    net = network((13, 57, 129, 7), "float64")
    X, y = rows(400, net.sizes, "float64")
    expected = reference.forward(net.weights, net.biases, X)[-1].argmax(axis=1)
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(net.predict(X), expected)
    assert net.score(X, expected) == 1.0
    assert net.score(X, (expected + 1) % 7) == 0.0
    half = np.where(np.arange(400) < 100, expected, (expected + 1) % 7)
    assert net.score(X, half) == 0.25


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 5, 8, 9, 16, 17, 40])
def test_labels_as_rows_of_probabilities(classes: int, dtype: str) -> None:
    net = network((6, 9, classes), dtype)
    X, y = rows(23, net.sizes, dtype)
    t = probabilities(23, classes)
    assert (t > 0).sum() > 40
    for labels in (t, y):
        close(net.loss(X, labels, l2=0.1), reference.loss(**parts(net), X=X, labels=labels, l2=0.1), dtype, 40)
        g, expected = net.gradient(X, labels, l2=0.1), reference.gradient(**parts(net), X=X, labels=labels, l2=0.1)
        close(g.loss, expected[0], dtype, 40)
        for got, want in zip([*g.weights, *g.biases, g.inputs], [*expected[1], *expected[2], expected[3]], strict=True):
            close(got, want, dtype, 60)
    assert net.score(X, t) == (net.predict(X) == t.argmax(axis=1)).mean()

    one_hot = np.eye(classes)[y]  # the same bits as from indices
    assert net.loss(X, one_hot, l2=0.1) == net.loss(X, y, l2=0.1)
    assert net.score(X, one_hot) == net.score(X, y)
    a, b = net.gradient(X, y), net.gradient(X, one_hot)
    assert a.loss == b.loss
    for got, want in zip([*a.weights, *a.biases, a.inputs], [*b.weights, *b.biases, b.inputs], strict=True):
        np.testing.assert_array_equal(got, want)


def test_predict_takes_the_lowest_index_on_ties() -> None:
    net = MLP((3, 4, 5), seed=0)
    X, _ = rows(9, net.sizes)
    net.weights[-1][...] = 0.0
    ties = (([0, 0, 0, 0, 0], 0), ([-1, 2, 0, 2, 2], 1), ([-3, -3, -3, -2, -2], 3), ([-0.0, 0, 0, 0, 0], 0))
    for bias, lowest in ties:
        net.biases[-1][...] = bias
        assert (net.predict(X) == lowest).all()


def test_huge_logits_keep_their_loss_and_probabilities() -> None:
    net = MLP((1, 3), seed=0, dtype="float64")
    net.weights[0][...] = [[1000.0, 0.0, -1000.0]]
    X = np.array([[1.0], [-1.0], [0.0]])
    np.testing.assert_allclose(net.predict_proba(X), [[1, 0, 0], [0, 0, 1], [1 / 3] * 3], atol=1e-15)
    assert net.loss(X, [2, 2, 2]) == pytest.approx((2000 + 0 + np.log(3)) / 3, rel=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(13, 57, 129, 7), (64, 100, 10), (2, 50, 4), (9, 20, 37)])
def test_a_row_has_the_same_bits_in_every_batch(sizes: tuple[int, ...], dtype: str) -> None:
    net = network(sizes, dtype, input_scale=0.7)
    X, _ = rows(1000, sizes, dtype)
    alone = np.concatenate([net.predict_proba(X[i : i + 1]) for i in range(1000)])
    logits = np.concatenate([net.logits(X[i : i + 1]) for i in range(100)])
    for n in (*range(1, 71), 1000):
        begin = (7 * n) % (1001 - n)
        np.testing.assert_array_equal(net.predict_proba(X[begin : begin + n]), alone[begin : begin + n])
    np.testing.assert_array_equal(net.logits(X)[:100], logits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_where_a_call_goes_part_by_part(dtype: str) -> None:
    net = network(WIDE, dtype)
    assert passes.rows_at_once(net.model.network, net.dtype, 10**6) < 129
    X, y = rows(150, WIDE, dtype)
    alone = np.concatenate([net.predict_proba(X[i : i + 1]) for i in range(150)])
    for n in (63, 64, 65, 127, 128, 129, 150):
        np.testing.assert_array_equal(net.predict_proba(X[:n]), alone[:n])
    expected = reference.gradient(**parts(net), X=X, labels=y)
    g = net.gradient(X, y)
    close(g.loss, expected[0], dtype, 200)
    for got, want in zip([*g.weights, *g.biases, g.inputs], [*expected[1], *expected[2], expected[3]], strict=True):
        close(got, want, dtype, 1000)


# ---- what X may be ----


def input_forms(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(24, 6)) * 3
    whole = rng.integers(0, 200, (24, 6))
    wide = np.repeat(rng.normal(size=(48, 12)), 1, axis=0)
    memory = np.zeros(24 * 6 * 4 + 1, np.uint8)
    unaligned = memory[1:].view("f4").reshape(24, 6)
    unaligned[...] = x
    assert not unaligned.flags.aligned
    read_only = x.astype("f4")
    read_only.flags.writeable = False
    forms: dict[str, Any] = {
        kind: whole.astype(kind) for kind in ("u1", "i1", "i2", "u4", "i8", "u8", "?", ">i2", ">u4", ">i8")
    }
    forms |= {kind: x.astype(kind) for kind in ("f2", "f4", "f8", "longdouble", ">f2", ">f4", ">f8")}
    forms |= {
        "int64 beyond 2^24": whole + 2**24 + 1, "int64 beyond 2^53": whole + 2**53 + 1,
        "read-only": read_only, "Fortran": np.asfortranarray(x.astype("f4")), "Fortran f8": np.asfortranarray(x),
        "Fortran u1": np.asfortranarray(whole.astype("u1")), "unaligned": unaligned,
        "every second row": wide[::2, :6], "every second column": wide[:24, ::2], "backwards": x[::-1, ::-1],
        "part of wider rows": wide[:24, 3:9], "one row for all": np.broadcast_to(x[3].astype("f4"), (24, 6)),
        "list": x.tolist(), "tuple of lists": tuple(whole.tolist()), "tiny": x * 1e-42,
    }  # fmt: skip
    for kind in ("u1", "f4", "f8", ">f8"):
        path = folder / f"{kind[-2:]}{len(forms)}.dat"
        whole.astype(kind).tofile(path)
        forms[f"memory map of {kind}"] = np.memmap(path, kind, "r", shape=(24, 6))
    return forms


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_X_gives_the_bits_of_its_plain_conversion(dtype: str, tmp_path: Path) -> None:
    forms = input_forms(tmp_path)
    plain_net = network((6, 9, 5), dtype)
    scaled_net = network((6, 9, 5), dtype, input_shift=np.linspace(-1, 1, 6), input_scale=np.linspace(0.01, 0.1, 6))
    y = np.arange(24) % 5
    for name, X in forms.items():
        before = np.array(X)
        plain = np.array(X, dtype, order="C")
        assert plain.flags.carray, name
        for net in (plain_net, scaled_net):
            np.testing.assert_array_equal(net.predict_proba(X), net.predict_proba(plain), err_msg=name)
        # the scaling itself: two roundings in the compute dtype
        scaled = (plain - scaled_net.input_shift) * scaled_net.input_scale
        assert scaled.dtype == np.dtype(dtype)
        unscaled_net = network((6, 9, 5), dtype)
        np.testing.assert_array_equal(scaled_net.logits(X), unscaled_net.logits(scaled), err_msg=name)
        assert plain_net.loss(X, y) == plain_net.loss(plain, y), name
        assert plain_net.score(X, y) == plain_net.score(plain, y), name
        np.testing.assert_array_equal(scaled_net.gradient(X, y).inputs, scaled_net.gradient(plain, y).inputs, name)
        np.testing.assert_array_equal(np.asarray(X), before, err_msg=name)  # what came in was only read


def test_scaling_by_one_number_is_scaling_every_feature() -> None:
    X, _ = rows(10, (4, 3))
    one = network((4, 3), input_shift=0.5, input_scale=0.25)
    each = network((4, 3), input_shift=np.full(4, 0.5), input_scale=[0.25] * 4)
    np.testing.assert_array_equal(one.logits(X), each.logits(X))
    only_scale, only_shift = network((4, 3), input_scale=0.25), network((4, 3), input_shift=0.5)
    np.testing.assert_array_equal(only_scale.logits(X), network((4, 3)).logits(X * np.float32(0.25)))
    np.testing.assert_array_equal(only_shift.logits(X), network((4, 3)).logits(X - np.float32(0.5)))


# ---- copies ----


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_is_a_network_of_its_own(duplicate: Any) -> None:
    net = network((6, 9, 5), input_scale=0.5)
    X, y = rows(40, net.sizes)
    other = duplicate(net)
    assert not np.shares_memory(net.parameters, other.parameters)
    before = other.parameters.copy()
    net.fit(X, y, epochs=2)
    np.testing.assert_array_equal(other.parameters, before)
    other.fit(X, y, epochs=2)
    np.testing.assert_array_equal(other.parameters, net.parameters)


def test_a_network_that_joblib_maps_from_a_file_can_be_trained(tmp_path: Path) -> None:
    """Its large arrays come read-only, as files mapped to memory: compiled code that wrote into them would crash."""
    joblib = pytest.importorskip("joblib")
    X, y = np.random.default_rng(0).normal(size=(64, 200)), np.arange(64) % 3
    net = MLP((200, 90, 3), seed=0, input_scale=np.ones(200))
    net.partial_fit(X, y, optimizer="adam")
    joblib.dump(net, tmp_path / "net")
    mapped = joblib.load(tmp_path / "net", mmap_mode="r")
    for one in (net, mapped):
        one.partial_fit(X, y, optimizer="adam")
    np.testing.assert_array_equal(mapped.parameters, net.parameters)


# ---- constants of activations and losses ----


def test_constants_are_keywords_and_attributes() -> None:
    net = MLP((2, 3, 2), "elu", "quantile", elu_alpha=0.5, quantile_level=(0.1, np.float32(0.75)))
    assert (net.elu_alpha, net.quantile_level, net.leaky_slope) == (0.5, (0.1, 0.75), 0.01)  # type: ignore[attr-defined]
    assert net.constants["quantile_level"] == (0.1, 0.75)
    assert repr(net) == ("MLP((2, 3, 2), activation='elu', loss='quantile', elu_alpha=0.5, quantile_level=(0.1, 0.75))")
    with pytest.raises(AttributeError, match="elu_alfa"):
        net.elu_alfa  # type: ignore[attr-defined]  # noqa: B018
    for name in net.constants:  # setting one would change nothing of what is computed
        with pytest.raises(AttributeError):
            setattr(net, name, 0.3)
    assert net.constants["elu_alpha"] == 0.5


@pytest.mark.parametrize(
    ("constants", "error", "message"),
    [
        (
            {"leaky_slop": 0.1},
            TypeError,
            r"^MLP: got the keyword 'leaky_slop', expected one of the constants leaky_slope, ",
        ),
        (
            {"quantile_level": (0.1, 0.5)},
            ValueError,
            r"^quantile_level: got 2 numbers, expected one, or one for each of",
        ),
        ({"quantile_level": (0.1, [0.2], 0.3)}, TypeError, r"^quantile_level: got \[0.2\]"),
        ({"quantile_level": 0.0}, ValueError, r"^quantile_level: got 0"),
        ({"quantile_level": 1.0}, ValueError, r"^quantile_level: got 1"),
        ({"quantile_level": (0.1, 0.5, 2)}, ValueError, r"^quantile_level: got 2"),
        ({"quantile_level": "0.5"}, TypeError, r"^quantile_level: got '0.5'"),
        ({"elu_alpha": (0.1, 0.5, 0.5)}, TypeError, r"^elu_alpha: got \(0.1"),
    ],
)
def test_constants_are_checked(constants: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MLP((2, 3), **constants)


def test_the_quantile_loss_learns_quantiles() -> None:
    """Of targets that do not depend on X, by the biases alone."""
    rng, levels = np.random.default_rng(0), (0.1, 0.5, 0.9)
    t = rng.normal(size=(4000, 1)).repeat(3, axis=1)
    net = MLP((1, 3), loss="quantile", dtype="float64", seed=0, quantile_level=levels)
    net.fit(np.zeros((4000, 1)), t, epochs=20, batch_size=400, learning_rate=0.2)
    net.fit(np.zeros((4000, 1)), t, epochs=20, batch_size=400, learning_rate=0.01)
    shares = (t <= net.predict(np.zeros((1, 1)))).mean(axis=0)
    np.testing.assert_allclose(shares, levels, atol=0.02)


def test_constants_come_back_from_a_file(tmp_path: Path) -> None:
    net = MLP((2, 4, 3), "elu", "quantile", seed=0, elu_alpha=0.25, quantile_level=(0.1, 0.5, 0.9))
    net.save(tmp_path / "net.npz")
    back = fastbp.load(tmp_path / "net.npz")
    assert back.constants == net.constants
    X = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_array_equal(back.predict(X), net.predict(X))
    assert back.loss(X, np.ones((5, 3))) == net.loss(X, np.ones((5, 3)))
