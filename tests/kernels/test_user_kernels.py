"""The kernels in a user's own compiled code, serial and in a prange: the bits of the functions from Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

import fastbp
from fastbp import kernels
from fastbp.kernels import jit
from fastbp.kernels.shapes import HALF_ROWS, MR
from support.comparisons import assert_same_bits
from support.memory import guarded, surrounded

DTYPES = [np.float32, np.float64]
SHAPES = [(1, 1, 1), (3, 40, 5), (MR + 1, 17, 33), (37, 100, 70), (70, 33, 16), (2, 9, 129)]  # n, fan_in, fan_out
LEARNING_RATE, L2 = 0.1, 0.01
RESULTS = ("H", "R", "Y", "dlogits", "dX", "dW", "db", "G", "W")


def compiled(**options: Any) -> Callable[[Any], Any]:
    """A user's ``@njit``; kept between runs in the package's own cache, which knows when a kernel has changed."""
    return lambda function: jit.cached(numba.njit(**options)(function), function, "user")


@compiled()
def layer(X, W, b, labels, learning_rate, l2, H, R, Y, dlogits, losses, dX, dW, db, G, workspace):
    kernels.affine_forward(X, W, b, H, workspace)
    kernels.affine_relu_forward(X, W, b, R, workspace)
    kernels.relu_forward(H, Y)
    loss = kernels.softmax_cross_entropy(H, labels, dlogits, losses, workspace)
    kernels.affine_backward(dlogits, X, W, dX, dW, db, workspace)
    kernels.relu_backward(dlogits, R, G)
    kernels.sgd_update(W, dW, learning_rate, l2)
    return loss


@compiled()
def products(X, W, b, dH, H, dX, dW, db, workspace):
    kernels.affine_forward(X, W, b, H, workspace)
    kernels.affine_backward(dH, X, W, dX, dW, db, workspace)


@compiled(parallel=True)
def layers(X, W, b, labels, learning_rate, l2, H, R, Y, dlogits, losses, dX, dW, db, G, workspace, mean_losses):
    for i in numba.prange(len(X)):
        kernels.affine_forward(X[i], W[i], b[i], H[i], workspace[i])
        kernels.affine_relu_forward(X[i], W[i], b[i], R[i], workspace[i])
        kernels.relu_forward(H[i], Y[i])
        mean_losses[i] = kernels.softmax_cross_entropy(H[i], labels[i], dlogits[i], losses[i], workspace[i])
        kernels.affine_backward(dlogits[i], X[i], W[i], dX[i], dW[i], db[i], workspace[i])
        kernels.relu_backward(dlogits[i], R[i], G[i])
        kernels.sgd_update(W[i], dW[i], learning_rate, l2)


def operands(rng: np.random.Generator, dtype: Any, n: int, fan_in: int, fan_out: int) -> dict[str, Any]:
    shapes = {"X": (n, fan_in), "W": (fan_in, fan_out), "b": (fan_out,)}
    values = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    rates = {"learning_rate": dtype(LEARNING_RATE), "l2": dtype(L2)}
    return {**values, "labels": rng.integers(0, fan_out, n), **rates}


def outputs(dtype: Any, n: int, fan_in: int, fan_out: int) -> dict[str, Any]:
    shapes = dict.fromkeys(("H", "R", "Y", "dlogits", "G"), (n, fan_out))
    shapes |= {"losses": (n,), "dX": (n, fan_in), "dW": (fan_in, fan_out), "db": (fan_out,)}
    return {name: np.full(shape, np.nan, dtype) for name, shape in shapes.items()}


def from_python(X: Any, W: Any, b: Any, labels: Any, learning_rate: float, l2: float) -> tuple[float, dict[str, Any]]:
    """The same by the functions of `fastbp`; W is not changed."""
    H, R = fastbp.affine_forward(X, W, b), fastbp.affine_relu_forward(X, W, b)
    loss, dlogits = fastbp.softmax_cross_entropy(H, labels)
    dX, dW, db = fastbp.affine_backward(dlogits, X, W)
    updated = W.copy()
    fastbp.sgd_update(updated, dW, float(learning_rate), float(l2))
    return loss, {"H": H, "R": R, "Y": fastbp.relu_forward(H), "dlogits": dlogits, "dX": dX, "dW": dW, "db": db,
                  "G": fastbp.relu_backward(dlogits, R), "W": updated}  # fmt: skip


@pytest.mark.slow  # each dtype compiles every kernel into the user's function
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("depth", "columns"), [(512, 512), (24, 32), (1, 1)])
def test_serial(depth: int, columns: int, dtype: Any) -> None:
    """Every operand and result ends at a protected page, the workspace too."""
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        given = operands(rng, dtype, *shape)
        expected_loss, expected = from_python(**given)
        given |= {name: guarded(given[name]) for name in ("X", "W", "b", "labels")}
        made = {name: guarded(value) for name, value in outputs(dtype, *shape).items()}
        workspace = kernels.workspace(dtype, depth, columns)
        loss = layer(**given, **made, workspace=guarded(np.full_like(workspace, np.nan)))
        assert type(loss) is float
        assert loss == expected_loss
        for name in RESULTS:
            assert_same_bits({**given, **made}[name], expected[name])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("depth", "columns"), [(1, 1), (1, 33), (2, 32), (9, 1), (40, 65)])
def test_nothing_is_written_beyond_a_small_workspace(depth: int, columns: int, dtype: Any) -> None:
    """Rows of a product end within a panel, a half panel, or a few beyond the rows that are packed at a time."""
    rng = np.random.default_rng(8)
    size = kernels.workspace(dtype, depth, columns).shape
    most = size[1] // MR * MR
    rows = sorted({1, 3, 4, HALF_ROWS, MR, MR + 1, most - MR, most - 1, most, most + 1, most + HALF_ROWS, most + MR})
    for n, fan_in, fan_out in itertools.product(rows, (1, 3, MR + 2, most + 1), (1, 9, 35)):
        given = operands(rng, dtype, n, fan_in, fan_out)
        del given["labels"], given["learning_rate"], given["l2"]
        made = outputs(dtype, n, fan_in, fan_out)
        dH = rng.normal(size=(n, fan_out)).astype(dtype)
        workspace, intact = surrounded(size, dtype, 4 * size[0] * size[1])
        products(**given, dH=dH, **{name: made[name] for name in ("H", "dX", "dW", "db")}, workspace=workspace)
        assert intact(), (n, fan_in, fan_out)
        assert_same_bits(made["H"], fastbp.affine_forward(given["X"], given["W"], given["b"]))
        for name, expected in zip(("dX", "dW", "db"), fastbp.affine_backward(dH, given["X"], given["W"]), strict=True):
            assert_same_bits(made[name], expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_that_begin_behind_a_protected_page(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for shape in SHAPES:
        given = operands(rng, dtype, *shape)
        _, expected = from_python(**given)
        given |= {name: guarded(given[name], "start") for name in ("X", "W", "b", "labels")}
        made = {name: guarded(value, "start") for name, value in outputs(dtype, *shape).items()}
        layer(**given, **made, workspace=guarded(kernels.workspace(dtype, 24, 32), "start"))
        for name in RESULTS:
            assert_same_bits({**given, **made}[name], expected[name])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_in_a_prange(dtype: Any) -> None:
    if fastbp.threads.layer() == "python":  # also loads TBB: Numba's own workqueue is not what is tested here
        pytest.skip("no threading layer that can be trusted")
    rng = np.random.default_rng(3)
    shape, iterations = (37, 50, 21), 24
    each = [operands(rng, dtype, *shape) for _ in range(iterations)]
    expected = [from_python(**given) for given in each]
    given = {name: np.stack([one[name] for one in each]) for name in ("X", "W", "b", "labels")}
    given |= {name: each[0][name] for name in ("learning_rate", "l2")}
    made = {name: np.stack([value] * iterations) for name, value in outputs(dtype, *shape).items()}
    workspace = np.stack([kernels.workspace(dtype, 32, 32)] * iterations)
    mean_losses = np.full(iterations, np.nan)
    layers(**given, **made, workspace=workspace, mean_losses=mean_losses)
    for i, (loss, results) in enumerate(expected):
        assert mean_losses[i] == loss
        for name in RESULTS:
            assert_same_bits({**given, **made}[name][i], results[name])


@pytest.mark.slow
def test_one_layer_serial() -> None:
    @numba.njit
    def forward(X, W, b, H, workspace):
        kernels.affine_relu_forward(X, W, b, H, workspace)

    rng = np.random.default_rng(7)
    for shape in SHAPES:
        X, W, b = (operands(rng, np.float32, *shape)[name] for name in ("X", "W", "b"))
        H = guarded(np.full((shape[0], shape[2]), np.nan, np.float32))
        forward(guarded(X), guarded(W), guarded(b), H, guarded(kernels.workspace(np.float32, 24, 32)))
        assert_same_bits(H, fastbp.affine_relu_forward(X, W, b))


def test_one_kernel_in_a_prange() -> None:
    if fastbp.threads.layer() == "python":
        pytest.skip("no threading layer that can be trusted")

    @numba.njit(parallel=True)
    def losses_of(logits, labels, dlogits, losses, workspace, mean_losses):
        for i in numba.prange(len(logits)):
            mean_losses[i] = kernels.softmax_cross_entropy(logits[i], labels[i], dlogits[i], losses[i], workspace[i])

    rng = np.random.default_rng(6)
    logits, labels = rng.normal(size=(24, 37, 21)).astype(np.float32), rng.integers(0, 21, (24, 37))
    dlogits, losses, mean_losses = np.full_like(logits, np.nan), np.zeros((24, 37), np.float32), np.zeros(24)
    workspace = np.stack([kernels.workspace(np.float32, 32, 32)] * 24)
    losses_of(logits, labels, dlogits, losses, workspace, mean_losses)
    for i in range(24):
        loss, expected = fastbp.softmax_cross_entropy(logits[i], labels[i])
        assert mean_losses[i] == loss
        assert_same_bits(dlogits[i], expected)


def test_relu_in_place() -> None:
    @numba.njit
    def both(x, dy):
        kernels.relu_forward(x, x)
        kernels.relu_backward(dy, x, dy)

    x, dy = np.random.default_rng(4).normal(size=(2, 7, 9)).astype(np.float32)
    y = fastbp.relu_forward(x)
    dx = fastbp.relu_backward(dy, y)
    both(x, dy)
    assert_same_bits(x, y)
    assert_same_bits(dy, dx)


def test_the_update_takes_rates_of_another_dtype() -> None:
    @numba.njit
    def update(W, dW):
        kernels.sgd_update(W, dW, 0.1, 0.01)

    W, dW = np.random.default_rng(5).normal(size=(2, 7, 9)).astype(np.float32)
    expected = W.copy()
    fastbp.sgd_update(expected, dW, 0.1, 0.01)
    update(W, dW)
    assert_same_bits(W, expected)


def test_workspace_refuses_what_is_no_size() -> None:
    for depth, columns in ((0, 32), (32, 0), (-1, 5)):
        with pytest.raises(ValueError, match=f"^depth, columns: got {depth}, {columns}, expected"):
            kernels.workspace("float32", depth, columns)


@pytest.mark.parametrize("arguments", [("int8",), ("float16",), ("complex64",), ("float32", 0), ("float32", 64, -1)])
def test_workspace_that_kernels_could_not_use_is_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match=r"dtype: got|depth, columns: got"):
        fastbp.kernels.workspace(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None,), ValueError, "^dtype: got None, expected float32 or float64"),
        (("float16",), ValueError, "^dtype: got float16"),
        (("float32", 0), ValueError, "^depth, columns: got 0, 512"),
        (("float32", 2.5), TypeError, "^depth: got 2.5, expected an integer"),
        (("float32", 8, "x"), TypeError, "^columns: got 'x', expected an integer"),
    ],
)
def test_a_workspace_is_refused_by_the_name_of_its_argument(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        kernels.workspace(*arguments)
