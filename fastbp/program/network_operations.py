"""The operations of a network: where everything of a batch lies, and what is done to it, layer by layer.

`fastbp.program.split` says how each is cut among threads; `fastbp.program.passes` puts them together to programs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cached_property import cached_property
from ..kernels import operations as op
from ..kernels.activations import IDENTITY, RELU
from ..kernels.microkernel import ADD_BIAS, RELU_MASK
from ..kernels.microkernel import RELU as FUSED_RELU
from ..kernels.microkernel import SGD as FUSED_SGD
from ..kernels.optimizers import ADAPTIVE, DECAY, MOMENTUM, PENALTY, SGD
from ..spec.activations import Activation
from ..spec.losses import Loss
from ..spec.parameters import Layout
from .execution import ALIGNMENT, Operation, Strand, round_up
from .split import PHASE, SQUARES, Link, Machine, Product, RowWise, bounds, side_by_side

CROSS_ENTROPY = {"labels": op.CROSS_ENTROPY_OF_LABELS, "targets": op.CROSS_ENTROPY_OF_PROBABILITIES}
UPDATES = {"sgd": SGD, "momentum": MOMENTUM, "adaptive": ADAPTIVE}
EXP_COST = 40  # vector multiply-adds that one vector of logits takes in a softmax, and a row besides
DROP_COST = 60  # and one vector of a dropout's mask
FETCH_COST = 15  # and one vector of a row of X that lies anywhere
UPDATE_COST = 8  # and one vector of parameters in an update that is not fused: it waits for memory


@dataclass(frozen=True, eq=False)
class Network:
    """What of a network its programs depend on. `passes.network` gives one object for each."""

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]  # of the hidden layers
    loss: Loss

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.sizes)

    @property
    def layers(self) -> int:
        return len(self.sizes) - 1


@dataclass(frozen=True)
class Activations:
    """Where everything lies that belongs to the rows of one batch."""

    network: Network
    rows: int
    dtype: np.dtype[Any]
    dropout: bool = False

    @cached_property
    def _starts(self) -> list[int]:
        net, sizes = self.network, self.network.sizes
        outputs = [self.rows * size for size in sizes[1:]]
        hidden = list(zip(net.activations, outputs, strict=False))
        sums = [length if activation.of_sum else 0 for activation, length in hidden]
        dropped = [length if self.dropout else 0 for _, length in hidden]
        squares = sum(-(-fan_in * fan_out // SQUARES) for fan_in, fan_out in net.layout.fans)
        norm = 1 + squares + len(net.layout.fans)
        lengths = [*outputs, *outputs, *sums, *dropped, self.rows, squares, norm, self.rows * sizes[0]]
        return [0, *itertools.accumulate(round_up(length, self.dtype) for length in lengths)]

    def output(self, layer: int) -> int:
        """H of a layer, after its activation."""
        return self._starts[layer]

    def gradient(self, layer: int) -> int:
        """dH of a layer, before its activation; of layer -1: dX, behind all else."""
        return self._starts[-2 if layer < 0 else self.network.layers + layer]

    def sum(self, layer: int) -> int:
        """H of a hidden layer before its activation, where the derivative needs it; else in the output's place."""
        kept = self.network.activations[layer].of_sum
        return self._starts[2 * self.network.layers + layer] if kept else self.output(layer)

    def dropped(self, layer: int) -> int:
        """The output of a hidden layer after dropout; without dropout the output."""
        return self._starts[3 * self.network.layers - 1 + layer] if self.dropout else self.output(layer)

    @property
    def inputs(self) -> int:
        """The rows of X, where a step fetches them: in the place of dX, which no training step computes."""
        return self.gradient(-1)

    @property
    def losses(self) -> int:
        return self._starts[-5]

    @property
    def squares(self) -> int:
        return self._starts[-4]

    @property
    def clip_factor(self) -> int:
        """By what a gradient is shortened, and behind it the sums of squares of the gradient's parts."""
        return self._starts[-3]

    @property
    def of_training(self) -> int:
        """Elements that a training step needs which does not fetch its rows; it leaves dX out."""
        return self._starts[-2]

    @property
    def total(self) -> int:
        return self._starts[-1]


