"""The programs of a network: forward, gradient, and the training step with its fused update.

Two kinds of region make up a training step. First forward, loss and every dX; no weight is written before all of
that is done. Then the weight gradients and column sums of all layers side by side, with the update in their epilogue.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .kept import kept
from .kernels import operations as op
from .kernels.losses import SCRATCH
from .kernels.microkernel import ADD_BIAS, RELU, RELU_MASK, SGD
from .parameters import Layout
from .program import ALIGNMENT, Operation, Program, Strand, round_up
from .schedule import SQUARES, Link, Machine, Product, RowWise, bounds, chain, cheapest, side_by_side

LOSS_OPERATION = {"labels": op.CROSS_ENTROPY_OF_LABELS, "probabilities": op.CROSS_ENTROPY_OF_PROBABILITIES}
EXP_COST = 40  # vector multiply-adds that one vector of logits takes in a softmax, and a row besides


@dataclass(frozen=True, eq=False)
class Network:
    """Shape of a network, as far as its programs depend on it. `network` gives one object for each shape."""

    sizes: tuple[int, ...]
    rectified: bool

    @kept
    def layout(self) -> Layout:
        return Layout(self.sizes)

    @property
    def layers(self) -> int:
        return len(self.sizes) - 1


network = functools.lru_cache(maxsize=1024)(Network)  # its programs are found by identity: hashing it takes 0.4 us


@dataclass(frozen=True)
class Activations:
    """Where everything lies that belongs to the rows of one batch."""

    network: Network
    rows: int
    dtype: np.dtype[Any]

    @kept
    def _starts(self) -> list[int]:
        sizes = self.network.sizes
        outputs = [self.rows * size for size in sizes[1:]]
        squares = sum(-(-fan_in * fan_out // SQUARES) for fan_in, fan_out in self.network.layout.fans)
        lengths = [*outputs, *outputs, self.rows, squares, self.rows * sizes[0]]
        return [0, *itertools.accumulate(round_up(length, self.dtype) for length in lengths)]

    def output(self, layer: int) -> int:
        """H of a layer, after its activation."""
        return self._starts[layer]

    def gradient(self, layer: int) -> int:
        """dH of a layer, before its activation; of layer -1: dX, behind all else."""
        return self._starts[-2 if layer < 0 else self.network.layers + layer]

    @property
    def losses(self) -> int:
        return self._starts[-4]

    @property
    def squares(self) -> int:
        return self._starts[-3]

    @property
    def of_training(self) -> int:
        """Elements that a training step needs, which leaves dX out."""
        return self._starts[-2]

    @property
    def total(self) -> int:
        return self._starts[-1]


class _Writer:
    """Writes the operations of one network for one number of rows."""

    def __init__(self, network: Network, rows: int, machine: Machine):
        self.network, self.rows, self.machine = network, rows, machine
        self.at = Activations(network, rows, machine.dtype)

    def forward(self, logits_to: tuple[int, int] | None = None) -> list[Link]:
        layout, last = self.network.layout, self.network.layers - 1
        links: list[Link] = []
        for layer, (fan_in, fan_out) in enumerate(layout.fans):
            target = logits_to if layer == last and logits_to else (op.ACTIVATIONS, self.at.output(layer))
            links.append(Product(
                self.rows, fan_out, fan_in, a=self._input(layer),
                b=(op.PARAMETERS, layout.weight_starts[layer], fan_out), c=(*target, fan_out),
                bias=(op.PARAMETERS, layout.bias_starts[layer]),
                epilogue=ADD_BIAS | (RELU if self.network.rectified and layer < last else 0),
            ))  # fmt: skip
        return links

    def _input(self, layer: int) -> tuple[int, int, int]:
        width = self.network.sizes[layer]
        return (op.INPUTS, 0, width) if layer == 0 else (op.ACTIVATIONS, self.at.output(layer - 1), width)

    def softmax(self, buffer: int) -> Link:
        fields = (("code", op.SOFTMAX), ("a_buffer", buffer), ("c_buffer", buffer), ("lda", self.network.sizes[-1]))
        return RowWise(self.rows, fields, self._softmax_cost())

    def _softmax_cost(self) -> float:
        return EXP_COST * (1 + -(-self.network.sizes[-1] // self.machine.lanes))

    def loss(self, labels: str, losses_to: tuple[int, int] | None = None) -> Link:
        last = self.network.layers - 1
        buffer, offset = losses_to or (op.ACTIVATIONS, self.at.losses)
        fields = (
            ("code", LOSS_OPERATION[labels]), ("lda", self.network.sizes[-1]),
            ("a_buffer", op.ACTIVATIONS), ("a", self.at.output(last)), ("b_buffer", op.TARGETS),
            ("c_buffer", op.ACTIVATIONS), ("c", self.at.gradient(last)), ("y_buffer", buffer), ("y", offset),
        )  # fmt: skip
        return RowWise(self.rows, fields, self._softmax_cost())

    def backward(self, inputs: bool) -> list[Link]:
        """Every dH, from the last layer's to the first's, and dX where `inputs` asks for it."""
        layout = self.network.layout
        links: list[Link] = []
        for layer in range(self.network.layers - 1, -1 if inputs else 0, -1):
            fan_in, fan_out = layout.fans[layer]
            links.append(Product(
                self.rows, fan_in, fan_out, a=(op.ACTIVATIONS, self.at.gradient(layer), fan_out),
                b=(op.PARAMETERS, layout.weight_starts[layer], fan_out),
                c=(op.ACTIVATIONS, self.at.gradient(layer - 1), fan_in), b_transposed=True,
                y=(op.ACTIVATIONS, self.at.output(layer - 1) if layer else 0),
                epilogue=RELU_MASK if self.network.rectified and layer else 0,
            ))  # fmt: skip
        return links

    def weight_gradients(self, to: int, epilogue: int, resume: bool) -> list[Product]:
        layout = self.network.layout
        return [
            Product(
                fan_in, fan_out, self.rows, a=self._input(layer), a_transposed=True,
                b=(op.ACTIVATIONS, self.at.gradient(layer), fan_out), c=(to, layout.weight_starts[layer], fan_out),
                epilogue=epilogue, resume=resume,
            )
            for layer, (fan_in, fan_out) in enumerate(layout.fans)
        ]  # fmt: skip

    def bias_gradients(self, to: int, epilogue: int, resume: bool) -> list[Operation]:
        layout = self.network.layout
        return [
            {"code": op.COLUMN_SUMS, "epilogue": epilogue, "resume": int(resume), "depth": self.rows,
             "a_buffer": op.ACTIVATIONS, "a": self.at.gradient(layer), "lda": fan_out, "column_end": fan_out,
             "c_buffer": to, "c": layout.bias_starts[layer]}
            for layer, (_, fan_out) in enumerate(layout.fans)
        ]  # fmt: skip

    def updates(self, to: int, epilogue: int, resume: bool) -> tuple[float, list[Strand]]:
        """All weight and bias gradients in one phase, the biases with the shortest strands."""
        time, strands = side_by_side(self.weight_gradients(to, epilogue, resume), self.machine)
        for number, bias in enumerate(self.bias_gradients(to, epilogue, resume)):
            strands[-1 - number % len(strands)].append(bias)
        return time, strands

    def squares(self) -> list[Operation]:
        """The L2 penalty's sums, cut at fixed places."""
        layout = self.network.layout
        operations: list[Operation] = []
        for start, (fan_in, fan_out) in zip(layout.weight_starts, layout.fans, strict=True):
            for begin in range(0, fan_in * fan_out, SQUARES):
                operations.append({
                    "code": op.SUM_OF_SQUARES, "a_buffer": op.PARAMETERS, "a": start, "row_begin": begin,
                    "row_end": min(begin + SQUARES, fan_in * fan_out),
                    "c_buffer": op.ACTIVATIONS, "c": self.at.squares + len(operations),
                })  # fmt: skip
        return operations

    def probes(self, strands: int) -> list[Operation]:
        """Sums of the inputs' squares, one a strand, as far as their places go."""
        parts = min(strands, ALIGNMENT // self.machine.dtype.itemsize)
        return [
            {"code": op.SUM_OF_SQUARES, "a_buffer": op.INPUTS, "row_begin": begin, "row_end": end,
             "c_buffer": op.ACTIVATIONS, "c": self.at.squares + number}
            for number, (begin, end) in enumerate(bounds(self.rows * self.network.sizes[0], parts, 1))
        ]  # fmt: skip

    def mean_loss(self, squares: int) -> Operation:
        return {"code": op.MEAN_LOSS, "depth": self.rows, "column_end": squares, "a_buffer": op.ACTIVATIONS,
                "a": self.at.losses, "b_buffer": op.ACTIVATIONS, "b": self.at.squares}  # fmt: skip


def _least_workspace(network: Network, rows: int) -> int:
    return max(rows + SCRATCH, *network.sizes)  # row sums of a loss, column sums of a bias


# `forced` is the tuning in force: part of what a program is remembered by.


@functools.lru_cache(maxsize=256)
def forward(
    network: Network, rows: int, dtype: np.dtype[Any], threads: int, probabilities: bool, forced: Any
) -> Program:
    """Logits, or softmax of them, to the gradient buffer; to `probes`, sums of the inputs' squares, which are finite
    only where all inputs are."""

    def write(machine: Machine) -> tuple[float, list[list[Strand]]]:
        writer = _Writer(network, rows, machine)
        links = writer.forward(logits_to=(op.GRADIENT, 0))
        time, phases = chain([*links, writer.softmax(op.GRADIENT)] if probabilities else links, machine)
        for strand, probe in zip(phases[0], writer.probes(len(phases[0])), strict=False):
            strand.insert(0, probe)
        return time, phases

    program = cheapest(write, dtype, threads, _least_workspace(network, rows))
    at = Activations(network, rows, dtype)
    probes = int((program.table[:, op.CODE] == op.SUM_OF_SQUARES).sum())
    return replace(program, activations=at.total, probes=slice(at.squares, at.squares + probes))


@functools.lru_cache(maxsize=256)
def losses(network: Network, rows: int, dtype: np.dtype[Any], threads: int, labels: str, forced: Any) -> Program:
    """Row losses to the gradient buffer."""

    def write(machine: Machine) -> tuple[float, list[list[Strand]]]:
        writer = _Writer(network, rows, machine)
        time, phases = chain([*writer.forward(), writer.loss(labels, losses_to=(op.GRADIENT, 0))], machine)
        return time, phases

    return cheapest(write, dtype, threads, _least_workspace(network, rows))


@functools.lru_cache(maxsize=256)
def gradient(network: Network, rows: int, dtype: np.dtype[Any], threads: int, labels: str, resume: bool,
             forced: Any) -> Program:  # fmt: skip
    """dW and db to the gradient buffer, onto what it holds if `resume`; dX and row losses to the activations."""

    def write(machine: Machine) -> tuple[float, list[list[Strand]]]:
        writer = _Writer(network, rows, machine)
        time, phases = chain([*writer.forward(), writer.loss(labels), *writer.backward(inputs=True)], machine)
        update_time, update = writer.updates(op.GRADIENT, 0, resume)
        return time + update_time, [*phases, update]

    return cheapest(write, dtype, threads, _least_workspace(network, rows))


@functools.lru_cache(maxsize=256)
def training_step(network: Network, rows: int, dtype: np.dtype[Any], threads: int, labels: str, penalised: bool,
                  forced: Any) -> Program:  # fmt: skip
    """One step of SGD, the update fused into the weight gradients; the loss before it to the step losses."""

    def write(machine: Machine) -> tuple[float, list[list[Strand]]]:
        writer = _Writer(network, rows, machine)
        time, phases = chain([*writer.forward(), writer.loss(labels), *writer.backward(inputs=False)], machine)
        squares = writer.squares() if penalised else []
        for number, operation in enumerate(squares):
            phases[0][number % len(phases[0])].append(operation)
        update_time, update = writer.updates(op.PARAMETERS, SGD, False)
        update[-1].append(writer.mean_loss(len(squares)))
        return time + update_time, [*phases, update]

    return cheapest(write, dtype, threads, _least_workspace(network, rows), repeated=True)


@functools.lru_cache(maxsize=64)
def add_l2(network: Network) -> Program:
    """The penalty's part of the gradient: ``dW += l2 W``, dW in the activations' place."""
    layout = network.layout
    strand = [
        {"code": op.ADD_L2_GRADIENT, "a_buffer": op.PARAMETERS, "c_buffer": op.ACTIVATIONS,
         "row_begin": start, "row_end": start + fan_in * fan_out}
        for start, (fan_in, fan_out) in zip(layout.weight_starts, layout.fans, strict=True)
    ]  # fmt: skip
    return Program.of([[strand]], 1, 1)


@functools.lru_cache(maxsize=1024)
def activations_size(network: Network, rows: int, dtype: np.dtype[Any]) -> int:
    """Elements that the activations of so many rows take."""
    return Activations(network, rows, dtype).total


def rows_at_once(network: Network, dtype: np.dtype[Any], most: int) -> int:
    """Rows of one call: activations within some megabytes, and some 10 ms of work."""
    activations = 4 * 1024**2 // (2 * sum(network.sizes[1:]) * dtype.itemsize)
    work = 2 * 10**9 // (6 * sum(fan_in * fan_out for fan_in, fan_out in network.layout.fans))
    return max(64, min(most, activations, work))
