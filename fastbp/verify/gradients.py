"""Gradients of whole networks: against central differences of the textbook's objective, and against the reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import reference
from ..model.evaluation import Gradient
from ..numeric_gradients.check import gradcheck
from .cases import DELTA, DROPOUT, SMALL, WIDE, Case, Drawn, combinations, draw, eps_of, softmax_cases
from .objective import objective
from .tally import Array, Tally


def check_numeric(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Gradients of weights, biases and inputs against central differences of `objective`, all in float64; those of
    float32 against the float64 ones of the same numbers."""
    large = (case for case in softmax_cases(((3, 4), (3, 7, 3), (3, 6, 5, 3)), (300,)) if case.scaled)
    for case in itertools.chain(combinations(SMALL, (1, 5, 13)), softmax_cases(SMALL, (37,)), large):
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
    parts = [*net.weights, *net.biases, drawn.X]
    layers = len(net.weights)

    def value(weights: list[Array], biases: list[Array], X: Array) -> float:
        return objective(net, weights, biases, X, drawn.t, case.l2, drawn.weights, drawn.masks)

    loss = value(parts[:layers], parts[layers:-1], drawn.X)
    tally.within(f"{case}: loss", g.loss, loss, case.terms * eps_of(net.dtype) * (1 + loss))
    for number, (name, analytic) in enumerate(tensors(g)):

        def function(moving: Array, number: int = number) -> float:
            moved = [moving if i == number else part for i, part in enumerate(parts)]
            return value(moved[:layers], moved[layers:-1], moved[-1])

        tally.numeric(f"{case}: {name}", gradcheck(function, analytic, parts[number]))


def tensors(g: Gradient) -> list[tuple[str, Array]]:
    return [*((f"weights[{i}]", dW) for i, dW in enumerate(g.weights)),
            *((f"biases[{i}]", db) for i, db in enumerate(g.biases)), ("inputs", g.inputs)]  # fmt: skip


def _compare(tally: Tally, drawn: Drawn, found: Gradient, wanted: Gradient) -> None:
    """Each tensor relative to its largest entry, with what is lost where ``outputs - targets`` cancels."""
    case = drawn.case
    k = case.terms * eps_of(drawn.net.dtype)
    tally.within(f"{case}: loss", found.loss, wanted.loss, k * (1 + wanted.loss))
    z = drawn.logits(drawn.masks)
    k *= _cancelled(drawn, z)
    slopes = reference.loss_of(case.loss, z, drawn.y, drawn.weights, DELTA)[1]
    last = f"biases[{len(wanted.biases) - 1}]"
    for (name, actual), (_, expected) in zip(tensors(found), tensors(wanted), strict=True):
        # The last bias's is nothing but the sum of the logits' slopes, which may cancel where there is one output.
        scale = np.abs(slopes).sum(axis=0).max() if name == last else np.abs(expected).max()
        tally.within(f"{case}: {name}", actual, expected, k * scale)


def _cancelled(drawn: Drawn, z: Array) -> float:
    """How much larger than the largest slope of a logit the numbers are whose difference it is."""
    if drawn.case.loss == "mean_absolute_error":
        return 1.0  # the slope is a sign
    net, t = drawn.net, drawn.t
    outputs = reference.outputs_of(net.loss_name, z)
    rounded = outputs * (1 + np.abs(z)) if "poisson" in net.loss_name else np.abs(outputs)
    slopes = outputs - t if net.loss_name != "huber" else np.clip(outputs - t, -DELTA, DELTA)
    w = np.ones((len(z), 1)) if drawn.weights is None else drawn.weights[:, np.newaxis]
    return float((w * (rounded + np.abs(t))).max() / (w * np.abs(slopes)).max())


def check_gradient(tally: Tally, dtype: np.dtype[Any]) -> None:
    """`MLP.gradient`, `loss`, `logits` and `outputs` against the reference."""
    rows = (1, 13, 37, 300)
    in_parts = [Case((33, 90, 70, 10), 3200, name, weighted=True, dropout=DROPOUT) for name in ("relu", "silu")]
    for case in itertools.chain(combinations(WIDE, rows), softmax_cases(WIDE, rows), in_parts):
        drawn = draw(case, dtype)
        net, X, y = drawn.net, drawn.X, drawn.y
        tally.left_out += drawn.left_out
        _compare(tally, drawn, net.gradient(X, y, case.l2, **drawn.options), drawn.gradient())
        k = case.terms * eps_of(dtype)
        loss = reference.loss(net.weights, net.biases, X, y, case.l2, **drawn.of_reference, sample_weight=drawn.weights)
        tally.within(f"{case}: loss alone", net.loss(X, y, case.l2, sample_weight=drawn.weights), loss, k * (1 + loss))
        logits = drawn.logits()
        size = np.abs(logits).max()
        tally.within(f"{case}: logits", net.logits(X), logits, k * size)
        outputs = reference.outputs_of(case.loss, logits)
        tally.within(f"{case}: outputs", net.outputs(X), outputs, k * (1 + size) * np.abs(outputs).max())