class Writer:
    """Writes the operations of one network for one number of rows."""

    def __init__(self, network: Network, rows: int, machine: Machine, threshold: int = 0, fetched: bool = False):
        self.network, self.rows, self.machine = network, rows, machine
        self.threshold, self.fetched = threshold, fetched
        self.at = Activations(network, rows, machine.dtype, threshold > 0)

    def forward(self, logits_to: tuple[int, int] | None = None) -> list[Link]:
        layout, last = self.network.layout, self.network.layers - 1
        links: list[Link] = [self._fetch()] if self.fetched else []
        for layer, (fan_in, fan_out) in enumerate(layout.fans):
            target, epilogue = (op.ACTIVATIONS, self.at.output(layer)), ADD_BIAS
            if layer < last:
                target = (op.ACTIVATIONS, self.at.sum(layer))
                epilogue |= FUSED_RELU if self.network.activations[layer].kind == RELU else 0
            elif logits_to:
                target = logits_to
            links.append(Product(
                self.rows, fan_out, fan_in, a=self._input(layer),
                b=(op.PARAMETERS, layout.weight_starts[layer], fan_out), c=(*target, fan_out),
                bias=(op.PARAMETERS, layout.bias_starts[layer]), epilogue=epilogue,
            ))  # fmt: skip
            if layer < last:
                links += self._activation(layer)
        return links

    def _activation(self, layer: int) -> list[Link]:
        """What follows a hidden layer's product: the activation where it is not fused, and dropout."""
        kind, _, _, cost = self.network.activations[layer]
        links: list[Link] = []
        if kind not in (IDENTITY, RELU):
            fields = {"code": op.ACTIVATE, "kind": kind, "a": self.at.sum(layer), "c": self.at.output(layer)}
            links.append(self._row_wise(layer, cost, fields))
        if self.threshold:
            links.append(self._drop(layer, self.at.output(layer), self.at.dropped(layer)))
        return links

    def _drop(self, layer: int, source: int, target: int) -> Link:
        fields = {"code": op.DROP, "layer": layer, "threshold": self.threshold, "a": source, "c": target}
        return self._row_wise(layer, DROP_COST, fields)

    def _row_wise(self, layer: int, cost: float, fields: dict[str, int], buffer: int = op.ACTIVATIONS) -> Link:
        """An operation on the rows of a layer's outputs, so many multiply-adds a vector."""
        width = self.network.sizes[layer + 1]
        buffers = {"a_buffer": buffer, "b_buffer": buffer, "c_buffer": buffer, "lda": width}
        return RowWise(self.rows, tuple({**buffers, **fields}.items()), cost * -(-width // self.machine.lanes))

    def _input(self, layer: int) -> tuple[int, int, int]:
        width = self.network.sizes[layer]
        if layer == 0:
            return (op.ACTIVATIONS, self.at.inputs, width) if self.fetched else (op.INPUTS, 0, width)
        return (op.ACTIVATIONS, self.at.dropped(layer - 1), width)

    def _fetch(self) -> Link:
        width = self.network.sizes[0]
        fields = {"code": op.FETCH, "a_buffer": op.INPUTS, "lda": width, "c_buffer": op.ACTIVATIONS,
                  "c": self.at.inputs}  # fmt: skip
        return RowWise(self.rows, tuple(fields.items()), FETCH_COST * -(-width // self.machine.lanes))

    def outputs(self, buffer: int) -> list[Link]:
        """The output function, in place on logits at the buffer's begin."""
        kind, last = self.network.loss.output, self.network.layers - 1
        if kind == IDENTITY:
            return []
        fields = {"code": op.SOFTMAX} if kind is None else {"code": op.ACTIVATE, "kind": kind}
        return [self._row_wise(last, EXP_COST, fields, buffer)]

    def _softmax_cost(self) -> float:
        return EXP_COST * (1 + -(-self.network.sizes[-1] // self.machine.lanes))

    def loss(self, form: str, weighted: bool = False, losses_to: tuple[int, int] | None = None) -> list[Link]:
        last, kind = self.network.layers - 1, self.network.loss.kind
        buffer, offset = losses_to or (op.ACTIVATIONS, self.at.losses)
        found = {"lda": self.network.sizes[-1], "c_buffer": op.ACTIVATIONS, "c": self.at.gradient(last),
                 "y_buffer": buffer, "y": offset}  # fmt: skip
        code = {"code": CROSS_ENTROPY[form]} if kind is None else {"code": op.ELEMENTWISE_LOSS, "kind": kind}
        fields = {**found, **code, "a_buffer": op.ACTIVATIONS, "a": self.at.output(last), "b_buffer": op.TARGETS}
        links: list[Link] = [RowWise(self.rows, tuple(fields.items()), self._softmax_cost())]
        if weighted:
            links.append(RowWise(self.rows, tuple({**found, "code": op.WEIGH_ROWS}.items()), self.network.sizes[-1]))
        return links

    def backward(self, inputs: bool) -> list[Link]:
        """Every dH, from the last layer's to the first's, and dX where `inputs` asks for it."""
        layout = self.network.layout
        links: list[Link] = []
        for layer in range(self.network.layers - 1, -1 if inputs else 0, -1):
            fan_in, fan_out = layout.fans[layer]
            rectified = layer and self.network.activations[layer - 1].kind == RELU
            links.append(Product(
                self.rows, fan_in, fan_out, a=(op.ACTIVATIONS, self.at.gradient(layer), fan_out),
                b=(op.PARAMETERS, layout.weight_starts[layer], fan_out),
                c=(op.ACTIVATIONS, self.at.gradient(layer - 1), fan_in), b_transposed=True,
                y=(op.ACTIVATIONS, self.at.output(layer - 1) if layer else 0), epilogue=RELU_MASK if rectified else 0,
            ))  # fmt: skip
            if layer:
                links += self._activation_backward(layer - 1)
        return links

    def _activation_backward(self, layer: int) -> list[Link]:
        """From the gradient of what the next layer got to that of the sum, in place."""
        here, (kind, _, _, cost) = self.at.gradient(layer), self.network.activations[layer]
        links: list[Link] = []
        if self.threshold:
            links.append(self._drop(layer, here, here))
        if kind not in (IDENTITY, RELU):
            fields = {"code": op.ACTIVATE_BACKWARD, "kind": kind, "a": here, "b": self.at.sum(layer), "c": here}
            links.append(self._row_wise(layer, cost, fields))
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

    def weight_and_bias_gradients(self, to: int, epilogue: int, resume: bool) -> tuple[float, list[Strand]]:
        """Those of all layers in one phase, the biases with the shortest strands."""
        time, strands = side_by_side(self.weight_gradients(to, epilogue, resume), self.machine)
        for number, bias in enumerate(self.bias_gradients(to, epilogue, resume)):
            strands[-1 - number % len(strands)].append(bias)
        return time, strands

    def update(self, step: StepForm, block: Operation) -> Operation:
        """The update of the block of parameters whose gradient an operation computes, state behind the gradient."""
        start, total = block["c"], round_up(self.network.layout.total, self.machine.dtype)
        weights = block["code"] == op.GEMM
        penalised = (PENALTY if step.penalised and not step.clipped else 0) | DECAY if weights else 0
        return {
            "code": op.UPDATE, "kind": UPDATES[step.update], "penalised": penalised, "clipped": int(step.clipped),
            "row_begin": block.get("row_begin", 0), "row_end": block.get("row_end", 0) if weights else 1,
            "column_begin": block.get("column_begin", 0), "column_end": block["column_end"],
            "ldc": block["ldc"] if weights else block["column_end"],
            "a_buffer": op.GRADIENT, "a": start, "c_buffer": op.PARAMETERS, "c": start,
            "b_buffer": op.GRADIENT, "b": start + total, "y_buffer": op.GRADIENT, "y": start + 2 * total,
            "bias_buffer": op.ACTIVATIONS, "bias": self.at.clip_factor,
        }  # fmt: skip

    def updates(self, step: StepForm) -> tuple[float, list[list[Strand]]]:
        """Phases from the rows' gradients to new parameters."""
        if step.update == "sgd" and not step.clipped:
            time, strands = self.weight_and_bias_gradients(op.PARAMETERS, FUSED_SGD, False)
            return time, [strands]
        time, strands = self.weight_and_bias_gradients(op.GRADIENT, 0, False)
        blocks = [operation for strand in strands for operation in strand]
        if not step.clipped:  # each block at once, while it is in the cache
            return time, [[[each for block in strand for each in (block, self.update(step, block))]
                           for strand in strands]]  # fmt: skip
        return time, [strands, *self._clipped_updates(step, blocks)]

    def updates_by_gradient(self, step: StepForm) -> tuple[float, list[list[Strand]]]:
        """Phases from the whole gradient to new parameters, and the time they take."""
        squares = self.squares() if step.penalised else []
        first = [[squares[number :: self.machine.threads] for number in range(min(len(squares), self.machine.threads))]]
        if step.clipped:
            phases = self._clipped_updates(step, self.blocks())
        else:
            phases = [self._shared_out([[self.update(step, block)] for block in self.blocks()])]
        phases[-1][-1].append(self.sum_up(len(squares)))
        vectors = -(-self.network.layout.total // self.machine.lanes)
        time = UPDATE_COST * vectors / self.machine.threads + PHASE * (len(phases) + bool(squares))
        return time, [*(first if squares else []), *phases]

    def blocks(self) -> list[Operation]:
        """The parameters cut at fixed places, as the operations that compute their gradient would name them."""
        layout = self.network.layout
        parts: list[Operation] = []
        for start, bias, (fan_in, fan_out) in zip(layout.weight_starts, layout.bias_starts, layout.fans, strict=True):
            for begin, end in bounds(fan_in, max(1, fan_in * fan_out // SQUARES), 1):
                parts.append({"code": op.GEMM, "row_begin": begin, "row_end": end, "column_end": fan_out,
                              "c": start, "ldc": fan_out})  # fmt: skip
            parts.append({"code": op.COLUMN_SUMS, "column_end": fan_out, "c": bias})
        return parts

    def _shared_out(self, strands: list[Strand]) -> list[Strand]:
        """As many strands as there are threads, or fewer."""
        shares = [strands[number :: self.machine.threads] for number in range(self.machine.threads)]
        return [list(itertools.chain(*share)) for share in shares if share]

    def _clipped_updates(self, step: StepForm, blocks: list[Operation]) -> list[list[Strand]]:
        """The gradient's norm, by what to shorten it, and the update."""
        norm = self.norm(step)
        factor = {"code": op.CLIP_FACTOR, "depth": len(norm), "a_buffer": op.ACTIVATIONS, "a": self.at.clip_factor + 1,
                  "c_buffer": op.ACTIVATIONS, "c": self.at.clip_factor}  # fmt: skip
        return [self._shared_out(norm), [[factor]], self._shared_out([[self.update(step, block)] for block in blocks])]

    def norm(self, step: StepForm) -> list[Strand]:
        """Sums of squares of the gradient's parts, cut at fixed places, the penalty's part added before."""
        layout = self.network.layout
        parts: list[Strand] = []
        for start, bias, (fan_in, fan_out) in zip(layout.weight_starts, layout.bias_starts, layout.fans, strict=True):
            for begin in [*range(0, fan_in * fan_out, SQUARES), None]:
                first = bias if begin is None else start
                span = ({"row_begin": 0, "row_end": fan_out} if begin is None else
                        {"row_begin": begin, "row_end": min(begin + SQUARES, fan_in * fan_out)})  # fmt: skip
                strand: Strand = []
                if begin is not None and step.penalised:
                    strand.append({**span, "code": op.ADD_L2_GRADIENT, "a_buffer": op.PARAMETERS, "a": first,
                                   "c_buffer": op.GRADIENT, "c": first})  # fmt: skip
                strand.append({**span, "code": op.SUM_OF_SQUARES, "a_buffer": op.GRADIENT, "a": first,
                               "c_buffer": op.ACTIVATIONS, "c": self.at.clip_factor + 1 + len(parts)})  # fmt: skip
                parts.append(strand)
        return parts

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

    def sum_up(self, squares: int) -> Operation:
        return {"code": op.SUM_UP, "depth": self.rows, "column_end": squares, "a_buffer": op.ACTIVATIONS,
                "a": self.at.losses, "b_buffer": op.ACTIVATIONS, "b": self.at.squares}  # fmt: skip


@dataclass(frozen=True)
class StepForm:
    """What a training step consists of, beside the network."""

    targets: str  # "labels" or "targets"
    weighted: bool = False
    penalised: bool = False
    threshold: int = 0  # of dropout, in units of 2^-53
    update: str = "sgd"
    clipped: bool = False
    fetched: bool = False  # rows of X by their order, else they lie side by side
