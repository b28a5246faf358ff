"""Every kernel against the reference at a few awkward shapes, as a script: for other targets and for planted faults.

    python tests/support/small_check.py [float32] [float64]

Prints what it was compiled for and one hash of all results, and "ok" last; a wrong result ends it with an
AssertionError that names the kernel.
"""

from __future__ import annotations

import hashlib
import re
import sys
from typing import Any

import numpy as np
from llvmlite import binding as llvm

import fastbp
from fastbp import reference
from fastbp.kernels.shapes import BY_ROWS, HALF_ROWS, IN_PLACE, MR, PACKED
from fastbp.kernels.target import TARGET
from fastbp.program.tuning import Tuning, forced

MARGIN = 64
CANARY = -12345.0
digest = hashlib.sha256()
assemblies: list[str] = []  # of what this process compiles
emit_object = llvm.TargetMachine.emit_object


def emit_object_and_assembly(machine: Any, module: Any) -> bytes:
    code: bytes = emit_object(machine, module)
    assemblies.append(machine.emit_assembly(module))
    return code


def within(what: str, actual: Any, expected: Any, bound: Any) -> None:
    digest.update(np.ascontiguousarray(actual).tobytes())
    error = np.abs(np.asarray(actual, np.float64) - expected)
    if not (error <= bound).all():  # NaN too
        raise AssertionError(f"{what}: {np.max(error - bound)} beyond the bound")


def same(what: str, actual: Any, expected: Any) -> None:
    if not (actual.dtype == expected.dtype and actual.tobytes() == expected.tobytes()):
        raise AssertionError(f"{what}: not the same bits")


def product_bound(A: Any, B: Any, dtype: Any, more: Any = 0.0) -> Any:
    """``k eps (|A||B| + |more|)``, k the number of terms and a few."""
    A, B = np.abs(np.asarray(A, np.float64)), np.abs(np.asarray(B, np.float64))
    return (A.shape[1] + 3) * float(np.finfo(dtype).eps) * (A @ B + np.abs(more))


def check_products(dtype: Any, n: int, fan_in: int, fan_out: int) -> None:
    rng = np.random.default_rng(n)
    X, W, b, dH = (rng.normal(size=shape).astype(dtype)
                   for shape in ((n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)))  # fmt: skip
    memory = np.full(n * fan_out + 2 * MARGIN, CANARY, dtype)
    H = memory[MARGIN:-MARGIN].reshape(n, fan_out)
    expected = reference.affine_forward(X, W, b)
    fastbp.affine_forward(X, W, b, out=H)
    if not (memory[:MARGIN] == CANARY).all() or not (memory[-MARGIN:] == CANARY).all():
        raise AssertionError("affine_forward: writes beyond out")
    within("affine_forward", H, expected, product_bound(X, W, dtype, b))
    same("affine_relu_forward", fastbp.affine_relu_forward(X, W, b), fastbp.relu_forward(H))
    dX, dW, db = fastbp.affine_backward(dH, X, W)
    expected_dX, expected_dW, expected_db = reference.affine_backward(dH, X, W)
    within("affine_backward dX", dX, expected_dX, product_bound(dH, W.T, dtype))
    within("affine_backward dW", dW, expected_dW, product_bound(X.T, dH, dtype))
    within("affine_backward db", db, expected_db, product_bound(np.ones((1, n)), dH, dtype)[0])
    with forced(Tuning(mc=1, kc=7, nc=1, access=PACKED, a_in_place=False)):
        same("affine_forward in stretches", fastbp.affine_forward(X, W, b), H)
        for name, whole, again in zip(("dX", "dW"), (dX, dW), fastbp.affine_backward(dH, X, W), strict=False):
            same(f"affine_backward {name} in stretches", again, whole)
    with forced(Tuning(access=BY_ROWS, kc=5)):
        same("affine_forward row by row", fastbp.affine_forward(X, W, b), H)
    with forced(Tuning(access=IN_PLACE, a_in_place=True)):
        same("affine_forward with nothing packed", fastbp.affine_forward(X, W, b), H)
    same("affine_forward of one row", fastbp.affine_forward(X[:1], W, b), H[:1])


def check_elementwise(dtype: Any) -> None:
    x = np.array([-1.0, -0.0, 0.0, 1.0, np.inf, -np.inf, np.nan, 5.0] * 5, dtype)[:37]
    np.testing.assert_array_equal(fastbp.relu_forward(x), reference.relu_forward(x), "relu_forward")
    dy = np.arange(1, 38).astype(dtype)
    np.testing.assert_array_equal(fastbp.relu_backward(dy, x), reference.relu_backward(dy, x), "relu_backward")
    W = np.arange(37).astype(dtype)
    fastbp.sgd_update(W, dy, 0.5, 0.25)
    np.testing.assert_array_equal(W, reference.sgd_update(np.arange(37), dy, 0.5, 0.25), "sgd_update")


def check_loss(dtype: Any, n: int, classes: int) -> None:
    rng = np.random.default_rng(classes)
    z, labels = rng.normal(size=(n, classes)).astype(dtype), rng.integers(0, classes, n)
    loss, dlogits = fastbp.softmax_cross_entropy(z, labels)
    expected_loss, expected = reference.softmax_cross_entropy(z, labels)
    # Logits of order 1: exp and log off by 2 ulp, a sum of as many terms as classes, a few products.
    bound = (classes + 16) * float(np.finfo(dtype).eps)
    within("softmax_cross_entropy loss", np.array(loss), expected_loss, bound * (1 + expected_loss))
    within("softmax_cross_entropy dlogits", dlogits, expected, bound * (np.abs(expected) + 1 / classes) / n)
    again, slopes = fastbp.softmax_cross_entropy(z, np.eye(classes)[labels])
    same("softmax_cross_entropy of rows", slopes, dlogits)
    same("softmax_cross_entropy of rows", np.array(again), np.array(loss))
    alone = fastbp.softmax_cross_entropy(z[-1:], labels[-1:])[1]
    same("softmax_cross_entropy of one row", alone * dtype(1 / n), dlogits[-1:])


