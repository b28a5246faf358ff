"""The functions on arrays against plain NumPy: products, ReLU, SGD and softmax at the edges of vectors and tiles; every
activation and loss over a range of single numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import functional, reference
from ..kernels import tile
from ..kernels.affine import FEW_ROWS
from ..kernels.gemm import BY_ROWS, IN_PLACE, PACKED
from ..kernels.simd import TARGET
from ..network import MLP
from ..program.tuning import Tuning, forced
from .cases import DELTA, FORMS, SLOPE, eps_of, probabilities, told
from .tally import Array, Tally

CANARY, MARGIN = -12345.0, 64  # around an output: what is written beyond it shows


def _edges(dtype: np.dtype[Any]) -> Iterator[tuple[int, int, int]]:
    """Shapes (n, fan_in, fan_out): around the rows of tiles and the lanes of vectors, longer than a stretch, empty."""
    lanes = TARGET.vector_bytes // dtype.itemsize
    high, half = tile.MAIN.rows, tile.HALF.rows
    rows = {1, 2, FEW_ROWS, FEW_ROWS + 1, half - 1, half, half + 1, high - 1, high, high + 1, 2 * high - 1, 41}
    columns = {1, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 2 * lanes + 1, 3 * lanes, 4 * lanes + 1,
               8 * lanes + 1}  # fmt: skip
    yield from itertools.product(sorted(rows), (1, half, high + 1, lanes + 1, 37), sorted(columns))
    yield from ((0, 3, 2), (3, 0, 2), (3, 2, 0), (5, 2500, 3), (23, 1300, 35), (300, 70, 90), (1, 130, 1100))


def _product_bound(A: Array, B: Array, more: Any = 0.0) -> Array:
    """``k eps (|A||B| + |more|)``, k the number of terms and a few: for sums in any order, rounded throughout."""
    A64, B64 = np.abs(A.astype(np.float64)), np.abs(B.astype(np.float64))
    bound: Array = (A.shape[1] + 3) * eps_of(A.dtype) * (A64 @ B64 + np.abs(more))
    return bound


def check_affine(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Forward, with ReLU, and backward, as the schedule chooses and with B read in each way."""
    rng = np.random.default_rng(1)
    ways = (Tuning(), Tuning(kc=5, access=PACKED, a_in_place=False), Tuning(access=IN_PLACE, a_in_place=True),
            Tuning(access=BY_ROWS))  # fmt: skip
    for n, fan_in, fan_out in _edges(dtype):
        shapes = (n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)
        X, W, b, dH = (rng.normal(size=shape).astype(dtype) for shape in shapes)
        H, H_bound = reference.affine_forward(X, W, b), _product_bound(X, W, b)
        expected = reference.affine_backward(dH, X, W)
        bounds = (_product_bound(dH, W.T), _product_bound(X.T, dH), _product_bound(np.ones((1, n), dtype), dH)[0])
        for way in ways:
            what = f"{n} x {fan_in} by {fan_in} x {fan_out}, {told(way)}"
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
    """ReLU both ways, NaN, infinity, -0 and denormals among its numbers, and the SGD update."""
    rng = np.random.default_rng(2)
    lanes = TARGET.vector_bytes // dtype.itemsize
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, np.finfo(dtype).smallest_subnormal], dtype)
    for count in (*range(1, 4 * lanes + 3), functional.LEAST_WORTH_SPLITTING + 13):
        x, dy, W = (rng.normal(size=count).astype(dtype) for _ in range(3))
        at = rng.integers(0, count, min(count, 2 * len(special)))
        x[at] = np.resize(special, len(at))
        what = f"{count} numbers"
        tally.same(f"relu_forward, {what}", functional.relu_forward(x), reference.relu_forward(x).astype(dtype))
        tally.same(f"relu_backward, {what}", functional.relu_backward(dy, x),
                   reference.relu_backward(dy, x).astype(dtype))  # fmt: skip
        for learning_rate, l2 in ((0.1, 0.0), (0.3, 0.01)):
            learning_rate, l2 = float(dtype.type(learning_rate)), float(dtype.type(l2))
            updated = W.copy()
            functional.sgd_update(updated, dy, learning_rate, l2)
            # Two roundings with a fused multiply-add, four without.
            bound = 3 * eps_of(dtype) * (np.abs(W) + learning_rate * (np.abs(dy) + l2 * np.abs(W)))
            tally.within(f"sgd_update, {what}", updated, reference.sgd_update(W, dy, learning_rate, l2), bound)


def check_softmax(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Loss and gradient of the logits; logits of order 1, and so far apart that their exponentials vanish."""
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
            # exp and log are off by 2 ulp, a sum has a term a class, and shifting a logit rounds it once.
            k = (count + 16) * eps_of(dtype)
            shift = np.ptp(z.astype(np.float64), axis=1, keepdims=True)
            tally.within(f"{what}: loss", loss, expected_loss, k * (1 + shift.mean()))
            share = reference.softmax(z)
            wanted = np.abs(expected * n - share)
            tiny = float(np.finfo(dtype).smallest_normal)
            tally.within(f"{what}: dlogits", dlogits, expected, k * ((1 + shift) * share + wanted + tiny) / n + tiny)


def check_pointwise(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Every activation and loss, and their derivatives, over single numbers from 1e-9 to 30: by networks that compute
    nothing else."""
    size = np.concatenate([np.geomspace(1e-9, 0.1, 32), np.linspace(0.11, 30.0, 224)])
    x = np.concatenate([-size, size]).astype(dtype)[:, np.newaxis]
    eps, shape = 16 * eps_of(dtype), (len(x), 1)
    for name in reference.ACTIVATIONS:
        net = MLP((1, 1, 1), name, "mean_absolute_error", dtype, leaky_slope=SLOPE)
        net.parameters = [1, 0, 1, 0]
        y = reference.activation_forward(name, x, SLOPE)
        # Rounding what erfc gets moves the reference's tail of the normal distribution by x^2 eps.
        tiny = float(np.finfo(dtype).smallest_normal)
        tally.within(f"{name}: value", net.outputs(x), y, (eps + 2 * x**2 * eps_of(dtype)) * np.abs(y) + tiny)
        slopes = reference.activation_backward(name, np.ones(shape), x, SLOPE)
        found = net.gradient(x, np.full(shape, -100)).inputs  # times 1 over a power of two: the sign's share
        tally.within(f"{name}: derivative", len(x) * found, slopes, eps * (1 + np.abs(x)))
    rng = np.random.default_rng(9)
    for loss, form in FORMS[2:]:
        net = MLP((1, 1), "identity", loss, dtype, huber_delta=DELTA)
        net.parameters = [1, 0]
        t = rng.integers(0, 9, shape) / 8 if "binary" in loss else rng.poisson(2.0, shape) * 1.0
        each = net.sample_gradients(x, t)
        expected = reference.losses_of(loss, x, t, DELTA)
        _, slopes = reference.loss_of(loss, x, t, delta=DELTA)
        # Of Poisson's deviance the terms, not their sum.
        terms = expected if "poisson" not in loss else (2 * (np.exp(np.float64(x)) + t * (2 + np.abs(x))))[:, 0]
        tally.within(f"{loss} of {form}: value", each.losses, expected, eps * terms)
        outputs = np.abs(reference.outputs_of(loss, x))
        tally.within(f"{loss} of {form}: derivative", each.inputs, len(x) * slopes, 2 * eps * (1 + outputs + t))
