"""Checks for the same bits: with other threads and splits, one row at a time, and with the update fused or apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import functional, threads
from ..kernels import shapes
from ..kernels.activations import ACTIVATIONS
from ..kernels.shapes import BY_ROWS, IN_PLACE, PACKED
from ..model.evaluation import Gradient
from ..network import MLP
from ..optimizers import OPTIMIZERS
from ..program.tuning import Tuning, forced
from .cases import (
    DROPOUT,
    FORMS,
    WIDE,
    Case,
    combinations,
    described,
    draw,
    embedded_cases,
    key_of_next_fit,
    softmax_cases,
)
from .gradients import tensors
from .tally import Array, Tally

# Choices that may not change a bit. The programs of a network are cached by these objects.
ALONE = Tuning(parallel=False)
BLOCKINGS = (
    Tuning(kc=1),
    Tuning(mc=1, kc=7, nc=1, access=PACKED, a_in_place=False),
    Tuning(kc=5, access=BY_ROWS),
    Tuning(access=BY_ROWS, parallel=False),
    Tuning(access=IN_PLACE, a_in_place=True),
    Tuning(packed_columns=1, kc=6, access=IN_PLACE, a_in_place=False, parallel=True),
    Tuning(packed_columns=1, access=PACKED, a_in_place=True),
    Tuning(mc=20, packed_columns=40, access=PACKED, a_in_place=False),
)
SPLITS = (
    Tuning(parallel=True),
    Tuning(parallel=True, slabs=True),
    Tuning(parallel=True, slabs=False),
    Tuning(parallel=True, row_parts=2),
    Tuning(parallel=True, column_parts=2),
    Tuning(parallel=True, slabs=True, row_parts=5),
    Tuning(parallel=True, slabs=False, row_parts=2, kc=9, access=PACKED),
    Tuning(slabs=True, row_parts=3, kc=4),
)


def _results(case: Case, dtype: np.dtype[Any]) -> Iterator[tuple[str, Array]]:
    """Give everything that a network computes, including training with a short last minibatch."""
    drawn = draw(case, dtype)
    net, X, y = drawn.net, drawn.X, drawn.y
    g = net.gradient(X, y, case.l2, **drawn.options)
    yield from tensors(g)
    yield "gradient's loss", np.array(g.loss)
    yield "loss", np.array(net.loss(X, y, case.l2, sample_weight=drawn.weights))
    yield "logits", net.logits(X)
    yield "outputs", net.outputs(X)
    history = net.fit(
        X,
        y,
        epochs=2,
        batch_size=max(1, case.n * 2 // 5),
        learning_rate=0.05,
        l2=case.l2,
        optimizer=case.optimizer,
        sample_weight=drawn.weights,
        dropout=case.dropout,
        max_grad_norm=case.max_grad_norm,
        progress=False,
    )
    yield "parameters after training", net.parameters
    yield "training's losses", np.array(history.loss)


def _functions(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Iterator[tuple[str, Array]]:
    rng = np.random.default_rng(4)
    n, fan_in, fan_out = shape
    shapes = (n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)
    X, W, b, dH = (rng.normal(size=size).astype(dtype) for size in shapes)
    yield "affine_forward", functional.affine_forward(X, W, b)
    yield "affine_relu_forward", functional.affine_relu_forward(X, W, b)
    yield from zip(("dX", "dW", "db"), functional.affine_backward(dH, X, W), strict=True)
    loss, dlogits = functional.softmax_cross_entropy(dH, np.arange(n) % fan_out)
    yield from (("softmax_cross_entropy", np.array(loss)), ("dlogits", dlogits))


def _bit_cases(dtype: np.dtype[Any]) -> list[tuple[str, Callable[[], Iterator[tuple[str, Array]]]]]:
    cases = [
        Case((6, 5), 13, l2=0.02),
        Case((13, 35, 9, 5), 37, form="probabilities"),
        Case((9, 40, 35, 23), 300, l2=0.02),
        Case((40, 20, 4), 29, "identity", scaled=True),
        *_of_every_kind(),
        *embedded_cases((91,)),
    ]
    shapes = [(1, 30, 50), (5, 70, 3), (37, 50, 67), (300, 33, 40), (15, 1300, 35)]
    return [
        *((str(case), lambda case=case: _results(case, dtype)) for case in cases),
        *((f"affine {shape}", lambda shape=shape: _functions(shape, dtype)) for shape in shapes),
    ]


def _of_every_kind() -> Iterator[Case]:
    """Give every optimizer and every activation at least once; dropout, weights, l2 and clipping by turns."""
    shapes = itertools.cycle(((13, 35, 9, 5), (7, 40, 18), (33, 20, 41, 12)))
    optimizers, activations, forms = itertools.cycle(OPTIMIZERS), itertools.cycle(ACTIVATIONS), itertools.cycle(FORMS)
    for i in range(max(len(OPTIMIZERS), len(ACTIVATIONS), len(FORMS))):
        loss, form = next(forms)
        yield Case(
            next(shapes),
            n=(37, 90)[i % 2],
            activation=next(activations),
            loss=loss,
            form=form,
            l2=0.02 * (i % 3 > 0),
            weighted=i % 2 == 0,
            dropout=DROPOUT * (i % 4 > 0),
            optimizer=next(optimizers),
            max_grad_norm=0.1 if i % 3 < 2 else None,
        )


def _same_under(tally: Tally, dtype: np.dtype[Any], ways: Iterable[tuple[Tuning, int | None]]) -> None:
    """Compare each way, a tuning and a limit of threads, with one thread and the default blocking."""
    cases = _bit_cases(dtype)
    with forced(ALONE), threads.limit(1):
        expected = [[(name, value.copy()) for name, value in results()] for _, results in cases]
    for way, limit in ways:
        for (what, results), wanted in zip(cases, expected, strict=True):
            with forced(way), threads.limit(limit):
                for (name, actual), (_, value) in zip(results(), wanted, strict=True):
                    tally.same(f"{name}, {what}, {described(way)}, threads: {limit or 'all'}", actual, value)


def check_blockings(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check other stretches of rows, of k and of columns, and other ways to read the operands."""
    _same_under(tally, dtype, ((way, None) for way in BLOCKINGS))


