"""Every array that compiled code is handed, at pages that may not be touched: behind its end and before its beginning.

    PYTHONPATH=tests python tests/support/protected_pages.py [rounds]

A process of its own, for a touch kills it: faulthandler then says where. Not only operands are so placed but what
fastbp takes for itself too, by functions put in the place of `np.empty`, `np.zeros` and `aligned` within its modules:
results, activations, workspace, staged rows, parameters, an optimizer's memory; and what a compiled pass only reads, a
part of a larger array otherwise, is copied to a page of its own: targets, weights, the numbers of the steps. Every
result must have the bits that it has without pages.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

import fastbp
from fastbp import MLP, functional, prediction
from fastbp.inputs import in_memory
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from fastbp.kernels.shapes import BY_ROWS, HALF_ROWS, IN_PLACE, MR, PACKED
from fastbp.kernels.target import TARGET
from fastbp.model import evaluation, model
from fastbp.optimizers import OPTIMIZERS
from fastbp.program import memory, table
from fastbp.program.run import Course, Operands
from fastbp.program.run import run as run_as_it_is
from fastbp.program.tuning import Tuning, forced
from fastbp.training import loop, optimizer_state
from support.comparisons import bits_of
from support.memory import guarded

try:
    from scipy.sparse import csr_array
except ImportError:
    csr_array = None

SIDES = ("end", "start")
TUNINGS = (Tuning(), Tuning(mc=1, kc=5, access=PACKED, a_in_place=False), Tuning(kc=7, access=BY_ROWS),
           Tuning(packed_columns=1, access=IN_PLACE, a_in_place=True),
           Tuning(row_parts=2, column_parts=2, kc=9, parallel=True))  # fmt: skip
SPECIALISED = Tuning(specialised=True)
FORMS = (*ACTIVATIONS, ("gelu", "relu"), ("leaky_relu", "tanh"), ("relu", "silu"), ("identity", "gelu"))
READ = ("targets", "labels", "weights", "coefficients")
placed = 0


class Guarding:
    """NumPy, with `empty` and `zeros` at a protected page."""

    def __init__(self, side: str):
        self._side = side

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        return place(np.full(shape, 77, dtype), self._side)

    def zeros(self, shape: Any, dtype: Any = np.float64) -> Any:
        return place(np.zeros(shape, dtype), self._side)

    def empty_like(self, array: Any) -> Any:
        return self.empty(array.shape, array.dtype)


def place(array: Any, side: str) -> Any:
    global placed
    placed += 1
    return guarded(array, side) if np.size(array) else array


@contextlib.contextmanager
def own_memory_guarded(side: str) -> Iterator[None]:
    before = [(module, "np", np) for module in (functional, prediction, evaluation, in_memory, loop)]
    users = (memory, table, model, in_memory, prediction, loop, optimizer_state)
    before += [(module, "aligned", memory.aligned) for module in users]
    before += [(module, "run", run_as_it_is) for module in (functional, prediction, evaluation, loop)]
    assert all(getattr(module, name) is value for module, name, value in before)
    numpy = Guarding(side)

    def run(program: Any, operands: Operands, course: Course | None = None) -> None:
        read = {name: place(getattr(operands, name), side) for name in READ if getattr(operands, name) is not None}
        run_as_it_is(program, operands._replace(**read), course)

    for module, name, _ in before:
        setattr(module, name, {"np": numpy, "run": run, "aligned": numpy.empty}[name])
    memory._scratch.workspaces.clear()  # else a larger one is kept, whose end is far away
    memory._scratch.activations.clear()
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        memory._scratch.workspaces.clear()
        memory._scratch.activations.clear()


def functions(operands: dict[str, Any]) -> list[Any]:
    """Results of every function; those that write take an operand each."""
    X, W, b, dH, y, t, out, updated = (operands[name] for name in ("X", "W", "b", "dH", "y", "t", "out", "updated"))
    results = [fastbp.affine_forward(X, W, b, out=out).copy(), fastbp.affine_relu_forward(X, W, b, out=out)]
    results += [fastbp.affine_forward(X, W, b), *fastbp.affine_backward(dH, X, W), fastbp.relu_forward(dH)]
    results += [fastbp.relu_backward(dH, out), *fastbp.softmax_cross_entropy(dH, y)]
    results += fastbp.softmax_cross_entropy(dH, t)
    fastbp.sgd_update(updated, dH, 0.5, 0.25)
    return [*results, updated]


def mlp(operands: dict[str, Any], scaled: bool, activation: str) -> list[Any]:
    """Results of every pass of a network; X in place, or gathered where it is scaled or of another dtype."""
    X, y, t, dtype = operands["X"], operands["y"], operands["t"], operands["W"].dtype
    scaling = {"input_shift": operands["shift"], "input_scale": operands["scale"]} if scaled else {}
    net = MLP((X.shape[1], 9, t.shape[1]), activation, dtype=dtype, seed=0, **scaling)
    if scaled:  # vectors of its own otherwise: at the page as they were given
        net.model.input_shift, net.model.input_scale = operands["shift"], operands["scale"]
    results: list[Any] = [net.logits(X), net.predict_proba(X), net.predict(X)]
    results += [net.logits(X), net.predict(X)]  # by a pass that is kept, with what it needs
    for labels in (y, t):
        g = net.gradient(X, labels, l2=0.5)
        results += [net.loss(X, labels, l2=0.5), net.score(X, labels), g.loss, *g.weights, *g.biases, g.inputs]
        for shuffle, batch in ((False, 4), (True, len(X))):
            history = net.fit(X, labels, epochs=2, batch_size=batch, learning_rate=0.05, l2=0.1, shuffle=shuffle,
                              validation_data=(X, labels), progress=False)  # fmt: skip
            results += [history.loss, history.validation_loss, net.parameters.copy()]
    return results


def others(operands: dict[str, Any], activation: Any, loss: str, optimizer: str, as_sparse: bool) -> list[Any]:
    """Results of what plain training does not go through: weights, dropout, clipping, moments, other formulas."""
    X, w, t, y, dtype = operands["X"], operands["w"], operands["t"], operands["y"], operands["W"].dtype
    X = csr_array(X) if as_sparse else X
    net = MLP((X.shape[1], 9, 7, t.shape[1]), activation, loss, dtype, seed=0)
    net.parameters[...] /= 16  # so that no exponential overflows
    results: list[Any] = [net.outputs(X), net.predict(X)]
    for target in (y, t) if loss == "softmax_cross_entropy" else (t,):
        g = net.gradient(X, target, 0.5, sample_weight=w, dropout=0.5, dropout_key=3)
        rows = net.sample_gradients(X, target)
        results += [net.loss(X, target, 0.5, sample_weight=w), net.score(X, target), g.loss, *g.weights, *g.biases]
        results += [g.inputs, rows.losses, rows.inputs, *rows.weights, *rows.biases]
        for clip in (None, 0.5):
            settings: dict[str, Any] = {"learning_rate": 1e-5, "l2": 0.1, "optimizer": optimizer, "sample_weight": w,
                                        "dropout": 0.25, "max_grad_norm": clip}  # fmt: skip
            history = net.fit(X, target, epochs=2, batch_size=4, early_stopping=1, progress=False, **settings)
            history = net.partial_fit(X, target, 5, **settings)
            history = net.partial_fit(X, target, len(w), **settings)
            results += [history.loss, net.parameters.copy()]
    return results


def embeddings(operands: dict[str, Any], width: int, optimizer: str) -> list[Any]:
    """Results of a network that embeds the first and the last column of X, whose numbers are below 3."""
    X, y, t, dtype = operands["X"], operands["y"], operands["t"], operands["W"].dtype
    columns = {0: (3, width), X.shape[1] - 1: (3, 2 * width + 1)}
    net = MLP((X.shape[1], 7, t.shape[1]), dtype=dtype, seed=0, embeddings=columns)
    results: list[Any] = [net.logits(X), net.logits(X), net.logits(X), net.hidden(X)]
    g, rows = net.gradient(X, y, l2=0.5), net.sample_gradients(X, y)
    results += [g.loss, *g.weights, *g.biases, g.inputs, *g.embeddings.values(), *rows.embeddings.values()]
    for shuffle, batch, clip in ((False, 4, None), (True, len(X), 0.5), (True, 3, None)):
        history = net.fit(X, y, 2, batch, 0.01, 0.1, optimizer, shuffle, dropout=0.25, max_grad_norm=clip,
                          progress=False)  # fmt: skip
        results += [history.loss, net.parameters.copy()]
    return results


def same(what: str, actual: list[Any], expected: list[Any]) -> None:
    for number, (one, other) in enumerate(zip(actual, expected, strict=True)):
        if not np.array_equal(bits_of(one), bits_of(other)):
            raise AssertionError(f"{what}: result {number} has other bits at a protected page")


def check(rng: np.random.Generator, dtype: Any, n: int, f: int, c: int, tuning: Tuning) -> int:
    plain = {
        "X": rng.normal(size=(n, f)).astype(dtype), "W": rng.normal(size=(f, c)).astype(dtype),
        "b": rng.normal(size=c).astype(dtype), "dH": rng.normal(size=(n, c)).astype(dtype),
        "y": rng.integers(0, c, n), "t": rng.dirichlet(np.ones(c), n).astype(np.float64),
        "out": np.zeros((n, c), dtype), "updated": rng.normal(size=(n, c)).astype(dtype),
        "shift": rng.normal(size=f).astype(dtype), "scale": rng.normal(size=f).astype(dtype),
        "w": rng.integers(0, 4, n).astype(dtype),
    }  # fmt: skip
    plain["t"] = plain["t"].astype(dtype)
    calls = 0

    def draw(options: Any) -> Any:
        return list(options)[int(rng.integers(len(options)))]

    with forced(tuning):
        kinds = [dtype, np.uint8, np.float32, np.float64, np.int16, np.float16]
        kind = kinds[int(rng.integers(len(kinds)))]
        other = {**plain, "X": rng.integers(0, 9, (n, f)).astype(kind)}  # dtypes with and without a gather of their own
        runs = [(functions, plain, ()), (mlp, plain, (False, "relu")), (mlp, plain, (True, "identity")),
                (mlp, other, (False, "identity")), (mlp, other, (True, "relu")),
                (others, plain, (draw(FORMS), draw(LOSSES), draw(OPTIMIZERS), False)),
                (others, {**plain, "X": other["X"].astype(dtype)}, (draw(FORMS), draw(LOSSES), draw(OPTIMIZERS),
                                                                    csr_array is not None))]  # fmt: skip
        for source in (plain["X"], other["X"]):
            X = source.copy()
            X[:, [0, -1]] = rng.integers(0, 3, (n, 2))
            runs.append((embeddings, {**plain, "X": X}, (int(rng.integers(1, 2 * c + 1)), draw(OPTIMIZERS))))
        if tuning.specialised:  # each form of a step is compiled for its network: 2 s
            runs = [(mlp, plain, (False, "relu")), (others, plain, ("gelu", "quantile", "adam", False))]
        for function, operands, more in runs:
            with forced(Tuning() if tuning.specialised else tuning):
                expected = function({name: value.copy() for name, value in operands.items()}, *more)
            for side in SIDES:
                at_page = {name: place(value, side) for name, value in operands.items()}
                with own_memory_guarded(side):
                    actual = function(at_page, *more)
                same(f"{function.__name__}{more} of {n} x {f} x {c} in {np.dtype(dtype)}, {side}", actual, expected)
                calls += 1
    return calls


def main(rounds: int) -> None:
    faulthandler.enable()
    fastbp.threads.layer()
    rng = np.random.default_rng(5)
    calls = 0
    for round_, dtype in itertools.product(range(rounds), (np.float32, np.float64)):
        vl = TARGET.lanes(dtype)
        around = [1, 2, 3, HALF_ROWS + 1, HALF_ROWS - 1, MR - 1, MR, MR + 1, vl - 1, vl, vl + 1, 2 * vl + 1, 3 * MR]
        for number in range(len(around)):
            n, f, c = around[number], *(int(size) for size in rng.choice(around, 2))
            calls += check(rng, dtype, n, f, c, TUNINGS[(number + round_) % len(TUNINGS)])
        calls += check(rng, dtype, 4 * vl + 1, vl - 1, vl + 1, SPECIALISED)
    print(f"{calls} sets of calls, {placed} arrays at protected pages")
    print("ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
