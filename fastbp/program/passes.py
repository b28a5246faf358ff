"""The programs of a network: forward, gradient, and the training step with its fused update.

Two kinds of region make up a training step. First forward, loss and every dX; no weight is written before all of
that is done. Then the weight gradients and column sums of all layers side by side, with the update in their epilogue.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels import operations as op
from ..kernels.shapes import SCRATCH
from .batch_layout import BatchLayout
from .cost_model import CostModel
from .network import Network, StepForm
from .network_operations import NetworkOperations
from .parameter_blocks import average_of_all
from .products import Link
from .split import chain, cheapest
from .table import Program, Strand, operation


def _least_workspace(network: Network, rows: int) -> int:
    values = rows * network.sizes[-1] if network.loss.kind is not None else 0
    return max(rows + SCRATCH, values, *network.sizes)  # row sums of a loss, its values, column sums of a bias


# `forced` is the tuning in force: part of what a program is remembered by.


@functools.lru_cache(maxsize=256)
def forward(network: Network, rows: int, dtype: np.dtype[Any], threads: int, outputs: bool, forced: Any) -> Program:
    """Logits, or outputs, to the gradient buffer; to `probes`, sums of the inputs' squares, which are finite only where
    all inputs are."""

    def links(operations: NetworkOperations) -> list[Link]:
        found = operations.forward(logits_to=(op.GRADIENT, 0))
        return [*found, *operations.outputs(op.GRADIENT)] if outputs else found

    return _probed(links, network, rows, dtype, threads)


@functools.lru_cache(maxsize=256)
def hidden(network: Network, rows: int, dtype: np.dtype[Any], threads: int, layer: int, forced: Any) -> Program:
    """Outputs of a hidden layer to its place in the activations, or, of the last layer, logits; `probes` as of
    `forward`."""
    return _probed(lambda operations: operations.forward(layers=layer + 1), network, rows, dtype, threads)


def _probed(links: Callable[[NetworkOperations], list[Link]], network: Network, rows: int, dtype: np.dtype[Any],
            threads: int) -> Program:  # fmt: skip
    """Return a program of links that follow one another, in whose first phase the probes are taken."""

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        operations = NetworkOperations(network, rows, model)
        time, phases = chain(links(operations), model)
        for strand, probe in zip(phases[0], operations.probes(len(phases[0])), strict=False):
            strand.insert(0, probe)
        return time, phases

    program = cheapest(write, dtype, threads, _least_workspace(network, rows))
    at = BatchLayout(network, rows, dtype)
    probes = int((program.table[:, op.CODE] == op.SUM_OF_SQUARES).sum())
    return replace(program, activations=at.total, probes=slice(at.squares, at.squares + probes))


@functools.lru_cache(maxsize=256)
def losses(network: Network, rows: int, dtype: np.dtype[Any], threads: int, targets: str, forced: Any) -> Program:
    """Return the program that writes row losses to the gradient buffer."""

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        operations = NetworkOperations(network, rows, model)
        return chain([*operations.forward(), *operations.loss(targets, losses_to=(op.GRADIENT, 0))], model)

    return cheapest(write, dtype, threads, _least_workspace(network, rows))


@functools.lru_cache(maxsize=256)
def gradient(network: Network, rows: int, dtype: np.dtype[Any], threads: int, form: StepForm, resume: bool,
             forced: Any) -> Program:  # fmt: skip
    """dW and db to the gradient buffer, onto what it holds if `resume`; dX and row losses to the activations."""

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        operations = NetworkOperations(network, rows, model, form)
        loss = operations.loss(form.targets, form.weighted)
        time, phases = chain([*operations.forward(), *loss, *operations.backward(inputs=True)], model)
        more, strands = operations.parameter_gradients(op.GRADIENT, 0, resume)
        return time + more, [*phases, strands]

    return cheapest(write, dtype, threads, _least_workspace(network, rows))


@functools.lru_cache(maxsize=256)
def backward(network: Network, rows: int, dtype: np.dtype[Any], threads: int, resume: bool, inputs: bool,
             forced: Any) -> Program:  # fmt: skip
    """Return the program of `gradient` behind the way forward, which `hidden` has gone: from a gradient of the logits
    in its place among the activations; with dX only where `inputs` asks for it."""

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        operations = NetworkOperations(network, rows, model)
        links = operations.backward(inputs)
        time, phases = chain(links, model) if links else (0.0, [])
        more, strands = operations.parameter_gradients(op.GRADIENT, 0, resume)
        return time + more, [*phases, strands]

    return cheapest(write, dtype, threads, _least_workspace(network, rows))


@functools.lru_cache(maxsize=256)
def training_step(network: Network, rows: int, dtype: np.dtype[Any], threads: int, form: StepForm,
                  forced: Any) -> Program:  # fmt: skip
    """Return the program of an update, with sums of the losses before it and of the weights' squares."""

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        operations = NetworkOperations(network, rows, model, form)
        loss = operations.loss(form.targets, form.weighted)
        time, phases = chain([*operations.forward(), *loss, *operations.backward(inputs=False)], model)
        squares = operations.squares() if form.penalised else []
        for number, square in enumerate(squares):
            phases[0][number % len(phases[0])].append(square)
        more, updates = operations.updates(form)
        updates[-1][-1].append(operations.sum_up(len(squares)))
        return time + more, [*phases, *updates]

    return cheapest(write, dtype, threads, _least_workspace(network, rows), repeated=True)