def network(dtype: Any, sizes: tuple[int, ...], n: int) -> tuple[fastbp.MLP, Any, Any]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    return fastbp.MLP(sizes, dtype=dtype, seed=7), X, rng.integers(0, sizes[-1], n)


def check_gradient(dtype: Any) -> None:
    net, X, y = network(dtype, (13, 35, 9, 5), 23)
    g = net.gradient(X, y, l2=0.01)
    loss, dWs, dbs, dX = reference.gradient(net.weights, net.biases, X, y, l2=0.01)
    # Relative to each tensor's largest entry: through three layers the longest sum has 35 terms.
    eps = float(np.finfo(dtype).eps)
    pairs = [("loss", np.array(g.loss), loss), ("inputs", g.inputs, dX)]
    pairs += [(f"weights[{i}]", actual, dWs[i]) for i, actual in enumerate(g.weights)]
    pairs += [(f"biases[{i}]", actual, dbs[i]) for i, actual in enumerate(g.biases)]
    for name, actual, expected in pairs:
        within(f"gradient {name}", actual, expected, 100 * eps * np.abs(expected).max())
    first = net.predict_proba(X)
    same("predict_proba of one row", net.predict_proba(X[4:5]), first[4:5])


def check_fused_update(dtype: Any) -> None:
    """A step of `fit` has the bits of `gradient` without l2 followed by `sgd_update` with it."""
    net, X, y = network(dtype, (13, 35, 9, 5), 23)
    g = net.gradient(X, y)
    updated = [array.copy() for array in (*net.weights, *net.biases)]
    for array, slope, l2 in zip(updated, (*g.weights, *g.biases), [0.01] * 3 + [0.0] * 3, strict=True):
        fastbp.sgd_update(array, slope, 0.1, l2)
    for tuning in (Tuning(), Tuning(kc=5)):
        again, _, _ = network(dtype, net.sizes, 23)
        with forced(tuning):
            again.fit(X, y, epochs=1, batch_size=23, learning_rate=0.1, l2=0.01, shuffle=False, progress=False)
        for actual, expected in zip((*again.weights, *again.biases), updated, strict=True):
            same("the fused update", actual, expected)


def check_training() -> None:
    """100 steps in float64, short minibatches included, to 1e-12 relative."""
    net, X, y = network(np.float64, (6, 17, 4), 77)
    Ws, bs = [W.copy() for W in net.weights], [b.copy() for b in net.biases]
    losses: list[float] = []
    for _ in range(10):  # 10 minibatches each, the last one of 5 rows
        Ws, bs, seen = reference.train(Ws, bs, X, y, np.arange(77), 8, 0.1, 0.01)
        losses.append(float(seen @ np.minimum(8, 77 - 8 * np.arange(10)) / 77))
    history = net.fit(X, y, epochs=10, batch_size=8, learning_rate=0.1, l2=0.01, shuffle=False, progress=False)
    within("training loss", np.array(history.loss), np.array(losses), 1e-12 * max(losses))
    for actual, expected in zip((*net.weights, *net.biases), (*Ws, *bs), strict=True):
        within("training", actual, expected, 1e-12 * np.abs(expected).max())


def machine_code(dtype: Any) -> str:
    """How often the registers of each width come up in what does the work; known where it was compiled just now."""
    function = re.compile(rf"^fastbp_\w+_{np.dtype(dtype)}:", re.MULTILINE)
    assembly = "".join(text for text in assemblies if function.search(text))
    if not assembly:
        return "from the cache"
    return ", ".join(f"{word} {assembly.count(word)}" for word in ("xmm", "ymm", "zmm", "vfmadd"))


def main(names: list[str]) -> None:
    llvm.TargetMachine.emit_object = emit_object_and_assembly
    print(f"target: {TARGET.cpu}, {TARGET.vector_bytes} bytes a vector, {TARGET.registers} registers, "
          f"fma {TARGET.has_fma}, tiles {MR} and {HALF_ROWS}")  # fmt: skip
    for name in names:
        dtype = np.dtype(name).type
        vl = TARGET.lanes(name)
        # Rows: one more than a tile and one less than whole tiles, for tiles of 6 and 4 and of 14 and 8 alike: the
        # hash is to be the same for both.
        check_products(dtype, 1, 3, 2)
        check_products(dtype, 7, 2 * vl + 1, vl + 1)
        check_products(dtype, 15, 2 * vl + 3, 2 * vl + 1)
        check_products(dtype, 35, 5, vl)
        check_products(dtype, 3, 29, 5 * vl + 2)
        check_elementwise(dtype)
        for n, classes in ((1, 1), (7, 3), (vl + 1, vl), (5, vl + 1), (2, 3 * vl + 2)):
            check_loss(dtype, n, classes)
        check_gradient(dtype)
        check_fused_update(dtype)
        print(f"machine code of {name}: {machine_code(dtype)}")
    if "float64" in names:
        check_training()
    print(f"hash: {digest.hexdigest()}")
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1:] or ["float32", "float64"])
