"""Loss and gradients of a model: the work of `MLP.loss`, `gradient` and `sample_gradients`.

Rows are taken in blocks, so that activations stay small; a gradient is summed over the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation
from ..kernels import coefficients as co
from ..kernels.dropout import STREAM
from ..program import passes
from ..program.batch_layout import BatchLayout
from ..program.cost_model import threads_for
from ..program.memory import scratch
from ..program.network import StepForm, thresholds_of
from ..program.run import Operands, run
from ..program.tuning import tuning
from .model import Model
from .row_weights import balanced

Array = NDArray[Any]


@dataclass(frozen=True)
class Gradient:
    """The loss and its derivatives, in the compute dtype.

    Attributes
    ----------
    loss : float
        The mean over rows, plus the penalty ``l2 / 2 sum ||W||^2``.
    weights : list of array (fan_in, fan_out)
        The derivatives with respect to each W, the penalty's ``l2 W`` included.
    biases : list of array (fan_out,)
        The derivatives with respect to each b.
    inputs : array (n, features)
        The derivatives with respect to X as it was given: in the order of its columns, input scaling included; 0 in
        embedded columns.
    embeddings : dict of int to array (levels, width)
        The derivatives with respect to each table, the penalty's part included, by column.
    parameters : array (n_parameters,)
        Those with respect to all parameters, in the order of `MLP.parameters`: `weights`, `biases` and `embeddings`
        are views into it.
    """

    loss: float
    weights: list[Array]
    biases: list[Array]
    inputs: Array
    embeddings: dict[int, Array] = field(default_factory=dict)
    parameters: Array = field(default_factory=lambda: np.empty(0), repr=False)


@dataclass(frozen=True)
class Derivatives:
    """The derivatives of a function of the logits, in the compute dtype.

    Attributes
    ----------
    weights : list of array (fan_in, fan_out)
        Those with respect to each W.
    biases : list of array (fan_out,)
        Those with respect to each b.
    inputs : array (n, features)
        Those with respect to X as it was given: in the order of its columns, input scaling included; 0 in embedded
        columns. Without rows, (0, features), where they were not asked for.
    embeddings : dict of int to array (levels, width)
        Those with respect to each table, by column.
    parameters : array (n_parameters,)
        Those with respect to all parameters, in the order of `MLP.parameters`: `weights`, `biases` and `embeddings`
        are views into it.
    """

    weights: list[Array]
    biases: list[Array]
    inputs: Array
    embeddings: dict[int, Array] = field(default_factory=dict)
    parameters: Array = field(default_factory=lambda: np.empty(0), repr=False)

    @classmethod
    def empty(cls, model: Model, rows: int) -> Derivatives:
        """Return derivatives for so many rows of X, to be filled in."""
        flat, layout = np.empty(model.parameters.size, model.dtype), model.network.layout
        inputs = _empty_inputs(model, rows)
        return cls(layout.weights(flat), layout.biases(flat), inputs, layout.tables(flat), flat)


@dataclass(frozen=True)
class SampleGradients:
    """The loss of each row and its derivatives, without penalty, in the compute dtype.

    Attributes
    ----------
    losses : array (n,)
    weights : list of array (n, fan_in, fan_out)
        The derivatives of each row's loss with respect to each W.
    biases : list of array (n, fan_out)
        The derivatives of each row's loss with respect to each b.
    inputs : array (n, features)
        The derivatives with respect to X as it was given: in the order of its columns, input scaling included; 0 in
        embedded columns.
    embeddings : dict of int to array (n, levels, width)
        The derivatives of each row's loss with respect to each table, by column.
    """

    losses: Array
    weights: list[Array]
    biases: list[Array]
    inputs: Array
    embeddings: dict[int, Array] = field(default_factory=dict)


class Rows(Protocol):
    """The rows of X, as `fastbp.inputs` provides them."""

    count: int

    def between(self, begin: int, end: int, checked: bool = True) -> Array: ...

    def as_given(self, array: Array) -> Array: ...


def loss(model: Model, rows: Rows, y: ArrayLike, l2: float, sample_weight: ArrayLike | None) -> float:
    """Return what `MLP.loss` returns."""
    targets = model.targets("y", y, rows.count)
    l2 = validation.rate("l2", l2, model.dtype)
    weights, total = _weights(model, sample_weight, rows.count)
    losses = np.empty(rows.count, model.dtype)
    number = threads_for(2.0 * rows.count * model.parameters.size)

    def call(begin: int, end: int, **operands: Any) -> None:
        form, chosen = _targets_of(targets, begin, end)
        program = passes.losses(model.network, end - begin, model.dtype, number, form, tuning())
        run(program, Operands(gradient=losses[begin:end], coefficients=model.coefficients, **operands, **chosen))

    _over_blocks(model, rows, call)
    if weights is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # as in the kernel
            losses *= weights
    return _objective(model, losses, total, l2)


def gradient(
    model: Model,
    rows: Rows,
    y: ArrayLike,
    l2: float,
    sample_weight: ArrayLike | None,
    dropout: float | Sequence[float],
    dropout_key: int,
    input_dropout: float = 0.0,
) -> Gradient:
    """Return what `MLP.gradient` returns."""
    targets = model.targets("y", y, rows.count)
    l2 = validation.rate("l2", l2, model.dtype)
    weights, total = _weights(model, sample_weight, rows.count)
    thresholds = thresholds_of(
        model.network,
        validation.shares("dropout", dropout, model.network.layers - 1),
        validation.number("input_dropout", input_dropout, 0.0, 1.0, below=True),
    )
    key = validation.whole_number("dropout_key", dropout_key, 0)
    flat = np.empty(model.parameters.size, model.dtype)
    losses = np.empty(rows.count, model.dtype)
    inputs = _empty_inputs(model, rows.count)
    number = threads_for(6.0 * rows.count * model.parameters.size)
    coefficients = co.row(model.dtype, **model.fixed_coefficients, scale=1.0 / total)

    def call(begin: int, end: int, activations: Array, **operands: Any) -> None:
        kind, chosen = _targets_of(targets, begin, end)
        form = StepForm(kind, weights is not None, thresholds=thresholds)
        program = passes.gradient(model.network, end - begin, model.dtype, number, form, begin > 0, tuning())
        part = None if weights is None else weights[begin:end]
        of_rows = (key + begin * STREAM) % 2**64
        run(program, Operands(activations=activations, gradient=flat, weights=part, coefficients=coefficients,
                              key=of_rows, **operands, **chosen))  # fmt: skip
        at, count = BatchLayout(model.network, end - begin, model.dtype, thresholds), end - begin
        losses[begin:end] = activations[at.losses : at.losses + count]
        take_inputs(model, inputs[begin:end], activations, at)

    _over_blocks(model, rows, call, thresholds)
    if model.input_scale is not None:
        inputs *= model.input_scale
    if l2:
        coefficients = co.row(model.dtype, l2=l2)
        run(
            passes.add_l2(model.network),
            Operands(model.parameters, model.parameters, flat, flat, coefficients=coefficients),
        )
    layout = model.network.layout
    value = _objective(model, losses, total, l2)
    found = layout.weights(flat), layout.biases(flat), rows.as_given(inputs), layout.tables(flat), flat
    return Gradient(value, *found)


def sample_gradients(model: Model, rows: Rows, y: ArrayLike) -> SampleGradients:
    """Return what `MLP.sample_gradients` returns."""
    targets = model.targets("y", y, rows.count)
    n, fans = rows.count, model.network.layout.fans
    weights = [np.empty((n, fan_in, fan_out), model.dtype) for fan_in, fan_out in fans]
    biases = [np.empty((n, fan_out), model.dtype) for _, fan_out in fans]
    losses, inputs = np.empty(n, model.dtype), _empty_inputs(model, n)
    tables = {each.column: np.zeros((n, each.levels, each.width), model.dtype) for each in model.embeddings}
    coefficients = co.row(model.dtype, **model.fixed_coefficients, scale=1.0)
    number = threads_for(6.0 * n * model.parameters.size)
    flat = np.empty(model.parameters.size, model.dtype)

    def call(begin: int, end: int, activations: Array, **operands: Any) -> None:
        form, chosen = _targets_of(targets, begin, end)
        step = StepForm(form)
        program = passes.gradient(model.network, end - begin, model.dtype, number, step, False, tuning())
        run(program, Operands(activations=activations, gradient=flat, coefficients=coefficients, **operands, **chosen))
        at, count = BatchLayout(model.network, end - begin, model.dtype), end - begin
        losses[begin:end] = activations[at.losses : at.losses + count]
        vectors = take_inputs(model, inputs[begin:end], activations, at)
        for place, (each, of_rows) in enumerate(zip(model.embeddings, vectors, strict=True)):
            levels = matrix_at(activations, at.levels(place), count, 1)[:, 0].astype(np.int64)
            tables[each.column][np.arange(begin, end), levels] += of_rows
        into = _first_inputs(model, operands["inputs"], activations, at)
        for layer, (_, fan_out) in enumerate(fans):
            biases[layer][begin:end] = matrix_at(activations, at.gradient(layer), count, fan_out)
            np.multiply(into[:, :, None], biases[layer][begin:end, None, :], out=weights[layer][begin:end])
            into = matrix_at(activations, at.output(layer), count, fan_out)

    _over_blocks(model, rows, call)
    if model.input_scale is not None:
        inputs *= model.input_scale
    return SampleGradients(losses, weights, biases, rows.as_given(inputs), tables)


def _empty_inputs(model: Model, rows: int) -> Array:
    """Return an array for dX, with 0 in embedded columns, which are numbers of levels."""
    return (np.zeros if model.embeddings else np.empty)((rows, model.sizes[0]), model.dtype)


def take_inputs(model: Model, inputs: Array, activations: Array, at: BatchLayout) -> list[Array]:
    """Copy dX from the activations; return the part of each embedding's vectors."""
    layout, (fan_in, _) = model.network.layout, model.network.layout.fans[0]
    found = matrix_at(activations, at.gradient(-1), len(inputs), fan_in)
    if not model.embeddings:
        inputs[...] = found
        return []
    inputs[:, layout.plain_columns] = found[:, : layout.plain]
    places = zip(layout.vector_starts, model.embeddings, strict=True)
    return [found[:, first : first + each.width] for first, each in places]