@functools.lru_cache(maxsize=256)
def step_gradient(network: Network, rows: int, dtype: np.dtype[Any], threads: int, form: StepForm,
                  forced: Any) -> Program:  # fmt: skip
    """The first half of a step that is shared by several processes: its gradient, the penalty's part left out, to the
    gradient buffer; the sum of the losses to the step's sums."""

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        operations = NetworkOperations(network, rows, model, form)
        loss = operations.loss(form.targets, form.weighted)
        time, phases = chain([*operations.forward(), *loss, *operations.backward(inputs=False)], model)
        more, strands = operations.parameter_gradients(op.GRADIENT, 0, False)
        strands[-1].append(operations.sum_up(0))
        return time + more, [*phases, strands]

    return cheapest(write, dtype, threads, _least_workspace(network, rows))


@functools.lru_cache(maxsize=64)
def step_update(network: Network, dtype: np.dtype[Any], threads: int, form: StepForm, forced: Any) -> Program:
    """The second half: parameters by the gradient in the gradient buffer; the sum of the weights' squares before it to
    the step's sums. It needs the activations of one row."""

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        return NetworkOperations(network, 1, model, form).updates_by_gradient(form)

    return cheapest(write, dtype, threads, _least_workspace(network, 1))


@functools.lru_cache(maxsize=64)
def average(network: Network, dtype: np.dtype[Any], states: int) -> Program:
    """The average of the parameters, moved towards them; it lies behind so many vectors of state."""
    return Program.of([[[average_of_all(network, dtype, states)]]], 1, 1)


@functools.lru_cache(maxsize=64)
def add_l2(network: Network) -> Program:
    """The penalty's part of the gradient: ``dW += l2 W``, dW in the activations' place."""
    strand = [
        operation(op.ADD_L2_GRADIENT, row_end=length, a=(op.PARAMETERS, start), c=(op.ACTIVATIONS, start))
        for start, length in network.layout.penalised
    ]
    return Program.of([[strand]], 1, 1)


@functools.lru_cache(maxsize=1024)
def activations_size(network: Network, rows: int, dtype: np.dtype[Any], thresholds: tuple[int, ...] = ()) -> int:
    """Return the elements that the activations of so many rows take."""
    return BatchLayout(network, rows, dtype, thresholds).total


def rows_at_once(network: Network, dtype: np.dtype[Any], most: int) -> int:
    """Return the rows of one call: activations within some megabytes, and some 10 ms of work."""
    embedded = network.layout.fans[0][0] if network.embeddings else 0
    activations = 4 * 1024**2 // (2 * (sum(network.sizes[1:]) + embedded) * dtype.itemsize)
    work = 2 * 10**9 // (6 * sum(fan_in * fan_out for fan_in, fan_out in network.layout.fans))
    return max(64, min(most, activations, work))
