"""Label smoothing: against the reference, the same bits from labels and one-hot rows, errors."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.program.tuning import Tuning, forced
from support.network_cases import network, targets_of

SIZES, N, BATCH, EPOCHS, SHARE = (4, 9, 6, 3), 37, 10, 3, 0.2
LOSSES = ("softmax_cross_entropy", "binary_cross_entropy", "binary_cross_entropy_sum")


def case(loss: str = LOSSES[0], dtype: str = "float64", outputs: int = 3, soft: bool = False) -> tuple[MLP, Any, Any]:
    net = network((*SIZES[:-1], outputs), ("tanh", "gelu"), loss, dtype)
    return (
        net,
        np.random.default_rng(8).normal(size=(N, SIZES[0])).astype(dtype),
        targets_of(loss, N, outputs, dtype, soft),
    )


@pytest.mark.parametrize("outputs", [1, 3, 40])
@pytest.mark.parametrize("loss, soft", [(LOSSES[0], True), *((loss, False) for loss in LOSSES)])
def test_fit_agrees_with_the_reference(loss: str, soft: bool, outputs: int) -> None:
    for weighted, share in itertools.product((False, True), (0.1, 1.0)):
        net, X, y = case(loss, outputs=outputs, soft=soft)
        weight = np.random.default_rng(2).uniform(0.2, 2, N) if weighted else None
        draws = copy.deepcopy(net.rng)
        order = [draws.permutation(N) for _ in range(EPOCHS)]
        Ws, bs, losses = reference.train(
            net.weights, net.biases, X, y, order, BATCH, 0.02, 0.01, net.activation, sample_weight=weight,
            optimizer="adam", label_smoothing=share, loss_name=loss, **net.constants,
        )  # fmt: skip
        history = net.fit(X, y, EPOCHS, BATCH, 0.02, 0.01, "adam", sample_weight=weight, label_smoothing=share)
        for one, other in zip([*net.weights, *net.biases], [*Ws, *bs], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
        counts = [min(BATCH, N - begin) for begin in range(0, N, BATCH)]
        np.testing.assert_allclose(history.loss, losses.reshape(EPOCHS, -1) @ counts / N, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [2, 3, 40])
def test_labels_and_one_hot_rows_give_the_same_bits(outputs: int, dtype: str) -> None:
    labels, X, y = case(dtype=dtype, outputs=outputs)
    rows = copy.deepcopy(labels)
    labels.fit(X, y, EPOCHS, BATCH, label_smoothing=SHARE)
    rows.fit(X, np.eye(outputs)[y], EPOCHS, BATCH, label_smoothing=SHARE)
    np.testing.assert_array_equal(labels.parameters, rows.parameters)


def test_a_share_of_0_is_none() -> None:
    one, X, y = case()
    same = copy.deepcopy(one)
    one.fit(X, y, EPOCHS, BATCH)
    same.fit(X, y, EPOCHS, BATCH, label_smoothing=0.0)
    np.testing.assert_array_equal(one.parameters, same.parameters)


WAYS = {
    "none": Tuning(), "2 x 2 parts": Tuning(row_parts=2, column_parts=2), "slabs": Tuning(slabs=True, row_parts=3),
    "specialised": Tuning(specialised=True), "parallel": Tuning(parallel=True),
}  # fmt: skip


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("outputs", [3, 40])
def test_the_same_bits_however_a_step_is_cut(outputs: int, soft: bool) -> None:
    found = set()
    for way, threads in itertools.product(WAYS.values(), (1, 2)):
        with forced(way), fastbp.threads.limit(threads):
            net, X, y = case(dtype="float32", outputs=outputs, soft=soft)
            net.fit(X, y, EPOCHS, BATCH, optimizer="adam", label_smoothing=SHARE)
            found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_other_ways_to_train() -> None:
    """In pieces, from chunks, many networks with a share each; the validation loss is of targets as they are."""
    net, X, y = case()
    options: dict[str, Any] = {"batch_size": BATCH, "label_smoothing": SHARE}
    parts, chunks, first, second = (copy.deepcopy(net) for _ in range(4))
    history = net.fit(X, y, epochs=1, shuffle=False, validation_data=(X, y), **options)
    assert history.validation_loss == [net.loss(X, y)]
    parts.partial_fit(X, y, **options)
    chunks.fit(iter([(X[:20], y[:20]), (X[20:], y[20:])]), epochs=1, shuffle=False, **options)
    for other in (parts, chunks):
        np.testing.assert_array_equal(net.parameters, other.parameters)
    alone = [copy.deepcopy(first), copy.deepcopy(second)]
    fastbp.fit_many([first, second], X, y, epochs=2, label_smoothing=[0.0, SHARE])
    for one, other, share in zip((first, second), alone, (0.0, SHARE), strict=True):
        other.fit(X, y, epochs=2, label_smoothing=share)
        np.testing.assert_array_equal(one.parameters, other.parameters)


def test_losses_without_classes_refuse_it() -> None:
    for loss in fastbp.kernels.losses.LOSSES:
        net, X, y = case(loss)
        if loss in LOSSES:
            net.fit(X, y, label_smoothing=SHARE)
        else:
            for method in (net.fit, net.partial_fit):
                with pytest.raises(
                    ValueError, match=f"^label_smoothing: got 0.2 for {loss}, expected 0: its targets are"
                ):
                    method(X, y, label_smoothing=SHARE)
            net.fit(X, y, label_smoothing=0)
