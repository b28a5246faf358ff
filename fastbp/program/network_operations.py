"""The operations of a network: what is done to a batch, layer by layer.

`fastbp.program.split` says how each is cut among threads; `fastbp.program.passes` puts them together to programs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from ..cached_property import cached_property
from ..kernels import operations as op
from ..kernels.updates import OWN, UPDATES
from .batch_layout import SQUARES, BatchLayout
from .cost_model import DROP_COST, EXP_COST, FETCH_COST, UPDATE_COST, CostModel
from .memory import ALIGNMENT, round_up
from .network import FROZEN, NO_STEP, Network, StepForm
from .parameter_blocks import average_of, average_place, extent_of
from .parameters import Embedding
from .products import Link, Product, RowWise, bounds
from .split import side_by_side
from .table import Operation, Place, Strand, operation

CROSS_ENTROPY = {"labels": op.CROSS_ENTROPY_OF_LABELS, "targets": op.CROSS_ENTROPY_OF_PROBABILITIES}


class NetworkOperations:
    """The operations of one network for one number of rows."""

    def __init__(self, network: Network, rows: int, model: CostModel, form: StepForm = NO_STEP):
        self.network, self.rows, self.model, self.fetched = network, rows, model, form.fetched
        self.thresholds = form.thresholds or (0,) * network.layers  # of the inputs and of each hidden layer
        self.rates = form.rates or (0,) * (network.layers + len(network.embeddings))  # as of `StepForm`
        self.at = BatchLayout(network, rows, model.dtype, form.thresholds, form.smoothed)

    # ---- forward ----

    def forward(self, logits_to: Place | None = None, layers: int | None = None) -> list[Link]:
        """Every layer's product with what follows it, rows fetched before; logits to their place in the batch, or to
        another one. Of the layers so many, or all."""
        layout, last = self.network.layout, self.network.layers - 1
        links: list[Link] = self._embed() if self.network.embeddings else [self._fetch()] if self.fetched else []
        if self.thresholds[0]:
            inputs = (op.ACTIVATIONS, self.at.inputs)
            links.append(self._drop(-1, inputs if links else (op.INPUTS, 0), inputs))
        for layer, (fan_in, fan_out) in enumerate(layout.fans[:layers]):
            target, epilogue = (op.ACTIVATIONS, self.at.output(layer)), op.ADD_BIAS
            if layer < last:
                target = (op.ACTIVATIONS, self.at.pre_activation(layer))
                epilogue |= self.network.activations[layer].epilogues[0]
            elif logits_to:
                target = (logits_to[0], logits_to[1])
            product = Product(
                rows=self.rows,
                columns=fan_out,
                depth=fan_in,
                a=self._input(layer),
                b=(op.PARAMETERS, layout.weight_starts[layer], fan_out),
                c=(*target, fan_out),
                bias=(op.PARAMETERS, layout.bias_starts[layer]),
                epilogue=epilogue,
            )
            links += [product, *(self._activation(layer) if layer < last else [])]
        return links

    def _input(self, layer: int) -> tuple[int, int, int]:
        width = self.network.layout.fans[layer][0]
        if layer == 0:
            copied = self.fetched or self.at.copies_inputs
            return (op.ACTIVATIONS, self.at.inputs, width) if copied else (op.INPUTS, 0, width)
        return (op.ACTIVATIONS, self.at.dropped(layer - 1), width)

    def _fetch(self) -> Link:
        width = self.network.sizes[0]
        fetch = operation(op.FETCH, a=(op.INPUTS, 0, width), c=(op.ACTIVATIONS, self.at.inputs))
        return RowWise(self.rows, fetch, FETCH_COST * -(-width // self.model.lanes))

    def _embed(self) -> list[Link]:
        """Return what fetches rows where some columns are embedded: the others side by side, then the vectors."""
        layout, features, fetched = self.network.layout, self.network.sizes[0], int(self.fetched)
        width, links, done = layout.fans[0][0], [], 0
        for begin, end in _runs(layout.plain_columns):
            to = (op.ACTIVATIONS, self.at.inputs + done, width)
            a, columns = (op.INPUTS, begin, features), end - begin
            copy = operation(op.COPY_COLUMNS, fetched=fetched, column_end=columns, a=a, c=to)
            links.append(self._fetching(columns, copy))
            done += columns
        for number, (each, table, first) in enumerate(self._embeddings()):
            look_up = operation(
                op.EMBED,
                fetched=fetched,
                depth=each.levels,
                a=(op.INPUTS, each.column, features),
                b=(op.PARAMETERS, table, each.width),
                c=(op.ACTIVATIONS, self.at.inputs + first, width),
                y=(op.ACTIVATIONS, self.at.levels(number)),
            )
            links.append(self._fetching(each.width, look_up))
        return links

    def _fetching(self, columns: int, what: Operation) -> Link:
        return RowWise(self.rows, what, FETCH_COST * -(-columns // self.model.lanes))

    def _embeddings(self) -> Iterator[tuple[Embedding, int, int]]:
        """Each embedding, where its table begins among the parameters, and where its vector among the inputs."""
        layout = self.network.layout
        return zip(layout.embeddings, layout.table_starts, layout.vector_starts, strict=True)

    def _trained_layers(self) -> list[int]:
        return [layer for layer in range(self.network.layers) if self.rates[layer] != FROZEN]

    def _trained_embeddings(self) -> list[tuple[int, Embedding, int, int]]:
        """Return the number of each embedding whose table is trained, and what `_embeddings` gives."""
        numbered = enumerate(self._embeddings())
        return [(number, *each) for number, each in numbered if self.rates[self.network.layers + number] != FROZEN]

    def _activation(self, layer: int) -> list[Link]:
        """Return what follows a hidden layer's product: the activation where it is not fused, and dropout."""
        activation = self.network.activations[layer]
        output, width = (op.ACTIVATIONS, self.at.output(layer)), self.network.sizes[layer + 1]
        links: list[Link] = []
        if activation.in_loop:
            source = (op.ACTIVATIONS, self.at.pre_activation(layer), width)
            links.append(
                self._on_rows(activation.cost, operation(op.ACTIVATE, kind=activation.kind, a=source, c=output))
            )
        if self.thresholds[layer + 1]:
            links.append(self._drop(layer, output, (op.ACTIVATIONS, self.at.dropped(layer))))
        return links

    def _drop(self, layer: int, source: tuple[int, int], target: tuple[int, int]) -> Link:
        """Return the dropout of a hidden layer's outputs, or with layer -1 of the first layer's inputs."""
        a, threshold = (*source, self.network.layout.fans[layer + 1][0]), self.thresholds[layer + 1]
        return self._on_rows(DROP_COST, operation(op.DROP, layer=layer, threshold=threshold, a=a, c=target))

    def _on_rows(self, cost: float, what: Operation) -> Link:
        """Return an operation that takes any range of rows of A, with its multiply-adds for one vector."""
        return RowWise(self.rows, what, cost * -(-what["lda"] // self.model.lanes))

    def outputs(self, buffer: int) -> list[Link]:
        """Return the output function, in place on logits at the buffer's begin."""
        function, logits = self.network.loss.output, (buffer, 0, self.network.sizes[-1])
        if function is None:
            return [self._on_rows(EXP_COST, operation(op.SOFTMAX, a=logits, c=logits[:2]))]
        if not function.in_loop:
            return []
        activate = operation(op.ACTIVATE, kind=function.kind, a=logits, c=logits[:2])
        return [self._on_rows(function.cost, activate)]

    # ---- loss and backward ----

    def loss(self, form: str, weighted: bool = False, losses_to: Place | None = None) -> list[Link]:
        """Return what computes the gradient of the logits, and a loss for each row."""
        last, kind = self.network.layers - 1, self.network.loss.kind
        links: list[Link] = []
        outputs = self.network.sizes[-1]
        logits = (op.ACTIVATIONS, self.at.output(last), outputs)
        gradient, losses = (op.ACTIVATIONS, self.at.gradient(last)), losses_to or (op.ACTIVATIONS, self.at.losses)
        targets = (op.TARGETS, 0)
        if self.at.smoothed:
            links.append(self._smooth(form))
            form, targets = "targets", (op.ACTIVATIONS, self.at.targets)
        code = CROSS_ENTROPY[form] if kind is None else op.ELEMENTWISE_LOSS
        loss = operation(code, kind=kind or 0, a=logits, b=targets, c=gradient, y=losses)
        links.append(RowWise(self.rows, loss, EXP_COST * (1 + -(-outputs // self.model.lanes))))
        if weighted:
            weigh = operation(op.WEIGH_ROWS, lda=outputs, c=gradient, y=losses)
            links.append(RowWise(self.rows, weigh, outputs))
        return links

    def _smooth(self, form: str) -> Link:
        """Return what smooths the targets, of which the loss then reads rows of probabilities."""
        code = {"labels": op.SMOOTH_LABELS, "targets": op.SMOOTH_TARGETS}[form]
        a = (op.TARGETS, 0, self.network.sizes[-1])
        return self._on_rows(UPDATE_COST, operation(code, a=a, c=(op.ACTIVATIONS, self.at.targets)))

    def backward(self, inputs: bool) -> list[Link]:
        """Return what computes every dH, from the last layer's to that of the first one that is trained, and dX where
        `inputs` asks for it; of dX, vectors are needed in any case if a table is trained."""
        layout, vectors = self.network.layout, bool(self._trained_embeddings())
        lowest = -1 if inputs else 0 if vectors else min(self._trained_layers())
        links: list[Link] = []
        for layer in range(self.network.layers - 1, lowest, -1):
            fan_in, fan_out = layout.fans[layer]
            links.append(Product(
                rows=self.rows,
                columns=fan_in,
                depth=fan_out,
                a=(op.ACTIVATIONS, self.at.gradient(layer), fan_out),
                b=(op.PARAMETERS, layout.weight_starts[layer], fan_out),
                b_transposed=True,
                c=(op.ACTIVATIONS, self.at.gradient(layer - 1), fan_in),
                y=(op.ACTIVATIONS, self.at.output(layer - 1) if layer else 0),
                epilogue=self.network.activations[layer - 1].epilogues[1] if layer else 0,
            ))  # fmt: skip
            if layer:
                links += self._activation_backward(layer - 1)
        if vectors and not inputs:
            links.append(self._backward_to_vectors())
        if self.thresholds[0] and (inputs or vectors):
            here = (op.ACTIVATIONS, self.at.gradient(-1))
            links.append(self._drop(-1, here, here))
        return links

    def _backward_to_vectors(self) -> Product:
        """Return the product for the embedded vectors' part of dX, which they are the end of."""
        layout = self.network.layout
        (fan_in, fan_out), plain = layout.fans[0], layout.plain
        return Product(
            rows=self.rows,
            columns=fan_in - plain,
            depth=fan_out,
            a=(op.ACTIVATIONS, self.at.gradient(0), fan_out),
            b=(op.PARAMETERS, layout.weight_starts[0] + plain * fan_out, fan_out),
            b_transposed=True,
            c=(op.ACTIVATIONS, self.at.gradient(-1) + plain, fan_in),
        )

    def _activation_backward(self, layer: int) -> list[Link]:
        """Return the way back from the next layer's input to the pre-activation, in place."""
        here, activation = (op.ACTIVATIONS, self.at.gradient(layer)), self.network.activations[layer]
        links: list[Link] = []
        if self.thresholds[layer + 1]:
            links.append(self._drop(layer, here, here))
        if activation.in_loop:
            a, b = (*here, self.network.sizes[layer + 1]), (op.ACTIVATIONS, self.at.pre_activation(layer))
            back = operation(op.ACTIVATE_BACKWARD, kind=activation.kind, a=a, b=b, c=here)
            links.append(self._on_rows(activation.cost, back))
        return links

    # ---- gradients of the parameters ----

    def weight_gradients(self, to: int, epilogue: int, resume: bool) -> list[Product]:
        layout = self.network.layout
        return [
            Product(
                rows=fan_in,
                columns=fan_out,
                depth=self.rows,
                a=self._input(layer),
                a_transposed=True,
                b=(op.ACTIVATIONS, self.at.gradient(layer), fan_out),
                c=(to, layout.weight_starts[layer], fan_out),
                epilogue=epilogue,
                resume=resume,
            )
            for layer, (fan_in, fan_out) in enumerate(layout.fans)
            if self.rates[layer] != FROZEN
        ]

    def bias_gradients(self, to: int, epilogue: int, resume: bool) -> list[Operation]:
        return [
            operation(
                op.COLUMN_SUMS,
                epilogue=epilogue,
                resume=int(resume),
                depth=self.rows,
                column_end=fan_out,
                a=(op.ACTIVATIONS, self.at.gradient(layer), fan_out),
                c=(to, self.network.layout.bias_starts[layer]),
            )
            for layer, (_, fan_out) in enumerate(self.network.layout.fans)
            if self.rates[layer] != FROZEN
        ]

    def parameter_gradients(self, to: int, epilogue: int, resume: bool) -> tuple[float, list[Strand]]:
        """Return the gradients of all parameters that are trained in one phase: the biases with the shortest strands, a
        share of the tables with each."""
        time, strands = side_by_side(self.weight_gradients(to, epilogue, resume), self.model)
        for number, bias in enumerate(self.bias_gradients(to, epilogue, resume)):
            strands[-1 - number % len(strands)].append(bias)
        for number, each, table, first in self._trained_embeddings():
            vectors = -(-each.levels * each.width // self.model.lanes)
            time += (UPDATE_COST * vectors + FETCH_COST * self.rows) / self.model.threads
            for strand, (begin, end) in zip(strands, bounds(each.levels, len(strands), 1), strict=False):
                strand.append(self._table_gradient(number, each, (begin, end), (to, table, each.width), first, resume))
        return time, strands

    def _table_gradient(self, number: int, each: Embedding, levels: tuple[int, int], to: Place, first: int,
                        resume: bool) -> Operation:  # fmt: skip
        """Return the gradient of some rows of a table, from the part of dX that begins with input `first`."""
        return operation(
            op.EMBED_BACKWARD,
            resume=int(resume),
            depth=self.rows,
            row_begin=levels[0],
            row_end=levels[1],
            column_end=each.width,
            a=(op.ACTIVATIONS, self.at.gradient(-1) + first, self.network.layout.fans[0][0]),
            c=to,
            y=(op.ACTIVATIONS, self.at.levels(number)),
        )

    # ---- updates ----

    def _changed(self, step: StepForm, block: Operation, fused: bool = False) -> Strand:
        """Return what follows the gradient that `block` computes: the update, unless it is fused, and the average."""
        strand = [] if fused else [self.update(step, block)]
        if step.averaged:
            place = average_place(self.network, self.model.dtype, UPDATES[step.update].states)
            strand.append(average_of(block, place))
        return strand

    def update(self, step: StepForm, block: Operation) -> Operation:
        """Return the update of the parameters whose gradient `block` computes; state lies behind the gradient."""
        start, total = block["c"], round_up(self.network.layout.total, self.model.dtype)
        weights, (extent, ld) = block["code"] != op.COLUMN_SUMS, extent_of(block)
        penalty = op.PENALTY if step.penalised and not step.clipped else 0
        return operation(
            op.UPDATE,
            kind=UPDATES[step.update].kind,
            takes_part=penalty | op.DECAY if weights else 0,
            clipped=int(step.clipped),
            **extent,
            a=(op.GRADIENT, start),
            b=(op.GRADIENT, start + total, total),  # vectors of state lie so far apart
            c=(op.PARAMETERS, start, ld),
            bias=(op.ACTIVATIONS, self.at.clip_factor),
            y=self._rates_by_start[start],
        )

    @cached_property
    def _rates_by_start(self) -> dict[int, int]:
        """Where the coefficients begin of the weights, biases or table that begin at a parameter."""
        layout, layers = self.network.layout, self.rates[: self.network.layers]
        parts = (
            (layout.weight_starts, layers),
            (layout.bias_starts, layers),
            (layout.table_starts, self.rates[len(layers) :]),
        )
        return dict(itertools.chain.from_iterable(zip(*part, strict=True) for part in parts))

    def updates(self, step: StepForm) -> tuple[float, list[list[Strand]]]:
        """Return the time and the phases from the rows' gradients to new parameters."""
        fused = step.fused(self.network)
        time, strands = self.parameter_gradients(*((op.PARAMETERS, op.SGD) if fused else (op.GRADIENT, 0)), False)
        if step.update == OWN:
            return time, [strands, *self._finished_gradient(step)]
        if step.clipped:
            blocks = [block for strand in strands for block in strand]
            return time, [strands, *self._clipped_updates(step, blocks)]
        # each block at once, while it is in the cache
        return time, [[_followed(strand, lambda block: self._changed(step, block, fused)) for strand in strands]]

    def updates_by_gradient(self, step: StepForm) -> tuple[float, list[list[Strand]]]:
        """Return the time and the phases from the whole gradient to new parameters."""
        squares = self.squares() if step.penalised else []
        first = [[squares[number :: self.model.threads] for number in range(min(len(squares), self.model.threads))]]
        if step.update == OWN:
            phases = self._finished_gradient(step) or [[[]]]
        elif step.clipped:
            phases = self._clipped_updates(step, self.blocks())
        else:
            phases = [self._shared_out([self._changed(step, block) for block in self.blocks()])]
        phases[-1][-1].append(self.sum_up(len(squares)))
        vectors = -(-self.network.layout.total // self.model.lanes)
        time = UPDATE_COST * vectors / self.model.threads + self.model.phase * (len(phases) + bool(squares))
        return time, [*(first if squares else []), *phases]

    def blocks(self) -> list[Operation]:
        """Cut the parameters at fixed places, as the operations that compute their gradient would name them."""
        parts: list[Operation] = []
        for layer in self._trained_layers():
            (fan_in, fan_out), weights, biases = self.network.layout.layers[layer]
            c = (op.GRADIENT, weights, fan_out)
            for begin, end in bounds(fan_in, max(1, fan_in * fan_out // SQUARES), 1):
                parts.append(operation(op.GEMM, row_begin=begin, row_end=end, column_end=fan_out, c=c))
            parts.append(operation(op.COLUMN_SUMS, column_end=fan_out, c=(op.GRADIENT, biases)))
        for _, each, table, _ in self._trained_embeddings():
            c = (op.GRADIENT, table, each.width)
            for begin, end in bounds(each.levels, max(1, each.levels * each.width // SQUARES), 1):
                parts.append(operation(op.EMBED_BACKWARD, row_begin=begin, row_end=end, column_end=each.width, c=c))
        return parts

    def _shared_out(self, strands: list[Strand]) -> list[Strand]:
        """Join strands to as many as there are threads, or fewer."""
        shares = [strands[number :: self.model.threads] for number in range(self.model.threads)]
        return [list(itertools.chain(*share)) for share in shares if share]

    def _clipped_updates(self, step: StepForm, blocks: list[Operation]) -> list[list[Strand]]:
        """Return the phases of the gradient's norm, of the factor that shortens it, and of the update."""
        updates = self._shared_out([self._changed(step, block) for block in blocks])
        return [*self._finished_gradient(step), updates]

    def _finished_gradient(self, step: StepForm) -> list[list[Strand]]:
        """Return the phases that add the penalty's part to the gradient, and compute the factor that shortens it."""
        if not (step.penalised or step.clipped):
            return []
        norm, at = self.norm(step), self.at.clip_factor
        factor = operation(op.CLIP_FACTOR, depth=len(norm), a=(op.ACTIVATIONS, at + 1), c=(op.ACTIVATIONS, at))
        return [self._shared_out(norm), *([[[factor]]] if step.clipped else [])]

    # ---- sums ----

    def norm(self, step: StepForm) -> list[Strand]:
        """Return sums of squares of the gradient's parts, cut at fixed places; the penalty's part is added before."""
        parts: list[Strand] = []

        def of(start: int, begin: int, end: int, penalised: bool) -> None:
            strand = [self._sum_of_squares((op.GRADIENT, start), begin, end, self.at.clip_factor + 1 + len(parts))]
            if penalised:
                a, c = (op.PARAMETERS, start), (op.GRADIENT, start)
                strand.insert(0, operation(op.ADD_L2_GRADIENT, row_begin=begin, row_end=end, a=a, c=c))
            parts.append(strand)

        for layer in self._trained_layers():
            (fan_in, fan_out), weights, biases = self.network.layout.layers[layer]
            for begin, end in _spans(fan_in * fan_out):
                of(weights, begin, end, step.penalised)
            of(biases, 0, fan_out, False)
        for _, each, table, _ in self._trained_embeddings():
            for begin, end in _spans(each.levels * each.width):
                of(table, begin, end, step.penalised)
        return parts

    def squares(self) -> list[Operation]:
        """Return the L2 penalty's sums, cut at fixed places."""
        operations: list[Operation] = []
        for start, length in self.network.layout.penalised:
            for begin, end in _spans(length):
                to = self.at.squares + len(operations)
                operations.append(self._sum_of_squares((op.PARAMETERS, start), begin, end, to))
        return operations

    def probes(self, strands: int) -> list[Operation]:
        """Return sums of the inputs' squares, one for each strand, as far as their places go."""
        parts = min(strands, ALIGNMENT // self.model.dtype.itemsize)
        return [
            self._sum_of_squares((op.INPUTS, 0), begin, end, self.at.squares + number)
            for number, (begin, end) in enumerate(bounds(self.rows * self.network.sizes[0], parts, 1))
        ]

    def _sum_of_squares(self, a: tuple[int, int], begin: int, end: int, to: int) -> Operation:
        return operation(op.SUM_OF_SQUARES, row_begin=begin, row_end=end, a=a, c=(op.ACTIVATIONS, to))

    def sum_up(self, squares: int) -> Operation:
        """Return the sums of a step: of the rows' losses, and of so many partial sums of squares."""
        losses, partial = (op.ACTIVATIONS, self.at.losses), (op.ACTIVATIONS, self.at.squares)
        return operation(op.SUM_UP, depth=self.rows, column_end=squares, a=losses, b=partial)


def _followed(strand: Strand, by: Callable[[Operation], Strand]) -> Strand:
    """Return the operations of a strand, each with those that follow it."""
    return list(itertools.chain.from_iterable([each, *by(each)] for each in strand))


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Cut ascending numbers to runs without gaps, [begin, end) of each."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        yield found[0], found[-1] + 1


def _spans(total: int) -> list[tuple[int, int]]:
    """Cut [0, total) after every `SQUARES` entries."""
    return [(begin, min(begin + SQUARES, total)) for begin in range(0, total, SQUARES)]
