"""Checks of functions on arrays against plain NumPy.

Products, ReLU, SGD and softmax at the edges of vectors and tiles; every activation and loss over a range of numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import functional, reference
from ..kernels import shapes
from ..kernels.activations import ACTIVATIONS
from ..kernels.losses import LOSSES
from ..kernels.shapes import BY_ROWS, FEW_ROWS, IN_PLACE, PACKED
from ..kernels.target import TARGET
from ..network import MLP
from ..program.tuning import Tuning, forced
from .cases import FORMS, described, eps_of, probabilities, trials
from .tally import Array, Tally

CANARY, MARGIN = -12345.0, 64  # numbers on both sides of an output, which show what is written beyond it


def _edges(dtype: np.dtype[Any]) -> Iterator[tuple[int, int, int]]:
    """Give shapes (n, fan_in, fan_out) around the sizes of tiles and vectors, longer than a stretch of k, and empty."""
    lanes = TARGET.vector_bytes // dtype.itemsize
    high, half = shapes.MAIN.rows, shapes.HALF.rows
    rows = {1, 2, FEW_ROWS, FEW_ROWS + 1, half - 1, half, half + 1, high - 1, high, high + 1, 2 * high - 1, 41}
    ends = {lanes - 1, lanes, 2 * lanes - 1, 2 * lanes, 3 * lanes}
    columns = ends | {1, lanes + 1, 2 * lanes + 1, 4 * lanes + 1, 8 * lanes + 1}
    yield from itertools.product(sorted(rows), (1, half, high + 1, lanes + 1, 37), sorted(columns))
    yield from ((0, 3, 2), (3, 0, 2), (3, 2, 0), (5, 2500, 3), (23, 1300, 35), (300, 70, 90), (1, 130, 1100))


def _product_bound(A: Array, B: Array, more: Any = 0.0) -> Array:
    """Return ``k eps (|A||B| + |more|)``, k the number of terms and a few: it holds for sums in any order."""
    A64, B64 = np.abs(A.astype(np.float64)), np.abs(B.astype(np.float64))
    bound: Array = (A.shape[1] + 3) * eps_of(A.dtype) * (A64 @ B64 + np.abs(more))
    return bound


def check_affine(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check affine layers forward, with ReLU, and backward: split as by default, and with B read in each way."""
    rng = np.random.default_rng(1)
    packed, in_place = Tuning(kc=5, access=PACKED, a_in_place=False), Tuning(access=IN_PLACE, a_in_place=True)
    ways = Tuning(), packed, in_place, Tuning(access=BY_ROWS)
    for n, fan_in, fan_out in _edges(dtype):
        shapes = (n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)
        X, W, b, dH = (rng.normal(size=shape).astype(dtype) for shape in shapes)
        H, H_bound = reference.affine_forward(X, W, b), _product_bound(X, W, b)
        expected = reference.affine_backward(dH, X, W)
        bounds = (_product_bound(dH, W.T), _product_bound(X.T, dH), _product_bound(np.ones((1, n), dtype), dH)[0])
        for way in ways:
            what = f"{n} x {fan_in} by {fan_in} x {fan_out}, {described(way)}"
            with forced(way):
                _check_forward(tally, what, X, W, b, H, H_bound)
                found = functional.affine_backward(dH, X, W)
            for name, actual, wanted, bound in zip(("dX", "dW", "db"), found, expected, bounds, strict=True):
                tally.within(f"affine_backward {name}, {what}", actual, wanted, bound)


def _check_forward(tally: Tally, what: str, X: Array, W: Array, b: Array, expected: Array, bound: Array) -> None:
    memory = np.full(expected.size + 2 * MARGIN, CANARY, X.dtype)
    H = memory[MARGIN : MARGIN + expected.size].reshape(expected.shape)
    functional.affine_forward(X, W, b, out=H)
    tally.within(f"affine_forward, {what}", H, expected, bound)
    if not ((memory[:MARGIN] == CANARY).all() and (memory[MARGIN + expected.size :] == CANARY).all()):
        tally.fail(f"affine_forward, {what}: writes beyond its output")
    rectified = functional.affine_relu_forward(X, W, b)
    tally.within(f"affine_relu_forward, {what}", rectified, reference.relu_forward(expected), bound)