def check_threads(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check every way of splitting work among threads against one thread; three times, for races."""
    limits = (1, 2, 3, None) if threads.count() > 2 else (1, None)
    ways = [(way, limit) for way in SPLITS for limit in limits]
    _same_under(tally, dtype, ways + 2 * [way for way in ways if way[1] != 1])


def check_rows(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check rows alone and in batches of every size up to two tiles."""
    forms = itertools.cycle(FORMS)
    cases = [Case(sizes, 64, activation, *next(forms)) for sizes, activation in itertools.product(WIDE, ACTIVATIONS)]
    # A power of two: the mean over rows is an exact division.
    for case in itertools.chain(cases, (case._replace(weighted=False, dropout=0.0) for case in embedded_cases((64,)))):
        drawn = draw(case, dtype)
        net, X, y = drawn.net, drawn.X, drawn.y
        logits, outputs, dX = net.logits(X), net.outputs(X), net.gradient(X, y).inputs
        for count in range(1, 2 * shapes.MAIN.rows + 2):
            tally.same(f"{case}: logits of {count} rows", net.logits(X[:count]), logits[:count])
            tally.same(f"{case}: outputs of {count} rows", net.outputs(X[-count:]), outputs[-count:])
        for i in range(case.n):
            row, what = slice(i, i + 1), f"{case}: row {i} alone"
            tally.same(f"{what}, logits", net.logits(X[row]), logits[row])
            tally.same(f"{what}, inputs", net.gradient(X[row], y[row]).inputs / dtype.type(case.n), dX[row])
        each = net.sample_gradients(X, y)
        tally.same(f"{case}: sample_gradients", each.inputs / dtype.type(case.n), dX)
        for column, tables in each.embeddings.items():
            table = net.gradient(X[-1:], y[-1:]).embeddings[column]
            tally.same(f"{case}: sample_gradients of embeddings[{column}]", tables[-1], table)


def _parts(of: MLP | Gradient) -> tuple[Array, ...]:
    """Return weights, biases and tables, or their gradients."""
    return *of.weights, *of.biases, *of.embeddings.values()


def check_fused(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check a step of `fit`, with weights and dropout, against `gradient` and `sgd_update`."""
    ways = itertools.cycle((Tuning(), *BLOCKINGS, *SPLITS))
    rows = (1, 13, 37, 300)
    sgd = (case for case in embedded_cases((13, 37)) if case.max_grad_norm is None)
    for case in itertools.chain(softmax_cases(WIDE, rows), combinations(WIDE, (1, 13, 37)), sgd):
        drawn = draw(case, dtype)
        net, X, y = drawn.net, drawn.X, drawn.y
        start, state = net.parameters.copy(), net.rng.bit_generator.state
        whole: dict[str, Any] = {"epochs": 1, "batch_size": case.n, "shuffle": False, "progress": False}
        whole["sample_weight"] = drawn.weights
        g = net.gradient(X, y, sample_weight=drawn.weights, dropout=case.dropout, dropout_key=key_of_next_fit(net))
        expected = [array.copy() for array in _parts(net)]
        for i, (array, slope) in enumerate(zip(expected, _parts(g), strict=True)):
            of_bias = len(g.weights) <= i < 2 * len(g.weights)
            functional.sgd_update(array, slope, 0.1, 0.0 if of_bias else case.l2)
        for way in itertools.islice(ways, 2):  # the next two of them for each case
            net.parameters, net.rng.bit_generator.state = start, state
            with forced(way):
                net.fit(X, y, learning_rate=0.1, l2=case.l2, dropout=case.dropout, **whole)
            for actual, value in zip(_parts(net), expected, strict=True):
                tally.same(f"{case}, {described(way)}", actual, value)


def check_one_hot(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check class indices against one-hot rows of probabilities."""
    for sizes, n, dropout in itertools.product(WIDE, (1, 13, 37), (0.0, DROPOUT)):
        case = Case(sizes, n, l2=0.02, weighted=dropout > 0, dropout=dropout)
        drawn, twin = draw(case, dtype), draw(case, dtype).net
        net, X, y = drawn.net, drawn.X, drawn.y
        rows = np.eye(sizes[-1], dtype=dtype)[y]
        ours, theirs = tensors(net.gradient(X, y, **drawn.options)), tensors(twin.gradient(X, rows, **drawn.options))
        for (name, own), (_, other) in zip(ours, theirs, strict=True):
            tally.same(f"{case}: {name}", other, own)
        epochs: dict[str, Any] = {"epochs": 2, "batch_size": 5, "shuffle": False, "progress": False}
        settings: dict[str, Any] = {"learning_rate": 0.1, "l2": 0.02, "dropout": dropout, **epochs}
        for either, targets in ((net, y), (twin, rows)):
            either.fit(X, targets, sample_weight=drawn.weights, **settings)
        tally.same(f"{case}: parameters after training", twin.parameters, net.parameters)
