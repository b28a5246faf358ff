"""Networks of every activation and loss: outputs, loss and gradients against the reference, and against differences.

Bounds are those of `gradient_bounds`, one for each entry.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fastbp import MLP, gradcheck, reference
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from support.gradient_bounds import bounds_of
from support.lanes import pairwise
from support.network_cases import network, targets_of

DTYPES = ("float64", "float32")
TWICE = 2.0  # the reference rounds too
KEY = 2**63 + 12345
WEIGHTS = ("none", "random", "some zero", "all zero")


def weights_of(kind: str, n: int, dtype: str) -> Any:
    weight = np.random.default_rng(n).uniform(0.1, 3, n).astype(dtype)
    if kind == "some zero":
        weight[::2] = 0 if n > 1 else weight[0]
    return {"none": None, "all zero": np.zeros(n, dtype)}.get(kind, weight)


def masks_of(net: MLP, n: int, dropout: float) -> Any:
    return reference.dropout_masks(KEY, net.sizes[1:-1], n, dropout) if dropout else None


def expected_of(net: MLP, X: Any, y: Any, l2: float, weight: Any, masks: Any) -> tuple[float, Any, Any, Any]:
    """The reference, to which weights that are all 0 mean nothing: then the penalty alone is left."""
    nothing = weight is not None and not weight.any()
    loss, dWs, dbs, dX = reference.gradient(
        net.weights, net.biases, X, y, l2, net.activation, net.input_shift, net.input_scale, loss_name=net.loss_name,
        sample_weight=None if nothing else weight, masks=masks, **net.constants,
    )  # fmt: skip
    if nothing:
        loss = l2 / 2 * sum(float((W.astype(np.float64) ** 2).sum()) for W in net.weights)
        dWs, dbs, dX = [l2 * W.astype(np.float64) for W in net.weights], [0 * db for db in dbs], 0 * dX
    return loss, dWs, dbs, dX


def assert_within(what: str, got: Any, expected: Any, bound: Any) -> None:
    error = np.abs(np.asarray(got, np.float64) - expected)
    allowed = np.broadcast_to(TWICE * np.asarray(bound) + np.finfo(np.float32).smallest_subnormal, error.shape)
    assert error.shape == np.shape(expected) == np.shape(got), what
    wrong = ~(error <= allowed)
    assert not wrong.any(), (f"{what}: {wrong.sum()} of {wrong.size} beyond their bounds, "
                             f"{error[wrong][0]:.3g} where {allowed[wrong][0]:.3g} is allowed")  # fmt: skip


def check(net: MLP, n: int, soft: bool, weights: str, l2: float, dropout: float) -> None:
    """`gradient` and, without dropout, `loss` against the reference."""
    dtype = net.dtype.name
    what = f"{n} rows, weights {weights}, l2 {l2}, dropout {dropout}, {net.sizes}, soft {soft}"
    X = np.random.default_rng(n).normal(size=(n, net.sizes[0])).astype(dtype)
    y, weight = targets_of(net.loss_name, n, net.sizes[-1], dtype, soft), weights_of(weights, n, dtype)
    masks = masks_of(net, n, dropout)
    loss, dWs, dbs, dX = expected_of(net, X, y, l2, weight, masks)
    bound = bounds_of(net, X, y, l2, weight, masks)
    found = net.gradient(X, y, l2, sample_weight=weight, dropout=dropout, dropout_key=KEY)
    assert_within(f"loss, {what}", found.loss, loss, bound.loss)
    for layer, (dW, db) in enumerate(zip(dWs, dbs, strict=True)):
        assert_within(f"weights[{layer}], {what}", found.weights[layer], dW, bound.weights[layer])
        assert_within(f"biases[{layer}], {what}", found.biases[layer], db, bound.biases[layer])
    assert_within(f"inputs, {what}", found.inputs, dX, bound.inputs)
    if not dropout:
        assert_within(f"loss alone, {what}", net.loss(X, y, l2, sample_weight=weight), loss, bound.loss)


@pytest.mark.parametrize("activation, loss, dtype", pairwise(ACTIVATIONS, LOSSES, DTYPES))
def test_gradients_agree_with_the_reference(activation: str, loss: str, dtype: str) -> None:
    """Every form of weights, l2 and dropout, and by turns 1 row or 37, one output or three, inputs scaled or not."""
    one = 2 if loss == "softmax_cross_entropy" else 1  # of one class there is nothing to learn
    nets = [network((5, 9, 6, outputs), activation, loss, dtype, scaled)
            for outputs in (one, 3) for scaled in (False, True)]  # fmt: skip
    cases = itertools.product(range(4), range(2), range(2))
    for weights, l2, dropout in cases:
        outputs, scaled, rows = (weights // 2 + l2) % 2, (weights + dropout) % 2, (weights + l2 + dropout) % 2
        soft = weights > 1
        check(nets[2 * outputs + scaled], (37, 1)[rows], soft, WEIGHTS[weights], 0.02 * l2, 0.3 * dropout)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_many_rows_part_by_part(loss: str, dtype: str) -> None:
    """300 rows in one part and in several, each layer with an activation of its own; more classes than a vector holds.

    Dropout's masks go on from part to part.
    """
    names, at = 2 * tuple(ACTIVATIONS), list(LOSSES).index(loss)
    for turn, rows_at_once in enumerate((10**6, 41, 299)):
        first = (at + 2 * turn) % len(ACTIVATIONS)
        net = network((5, 20, 23, 18, 19), names[first : first + 3], loss, dtype, scaled=turn == 1)
        net.model.rows_at_once = rows_at_once
        check(net, 300, turn == 1, WEIGHTS[turn], 0.02, 0.3 if turn else 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_outputs_and_predictions(loss: str, dtype: str) -> None:
    for outputs, scaled in ((1, False), (4, True), (21, False)):
        net = network((5, 9, 6, outputs), ("gelu", "tanh"), loss, dtype, scaled)
        X = np.random.default_rng(3).normal(size=(50, 5)).astype(dtype)
        y = targets_of(loss, 50, outputs, dtype)
        inputs = reference.scale_inputs(X, net.input_shift, net.input_scale)
        logits = reference.forward(net.weights, net.biases, inputs, net.activation)[-1]
        bound = bounds_of(net, X, y, 0.0, None, None).logits
        assert_within("logits", net.logits(X), logits, bound)
        found, eps = net.outputs(X), np.finfo(dtype).eps
        # Softmax and logistic have slopes below 1, the exponential its own value's.
        wanted = reference.outputs_of(loss, logits)
        widest = bound.max(axis=1, keepdims=True) + 16 * eps * (1 + np.ptp(logits, axis=1, keepdims=True))
        assert_within("outputs", found, wanted, np.maximum(1, wanted) * widest if wanted is not logits else bound)
        check_predictions(net, X, y, logits, bound)
        if LOSSES[loss].classifies:
            np.testing.assert_array_equal(net.predict_proba(X), found)
        else:
            with pytest.raises(ValueError, match="predict_proba"):
                net.predict_proba(X)


def check_predictions(net: MLP, X: Any, y: Any, logits: Any, bound: Any) -> None:
    found, kind = net.predict(X), LOSSES[net.loss_name].targets
    flat = kind == "classes" or net.sizes[-1] == 1
    assert found.shape == ((50,) if flat else (50, net.sizes[-1]))
    if kind in ("numbers", "counts"):
        np.testing.assert_array_equal(found.reshape(net.outputs(X).shape), net.outputs(X))
        t, answers = np.asarray(y, np.float64).reshape(logits.shape), found.reshape(logits.shape).astype(np.float64)
        shares = [1 - np.sum((t - a) ** 2) / np.sum((t - t.mean()) ** 2)
                  for t, a in zip(t.T, answers.T, strict=True)]  # fmt: skip
        assert net.score(X, y) == pytest.approx(np.mean(shares), rel=1e-12)  # computed in float64 of the same answers
        return
    assert found.dtype == np.int64
    if kind == "classes":
        np.testing.assert_array_equal(found, logits.argmax(axis=1))
        assert net.score(X, y) == np.mean(logits.argmax(axis=1) == y)
    else:
        assert (np.abs(logits) > bound).all()  # else a sign would be open
        np.testing.assert_array_equal(found.reshape(logits.shape), logits > 0)
        right = (logits > 0) == (np.reshape(y, logits.shape) > 0.5)
        assert net.score(X, y) == right.all(axis=1).mean()


@pytest.mark.parametrize("activation, loss, dtype", pairwise(ACTIVATIONS, LOSSES, DTYPES))
def test_gradients_of_each_row(activation: str, loss: str, dtype: str) -> None:
    net = network((4, 7, 5, 3), (activation, "silu"), loss, dtype, scaled=True)
    X = np.random.default_rng(3).normal(size=(9, 4)).astype(dtype)
    y = targets_of(loss, 9, 3, dtype)
    net.model.rows_at_once = 4
    found = net.sample_gradients(X, y)
    for i in range(9):
        row = slice(i, i + 1)
        value, dWs, dbs, dX = expected_of(net, X[row], y[row], 0.0, None, None)
        bound = bounds_of(net, X[row], y[row], 0.0, None, None)
        assert_within("losses", found.losses[i], value, bound.loss)
        assert_within("inputs", found.inputs[row], dX, bound.inputs)
        for layer, (dW, db) in enumerate(zip(dWs, dbs, strict=True)):
            assert_within("weights", found.weights[layer][i], dW, bound.weights[layer])
            assert_within("biases", found.biases[layer][i], db, bound.biases[layer])


def test_a_share_of_dropout_below_the_units_of_the_hash_drops_nothing() -> None:
    """Shares are counted in units of 2^-53."""
    net = network((5, 9, 6, 3), "tanh", "softmax_cross_entropy", "float64")
    X, y = np.random.default_rng(3).normal(size=(20, 5)), np.arange(20) % 3
    plain, least = net.gradient(X, y), net.gradient(X, y, dropout=1e-300)
    assert plain.loss == least.loss
    np.testing.assert_array_equal(plain.inputs, least.inputs)
    most = net.gradient(X, y, dropout=1 - 2**-53)  # drops all
    expected = reference.loss_of("softmax_cross_entropy", np.tile(net.biases[-1], (20, 1)), y)[0]
    assert most.loss == pytest.approx(expected, rel=1e-14)


# ---- against differences ----


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_against_central_differences(activation: str, loss: str) -> None:
    net = network((3, 4, 3, 2), (activation, "tanh"), loss, "float64", scaled=True)
    X = np.random.default_rng(5).normal(size=(6, 3))
    y = targets_of(loss, 6, 2, "float64")
    options: Any = {"l2": 0.02, "sample_weight": weights_of("random", 6, "float64"), "dropout": 0.2,
                    "dropout_key": KEY}  # fmt: skip
    at, found = net.parameters.copy(), net.gradient(X, y, **options)

    def of_parameters(values: Any) -> float:
        net.parameters = values
        loss = net.gradient(X, y, **options).loss
        net.parameters = at
        return loss

    flat = np.concatenate([part.ravel() for pair in zip(found.weights, found.biases, strict=True) for part in pair])
    result = gradcheck(of_parameters, flat, at)
    assert result, str(result)
    assert result.skipped <= 2
    result = gradcheck(lambda X: net.gradient(X, y, **options).loss, found.inputs, X)
    assert result, str(result)
    assert result.skipped <= 2