def check_elementwise(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check ReLU forward and backward, with NaN, infinity, -0 and denormals among its numbers, and the SGD update."""
    rng = np.random.default_rng(2)
    lanes = TARGET.vector_bytes // dtype.itemsize
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, np.finfo(dtype).smallest_subnormal], dtype)
    for count in (*range(1, 4 * lanes + 3), functional.LEAST_WORTH_SPLITTING + 13):
        x, dy, W = (rng.normal(size=count).astype(dtype) for _ in range(3))
        at = rng.integers(0, count, min(count, 2 * len(special)))
        x[at] = np.resize(special, len(at))
        what = f"{count} numbers"
        y, dx = reference.relu_forward(x).astype(dtype), reference.relu_backward(dy, x).astype(dtype)
        tally.same(f"relu_forward, {what}", functional.relu_forward(x), y)
        tally.same(f"relu_backward, {what}", functional.relu_backward(dy, x), dx)
        for learning_rate, l2 in ((0.1, 0.0), (0.3, 0.01)):
            learning_rate, l2 = float(dtype.type(learning_rate)), float(dtype.type(l2))
            updated = W.copy()
            functional.sgd_update(updated, dy, learning_rate, l2)
            # Two roundings with a fused multiply-add, four without.
            bound = 3 * eps_of(dtype) * (np.abs(W) + learning_rate * (np.abs(dy) + l2 * np.abs(W)))
            tally.within(f"sgd_update, {what}", updated, reference.sgd_update(W, dy, learning_rate, l2), bound)


def check_softmax(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check softmax with loss: logits of order 1, and so far apart that their exponentials vanish."""
    rng = np.random.default_rng(3)
    lanes = TARGET.vector_bytes // dtype.itemsize
    classes = {1, 2, 3, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 1, 3 * lanes - 1, 100}
    rows = (1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 3, 301)
    for count, n, spread in itertools.product(sorted(classes), rows, (1.0, 40.0, 5000.0)):
        z = (spread * rng.normal(size=(n, count))).astype(dtype)
        labels = rng.integers(0, count, n)
        for targets in (labels, probabilities(rng, n, count).astype(dtype)):
            what = f"softmax_cross_entropy, {n} x {count}, logits of order {spread:g}"
            loss, dlogits = functional.softmax_cross_entropy(z, targets)
            expected_loss, expected = reference.softmax_cross_entropy(z, targets)
            # exp and log are off by 2 ulp, a sum has one term per class, and shifting a logit rounds it once.
            k = (count + 16) * eps_of(dtype)
            shift = np.ptp(z.astype(np.float64), axis=1, keepdims=True)
            tally.within(f"{what}: loss", loss, expected_loss, k * (1 + shift.mean()))
            share = reference.softmax(z)
            wanted = np.abs(expected * n - share)
            tiny = float(np.finfo(dtype).smallest_normal)
            tally.within(f"{what}: dlogits", dlogits, expected, k * ((1 + shift) * share + wanted + tiny) / n + tiny)


def check_pointwise(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check every activation and loss, and their derivatives, over single numbers from 1e-9 to 30."""
    size = np.concatenate([np.geomspace(1e-9, 0.1, 32), np.linspace(0.11, 30.0, 224)])
    x = np.concatenate([-size, size]).astype(dtype)[:, np.newaxis]
    for name in ACTIVATIONS:
        for constants in trials(reference.ACTIVATIONS[name].constants):
            _check_activation(tally, name, constants, x)
    rng = np.random.default_rng(9)
    for loss, form in FORMS:
        if form == "targets":  # else the logits of a row are not independent
            of_shares = LOSSES[loss].targets == "shares"
            for constants in trials(reference.LOSSES[loss].constants):
                t = rng.integers(0, 9, x.shape) / 8 if of_shares else rng.poisson(2.0, x.shape) * 1.0
                _check_loss(tally, loss, constants, x, t)


def _check_activation(tally: Tally, name: str, constants: dict[str, Any], x: Array) -> None:
    """Compare the hidden unit of a network that computes nothing else."""
    eps, shape = eps_of(x.dtype), (len(x), 1)
    net = MLP((1, 1, 1), name, "mean_absolute_error", x.dtype, **constants)
    net.parameters = [1, 0, 1, 0]
    y = reference.activation_forward(name, x, **constants)
    # Rounding the argument of erfc moves the reference's tail of the normal distribution by x^2 eps.
    tiny = float(np.finfo(x.dtype).smallest_normal)
    tally.within(f"{name}: value", net.outputs(x), y, (16 * eps + 2 * x**2 * eps) * np.abs(y) + tiny)
    slopes = reference.activation_backward(name, np.ones(shape), x, **constants)
    found = net.gradient(x, np.full(shape, -100)).inputs  # the sign's gradient, 1, over a power of two
    tally.within(f"{name}: derivative", len(x) * found, slopes, 16 * eps * (1 + np.abs(x)))


def _check_loss(tally: Tally, loss: str, constants: dict[str, Any], x: Array, t: Array) -> None:
    """Compare the loss of a network whose logits are its inputs."""
    eps, row = 16 * eps_of(x.dtype), reference.LOSSES[loss]
    net = MLP((1, 1), "identity", loss, x.dtype, **constants)
    net.parameters = [1, 0]
    each = net.sample_gradients(x, t)
    expected = reference.losses_of(loss, x, t, **constants)
    _, slopes = reference.loss_of(loss, x, t, **constants)
    terms = expected if row.terms is None else row.terms(np.float64(x), t)[:, 0]
    tally.within(f"{loss}: value", each.losses, expected, eps * terms)
    outputs = np.abs(reference.outputs_of(loss, x))
    tally.within(f"{loss}: derivative", each.inputs, len(x) * slopes, 2 * eps * (1 + outputs + t))
