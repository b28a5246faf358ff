"""Checks of whole networks' gradients: against central differences, and against the reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import reference
from ..model.evaluation import Gradient
from ..numeric_gradients.check import gradcheck
from ..program.parameters import Embedding
from .cases import (
    DROPOUT,
    SMALL,
    WIDE,
    Case,
    Drawn,
    combinations,
    draw,
    embedded_cases,
    eps_of,
    objective_of,
    softmax_cases,
)
from .tally import Array, Tally

NEARBY = 1e-5  # a relative change of logits, too small to take a row across a kink


def check_numeric(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check gradients of weights, biases and inputs against central differences of the objective.

    All of it is float64; gradients in float32 are compared with the float64 ones of the same numbers.
    """
    large = (case for case in softmax_cases(((3, 4), (3, 7, 3), (3, 6, 5, 3)), (300,)) if case.scaled)
    plain = itertools.chain(combinations(SMALL, (1, 5, 13)), softmax_cases(SMALL, (37,)), large)
    for case in itertools.chain(plain, embedded_cases((13,))):
        drawn = draw(case, dtype)
        tally.left_out += drawn.left_out
        g = drawn.net.gradient(drawn.X, drawn.y, case.l2, **drawn.options)
        if dtype == np.float32:
            double = draw(case, np.dtype(np.float64))
            _compare(tally, drawn, g, double.net.gradient(double.X, double.y, case.l2, **double.options))
        else:
            _differentiate(tally, drawn, g)


def _differentiate(tally: Tally, drawn: Drawn, g: Gradient) -> None:
    case, net = drawn.case, drawn.net
    parts = [*net.weights, *net.biases, drawn.X, *net.embeddings.values()]
    layers = len(net.weights)
    objective = objective_of(case, net)

    def value(parts: list[Array]) -> float:
        weights, biases, X = parts[:layers], parts[layers : 2 * layers], parts[2 * layers]
        tables = dict(zip(net.embeddings, parts[2 * layers + 1 :], strict=True))
        return objective(weights, biases, X, drawn.t, case.l2, drawn.weights, drawn.masks, tables)

    loss = value(parts)
    tally.within(f"{case}: loss", g.loss, loss, case.terms * eps_of(net.dtype) * (1 + loss))
    embedded = [column for column, *_ in case.embeddings]
    tally.same(f"{case}: inputs of embedded columns", g.inputs[:, embedded], np.zeros((case.n, len(embedded))))
    for number, (name, analytic) in enumerate(tensors(g)):
        if name == "inputs" and len(embedded) == case.sizes[0]:
            continue

        def function(moving: Array, number: int = number) -> float:
            return value([moving if i == number else part for i, part in enumerate(parts)])

        tally.numeric(f"{case}: {name}", gradcheck(function, analytic, parts[number]))


def tensors(g: Gradient) -> list[tuple[str, Array]]:
    """Return the arrays of a gradient, each with its name."""
    weights = [(f"weights[{i}]", dW) for i, dW in enumerate(g.weights)]
    biases = [(f"biases[{i}]", db) for i, db in enumerate(g.biases)]
    tables = [(f"embeddings[{column}]", d_table) for column, d_table in g.embeddings.items()]
    return [*weights, *biases, ("inputs", g.inputs), *tables]


def _compare(tally: Tally, drawn: Drawn, found: Gradient, wanted: Gradient) -> None:
    """Compare each array relative to its largest entry, and allow for the cancellation in ``outputs - targets``."""
    case = drawn.case
    k = case.terms * eps_of(drawn.net.dtype)
    tally.within(f"{case}: loss", found.loss, wanted.loss, k * (1 + wanted.loss))
    z = drawn.logits(drawn.masks)
    k *= _cancellation(drawn, z)
    slopes = reference.loss_of(case.loss, z, drawn.y, drawn.weights, **loss_constants(case))[1]
    last = f"biases[{len(wanted.biases) - 1}]"
    for (name, actual), (_, expected) in zip(tensors(found), tensors(wanted), strict=True):
        # The gradient of the last biases is the sum of the logits' slopes, which may cancel if there is one output.
        scale = np.abs(slopes).sum(axis=0).max() if name == last else np.abs(expected).max()
        tally.within(f"{case}: {name}", actual, expected, k * scale)


def loss_constants(case: Case) -> dict[str, Any]:
    names = reference.LOSSES[case.loss].constants
    return {name: value for name, value in case.constants.items() if name in names}


def _cancellation(drawn: Drawn, z: Array) -> float:
    """Return by how much a difference of outputs and targets may cancel in the slopes, over all rows; 1 for not at all.

    Slopes that do not move with the outputs, such as a sign, are no differences. How much they move is measured.
    """
    case, constants = drawn.case, loss_constants(drawn.case)
    outputs, slopes = reference.outputs_of(case.loss, z), reference.loss_of(case.loss, z, drawn.y, **constants)[1]
    nearby = z * (1 + NEARBY)
    moved = np.abs(reference.outputs_of(case.loss, nearby) - outputs)
    bent = np.abs(reference.loss_of(case.loss, nearby, drawn.y, **constants)[1] - slopes)
    factor = float(np.divide(bent, moved, out=np.zeros_like(bent), where=moved > 0).max())
    # Outputs are rounded, and so are the logits that they are computed from.
    rounded = np.maximum(np.abs(outputs), moved / NEARBY)
    w = np.ones((len(z), 1)) if drawn.weights is None else drawn.weights[:, np.newaxis]
    return max(1.0, factor * float((w * (rounded + np.abs(drawn.t))).max() / (w * np.abs(slopes)).max()))


def check_gradient(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check `MLP.gradient`, `loss`, `logits` and `outputs` against the reference."""
    rows = (1, 13, 37, 300)
    in_parts = [Case((33, 90, 70, 10), 3200, name, weighted=True, dropout=DROPOUT) for name in ("relu", "silu")]
    embedded = Case((5, 30, 4), 3200, embeddings=(Embedding(1, 6, 5), Embedding(3, 900, 4)))  # in parts, too
    plain = itertools.chain(combinations(WIDE, rows), softmax_cases(WIDE, rows), in_parts)
    for case in itertools.chain(plain, embedded_cases(rows), [embedded]):
        drawn = draw(case, dtype)
        net, X, y = drawn.net, drawn.X, drawn.y
        tally.left_out += drawn.left_out
        _compare(tally, drawn, net.gradient(X, y, case.l2, **drawn.options), drawn.gradient())
        k = case.terms * eps_of(dtype)
        more = {**drawn.of_reference, "sample_weight": drawn.weights}
        loss = reference.embedded_loss(net.embeddings, net.weights, net.biases, X, y, case.l2, **more)
        tally.within(f"{case}: loss alone", net.loss(X, y, case.l2, sample_weight=drawn.weights), loss, k * (1 + loss))
        logits = drawn.logits()
        size = np.abs(logits).max()
        tally.within(f"{case}: logits", net.logits(X), logits, k * size)
        outputs = reference.outputs_of(case.loss, logits)
        tally.within(f"{case}: outputs", net.outputs(X), outputs, k * (1 + size) * np.abs(outputs).max())