def _first_inputs(model: Model, rows: Array, activations: Array, at: BatchLayout) -> Array:
    """Return what the first layer read of these rows."""
    if model.embeddings:
        return matrix_at(activations, at.inputs, at.rows, model.network.layout.fans[0][0])
    return rows.reshape(at.rows, -1)


def matrix_at(activations: Array, start: int, rows: int, columns: int) -> Array:
    """Return a view of the activations that begin there."""
    return activations[start : start + rows * columns].reshape(rows, columns)


def _objective(model: Model, losses: Array, total: float, l2: float) -> float:
    """Return the objective, from weighted row losses and the sum of the weights."""
    penalised = [*model.weights, *model.tables.values()]
    with np.errstate(over="ignore"):  # to infinity
        penalty = sum(float(np.square(W, dtype=np.float64).sum()) for W in penalised) if l2 else 0.0
        return float(losses.sum(dtype=np.float64) / total) + 0.5 * l2 * penalty


def _weights(model: Model, sample_weight: ArrayLike | None, rows: int) -> tuple[Array | None, float]:
    """Return the row weights, scaled by a power of two, and their sum; None and the number of rows without weights."""
    weights = validation.sample_weight("sample_weight", sample_weight, rows, model.dtype)
    if weights is None:
        return None, float(rows)
    weights, sums, _ = balanced(weights[np.newaxis])
    return weights[0], float(sums[0])


def _over_blocks(model: Model, rows: Rows, call: Callable[..., None], thresholds: tuple[int, ...] = ()) -> None:
    """Call `call` for one block of rows after another, so that activations stay small and Ctrl-C is heard."""
    most = model.rows_at_once
    size = passes.activations_size(model.network, min(most, rows.count), model.dtype, thresholds)
    activations = scratch(size, model.dtype)
    for begin in range(0, rows.count, most):
        end = min(rows.count, begin + most)
        call(begin, end, inputs=rows.between(begin, end), parameters=model.parameters, activations=activations)


def _targets_of(targets: Array, begin: int, end: int) -> tuple[str, dict[str, Any]]:
    if targets.ndim == 1:
        return "labels", {"labels": targets[begin:end]}
    return "targets", {"targets": targets[begin:end].reshape(-1)}
