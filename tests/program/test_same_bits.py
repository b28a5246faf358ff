"""The same bits whatever the schedule: every optimizer and activation, dropout and clipping, splits and threads."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.dropout import UNITS
from fastbp.kernels.losses import LOSSES
from fastbp.optimizers import OPTIMIZERS, optimizer_of
from fastbp.program import passes
from fastbp.program.tuning import Tuning, forced
from fastbp.verify.bits import BLOCKINGS, SPLITS
from support.lanes import pairwise
from support.network_cases import network, targets_of

DTYPES = ("float32", "float64")
# One thread and two in turn; the schedule's own choice on both.
WAYS = [
    (replace(way, parallel=number % 2 == 1), 1 + number % 2)
    for number, way in enumerate((Tuning(), Tuning(), *BLOCKINGS, *SPLITS))
]
SIZES, N, BATCH = (19, 60, 37, 10), 57, 24
STEP: dict[str, Any] = {"l2": 0.01, "dropout": 0.25, "max_grad_norm": 0.5}


def trained(optimizer: str, activation: Any, loss: str, dtype: str) -> tuple[MLP, Any]:
    net = network(SIZES, activation, loss, dtype)
    X = np.random.default_rng(4).normal(size=(N, SIZES[0])).astype(dtype)
    weight = np.random.default_rng(5).uniform(0, 2, N)
    history = net.fit(X, targets_of(loss, N, SIZES[-1], dtype), 2, BATCH, 0.01, optimizer=optimizer,
                      sample_weight=weight, **STEP)  # fmt: skip
    return net, history


@pytest.mark.parametrize("optimizer, turn, dtype", pairwise(OPTIMIZERS, [0, 3], DTYPES))
def test_one_hash_for_each_optimizer_and_activation(optimizer: str, turn: int, dtype: str) -> None:
    """Each optimizer with four of the activations and two of the losses, each activation with every other optimizer."""
    at = list(OPTIMIZERS).index(optimizer) + turn
    names = [list(ACTIVATIONS)[(at + more) % len(ACTIVATIONS)] for more in (0, 1)]
    loss = list(LOSSES)[(at + turn) % len(LOSSES)]
    hashes, programs = {}, set()
    form = passes.StepForm("labels" if loss == "softmax_cross_entropy" else "targets", True, True,
                           (0, *[int(0.25 * UNITS)] * 2), optimizer_of(optimizer).form, True)  # fmt: skip
    for way, threads in WAYS:
        with forced(way), fastbp.threads.limit(threads):
            net, history = trained(optimizer, names, loss, dtype)
            program = passes.training_step(net.model.network, BATCH, net.dtype, fastbp.threads.count(), form, way)
            assert program.threads == fastbp.threads.count()
        content = net.parameters.tobytes() + repr(history.loss).encode()
        hashes[way, threads] = hashlib.sha256(content).hexdigest()
        programs.add(program.table.tobytes() + program.phases.tobytes())
    assert len(programs) >= 8  # the ways were really taken
    assert len(set(hashes.values())) == 1, hashes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_hash_without_clipping(optimizer: str, dtype: str) -> None:
    """Blocks of the gradient are then updated one by one, as soon as each is known."""
    hashes = set()
    X = np.random.default_rng(4).normal(size=(N, SIZES[0])).astype(dtype)
    y = targets_of("huber", N, SIZES[-1], dtype)
    for way, threads in WAYS:
        net = network(SIZES, ("gelu", "relu"), "huber", dtype)
        with forced(way), fastbp.threads.limit(threads):
            net.fit(X, y, 2, BATCH, 0.01, 0.01, optimizer)
        hashes.add(net.parameters.tobytes())
    assert len(hashes) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_and_outputs_under_every_way(loss: str, dtype: str) -> None:
    net = network(SIZES, ("silu", "logistic"), loss, dtype)
    X = np.random.default_rng(4).normal(size=(N, SIZES[0])).astype(dtype)
    y, weight = targets_of(loss, N, SIZES[-1], dtype), np.random.default_rng(5).uniform(0, 2, N)
    found = set()
    for way, threads in WAYS:
        with forced(way), fastbp.threads.limit(threads):
            g = net.gradient(X, y, 0.01, sample_weight=weight, dropout=0.25, dropout_key=7)
            parts = (*g.weights, *g.biases, g.inputs, np.array(g.loss), net.outputs(X), net.loss(X, y))
        found.add(b"".join(np.asarray(part).tobytes() for part in parts))
    assert len(found) == 1


def masks_found(dtype: str, rows: int, p: float, key: int, units: int = 8) -> Any:
    """Which units of one hidden layer a gradient kept: told by the sign of absolute errors times powers of two."""
    net = MLP((1, units, 1), "identity", "mean_absolute_error", dtype)
    net.weights[0][...] = 2.0 ** np.arange(units)
    net.weights[1][...] = 1
    dX = net.gradient(np.ones((rows, 1)), np.full(rows, 1e6), dropout=p, dropout_key=key).inputs[:, 0]
    kept = np.rint(-dX * rows * (1 - p)).astype(int)
    return kept[:, None] >> np.arange(units) & 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [1, 2, 3, 4, 5, 7, 11, 16, 17])
def test_masks_of_units_that_fill_no_vector(units: int, dtype: str) -> None:
    expected = reference.dropout_mask(5, 0, 9, units, 0.5) > 0
    np.testing.assert_array_equal(masks_found(dtype, 9, 0.5, 5, units), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.5, 0.1])
def test_masks_do_not_depend_on_how_rows_are_split(p: float, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, rows = 2**64 - 3, 150
    expected = reference.dropout_mask(key, 0, rows, 8, p) > 0
    assert 0.8 * p < 1 - expected.mean() < 1.2 * p
    for rows_at_once in (1000, 64, 7, 1):
        with monkeypatch.context() as patch:
            patch.setattr(passes, "rows_at_once", lambda *_, most=rows_at_once: most)
            for way, threads in WAYS:
                with forced(way), fastbp.threads.limit(threads):
                    np.testing.assert_array_equal(masks_found(dtype, rows, p, key), expected)
