"""Kernels under attack: every tile edge, nothing touched that is not theirs, special values with their outcome told."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.kernels.shapes import BY_ROWS, HALF_ROWS, IN_PLACE, MR, PACKED
from fastbp.kernels.target import TARGET
from fastbp.program.tuning import Tuning, forced
from support.comparisons import assert_within, product_bound
from support.fields import Field
from support.lanes import forms
from support.processes import TESTS, python

DTYPES = [np.float32, np.float64]
KC = 16
TUNINGS = [
    Tuning(),
    Tuning(kc=KC, access=PACKED, a_in_place=False),
    Tuning(kc=KC, access=PACKED, a_in_place=True, nc=1),
    Tuning(kc=KC, access=BY_ROWS),
    Tuning(kc=KC, access=IN_PLACE, a_in_place=True),
    Tuning(kc=KC, access=IN_PLACE, a_in_place=False, nc=1),
]


def vector(dtype: Any) -> int:
    return TARGET.lanes(dtype)


# ---- every edge with every other ----
# test_gemm.py pairs edges (every two positions take on every pair); here are all triples, each shape's own edges, and
# the borders of a stretch, with every way to read the operands.


def around(*sizes: int) -> list[int]:
    return sorted({size + off for size in sizes for off in (-1, 0, 1)} - {0})


def edges(dtype: Any, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """(rows, columns, depth) of a product, shuffled."""
    vl = vector(dtype)
    rows = around(1, HALF_ROWS, MR, 2 * MR, MR + HALF_ROWS)
    triples = list(itertools.product(rows, around(1, vl, 2 * vl, 3 * vl), around(1, KC, 2 * KC)))
    return [triples[i] for i in rng.permutation(len(triples))]


@pytest.mark.parametrize("dtype", DTYPES)
@forms(1000, 10**9)
def test_all_edges_of_products(cases: int, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    tried = 0
    for (rows, columns, depth), tuning in itertools.islice(itertools.product(edges(dtype, rng), TUNINGS), cases):
        A, B, b = (rng.normal(size=shape).astype(dtype) for shape in ((rows, depth), (depth, columns), columns))
        bound = product_bound(A, B, dtype)
        H = reference.affine_forward(A, B, np.zeros(columns))
        nothing = np.zeros((rows, columns), dtype)
        with forced(tuning):
            assert_within(fastbp.affine_forward(A, B, b), H + b, product_bound(A, B, dtype, b))
            rectified = reference.relu_forward(H + b)
            assert_within(fastbp.affine_relu_forward(A, B, b), rectified, product_bound(A, B, dtype, b))
            Bt, At = np.ascontiguousarray(B.T), np.ascontiguousarray(A.T)
            dX, _, _ = fastbp.affine_backward(A, nothing, Bt)  # dH = A, W = B^T
            assert_within(dX, H, bound)
            _, dW, db = fastbp.affine_backward(B, At, nothing)  # X = A^T, dH = B
            assert_within(dW, H, bound)
            assert_within(db, B.sum(axis=0, dtype=np.float64), product_bound(np.ones((1, depth)), B, dtype)[0])
        tried += 4
    print(f"{tried} products of {np.dtype(dtype)}")


@pytest.mark.parametrize("dtype", DTYPES)
@forms(120, 10**9)
def test_all_edges_of_a_network(cases: int, dtype: Any) -> None:
    """The epilogues that only networks have: the mask of the way back and the update fused into dW."""
    rng = np.random.default_rng(2)
    for number, (rows, columns, depth) in enumerate(itertools.islice(edges(dtype, rng), cases)):
        # rows x hidden with classes as the depth (dX, masked); features x hidden with rows as the depth (dW, updated).
        n, f, c = (rows, 3, depth) if number % 2 else (depth, rows, 3)
        with forced(TUNINGS[number // 2 % len(TUNINGS)]):
            check_network(dtype, rng, n, f, columns, c)


def check_network(dtype: Any, rng: np.random.Generator, n: int, f: int, h: int, c: int) -> None:
    """Up to the logits all numbers are exact, so that no ReLU flips; from there rounding goes through |A||B|."""
    net = MLP((f, h, c), dtype=dtype, seed=0)
    net.parameters[...] = rng.integers(-1, 2, net.parameters.size) / 8
    X, y = (rng.integers(-4, 5, (n, f)) / 4).astype(dtype), rng.integers(0, c, n)
    (W1, W2), (b1, b2) = ([a.copy() for a in arrays] for arrays in (net.weights, net.biases))
    H = reference.relu_forward(reference.affine_forward(X, W1, b1))
    logits = reference.affine_forward(H, W2, b2)
    np.testing.assert_array_equal(net.logits(X), logits)
    g = net.gradient(X, y, l2=0.25)
    loss, dWs, dbs, dX = reference.gradient([W1, W2], [b1, b2], X, y, l2=0.25)
    eps = float(np.finfo(dtype).eps)
    unit = eps * (n + f + h + 2 * c + 40)  # more terms than any sum has; exp, log and the products 40 at the most
    slopes = (reference.softmax(logits) + np.eye(c)[y]) / n
    back = slopes @ np.abs(W2.T)
    of_W = [unit * (np.abs(X.T) @ back + np.abs(W1)), unit * (H.T @ slopes + np.abs(W2))]
    of_b = [unit * back.sum(axis=0), unit * slopes.sum(axis=0)]
    assert abs(g.loss - loss) <= unit * (1 + abs(loss) + np.abs(logits).max())
    assert_within(g.inputs, dX, unit * (back @ np.abs(W1.T)))
    for actual, expected, bound in zip((*g.weights, *g.biases), (*dWs, *dbs), (*of_W, *of_b), strict=True):
        assert_within(actual, expected, bound)
    net.fit(X, y, epochs=1, batch_size=n, learning_rate=0.5, l2=0.25, shuffle=False, progress=False)
    before = (W1, W2, b1, b2)
    for new, old, slope, bound in zip((*net.weights, *net.biases), before, (*dWs, *dbs), (*of_W, *of_b), strict=True):
        assert_within(new, old - 0.5 * slope, bound + 4 * eps * (np.abs(old) + np.abs(slope)))


# ---- nothing beyond an operand: pages that may not be touched, canaries ----


@pytest.mark.slow
@forms(1, 12)
def test_every_operand_at_a_protected_page(cases: int) -> None:
    """In a process of its own: a touch kills that, and not the suite."""
    done = python(TESTS / "support/protected_pages.py", str(cases), timeout=600.0)
    print(done.stdout)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("ok\n")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", Field.LAYOUTS)
@forms(12, 400)
def test_nothing_is_written_around_outputs_and_inputs(cases: int, layout: str, dtype: Any) -> None:
    rng = np.random.default_rng(3)
    sizes = around(1, HALF_ROWS, MR, vector(dtype), 2 * vector(dtype))
    for case in range(cases):
        n, f, c = (int(size) for size in rng.choice(sizes, 3))
        X, W, b, H = (Field(rng.normal(size=shape).astype(dtype), layout) for shape in ((n, f), (f, c), (c,), (n, c)))
        out = Field(np.full((n, c), np.nan, dtype), layout)
        y, t = Field(rng.integers(0, c, n), layout), Field(np.eye(c, dtype=dtype)[rng.integers(0, c, n)], layout)
        wrong_y = Field(np.full(n, c), layout)
        wrong_out = Field(np.full((n, c + 1), np.nan, dtype), layout)
        inputs = [X, W, b, H, y, t, wrong_y, wrong_out]
        with forced(TUNINGS[case % len(TUNINGS)]):
            for function in (fastbp.affine_forward, fastbp.affine_relu_forward):
                assert function(X.view, W.view, b.view, out=out.view) is out.view
                assert np.isfinite(out.view).all()
                assert out.intact(written=True)
                with pytest.raises(ValueError, match="^out: "):
                    function(X.view, W.view, b.view, out=wrong_out.view)
            fastbp.affine_backward(H.view, X.view, W.view)
            fastbp.relu_forward(X.view)
            fastbp.relu_backward(H.view, out.view)
            for labels in (y, t):
                fastbp.softmax_cross_entropy(H.view, labels.view)
            with pytest.raises(ValueError, match="^labels: "):
                fastbp.softmax_cross_entropy(H.view, wrong_y.view)
            assert out.intact(written=True)
            parameters = Field(rng.normal(size=(n, c)).astype(dtype), layout)
            fastbp.sgd_update(parameters.view, H.view, 0.5, 0.25)
            assert parameters.intact(written=True)
            check_network_amid_canaries(dtype, X, y, t, wrong_y, rng)
        assert all(field.intact() for field in inputs)


def check_network_amid_canaries(dtype: Any, X: Field, y: Field, t: Field, wrong_y: Field, rng: Any) -> None:
    f, c = X.view.shape[1], t.view.shape[1]
    shift, scale = (Field(rng.normal(size=f).astype(dtype), "apart") for _ in range(2))
    for scaled in ({}, {"input_shift": shift.view, "input_scale": scale.view}):
        net = MLP((f, 5, c), dtype=dtype, seed=0, **scaled)
        parameters = Field(net.parameters, "dense")
        net.model.parameters = parameters.view  # what compiled code writes into, amid canaries
        for labels in (y, t):
            net.gradient(X.view, labels.view, l2=0.5)
            net.loss(X.view, labels.view)
            net.predict_proba(X.view)
            net.score(X.view, labels.view)
            assert parameters.intact()
            for shuffle in (True, False):
                net.fit(X.view, labels.view, epochs=2, batch_size=3, l2=0.5, shuffle=shuffle, progress=False)
            assert parameters.intact(written=True)
        with pytest.raises(ValueError, match="^y: "):
            net.fit(X.view, wrong_y.view)
    assert parameters.intact()
    assert shift.intact()
    assert scale.intact()
