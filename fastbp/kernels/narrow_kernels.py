"""A whole training step of one narrow network as one function, and its predictions: what `narrow` describes.

Kernels are written once, for any sizes: a function passes them its own, LLVM sees constants, and no loop has an edge or
a mask left. Every sum runs over k, or over rows, in ascending order by fma, as in the general pass, so the bits are its.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from . import coefficients as co
from . import losses
from . import operations as op
from .activations import FUNCTIONS
from .applied import applied, updated_by
from .elementwise import add_l2_gradient, drop, update_block
from .formulas import add, cross_term, divide, exp, larger, log, multiply, subtract, where_equal
from .jit import Kernel, kernel
from .microkernel import Left, Matrix
from .narrow import TILE_VECTORS, Layer, NarrowForward, NarrowStep, Tiles, Workspace, tiles
from .packing import transpose_chosen, transpose_in_order, transpose_units
from .reductions import factor_of, sum_of, sum_of_squares
from .shapes import Shape
from .simd import advance, doubles, filled, integers, keys, lanes, least, load, load_whole, number, store, store_whole
from .tile import rank1, rows_of, tile_load, tile_relu, tile_relu_mask, tile_store, tile_zero, width_of
from .updates import UPDATES


OUTPUTS = {row.name: row for row in FUNCTIONS.values()}


class Block(NamedTuple):
    """Some rows of a step: the number of the first and of all; how many are computed, whole tiles, those beyond the end
    like the last; and what the step has."""

    first: Any
    rows: Any
    width: Any
    row: Any  # of the table of operations
    operands: Any
    space: Any


def in_turn(parts: Iterable[Any]) -> Kernel:
    """Return a kernel that calls kernels of one argument, one after the other."""
    first, *others = parts
    if not others:
        return first
    rest = in_turn(others)

    def both(block):
        first(block)
        rest(block)

    return kernel(both)


@kernel
def nothing(block):
    """Do nothing."""


# ---- products ----


@kernel
def as_they_are(sums, kept, ld):
    return sums


@kernel
def with_relu(sums, kept, ld):
    return tile_relu(sums)


@kernel
def with_relu_mask(sums, kept, ld):
    return tile_relu_mask(sums, kept, ld, ())


@kernel
def strip_of_tiles(shape, begin, end, columns, depth, left, right, resume, finish, kept, out):
    """``out[begin:end, :columns] = finish(left right)``, added to what `out` holds if `resume`."""
    for i in range(begin, end, rows_of(shape)):
        for j in range(0, columns, width_of(shape, out.start)):
            to = advance(out.start, i * out.ld + j)
            sums = tile_load(shape, to, out.ld) if resume else tile_zero(shape, to)
            a, b = advance(left.start, i * left.row), advance(right.start, j)
            for _ in range(depth):
                sums = rank1(sums, a, left.row, b)
                a, b = advance(a, left.step), advance(b, right.ld)
            tile_store(finish(sums, advance(kept, i * out.ld + j), out.ld), to, out.ld)


def product(rows: int, cut: Tiles, finish: Kernel = as_they_are) -> Kernel:
    """Return a kernel for products of so many rows, in tiles of two heights."""
    high, low, middle = Shape(cut.rows, cut.vectors), Shape(max(1, cut.rows - 1), cut.vectors), cut.high * cut.rows

    def multiply_matrices(columns, depth, left, right, resume, kept, out):
        strip_of_tiles(high, 0, middle, columns, depth, left, right, resume, finish, kept, out)
        if middle < rows:
            strip_of_tiles(low, middle, rows, columns, depth, left, right, resume, finish, kept, out)

    return kernel(multiply_matrices)


# ---- forward ----


def fetching(at: Workspace) -> Kernel:
    """Return what brings the block's rows of X, in their order where there is one, and sets the units that are 1."""
    features, ld, inputs = at.layers[0].fan_in, at.ld, at.layers[0].inputs
    units = in_turn([unit_of_ones(layer.inputs + layer.fan_in * ld) for layer in at.layers])

    def fetch(block):
        size, x, order = lanes(block.space), block.operands[op.INPUTS], integers(block.operands[op.ORDER])
        first, end = block.first, block.first + block.rows
        for r in range(0, block.width, size):
            for c in range(0, features, size):
                to, here, left = advance(block.space, inputs + c * ld + r), advance(x, c), features - c
                if block.row[op.FETCHED]:
                    transpose_chosen(to, ld, here, features, order, first + r, end, left)
                else:
                    transpose_in_order(to, ld, here, features, order, first + r, end, left)
        units(block)

    return kernel(fetch)


def unit_of_ones(at: int) -> Kernel:
    def fill(block):
        one = filled(block.space, number(block.space, 1.0))
        for r in range(0, block.width, lanes(block.space)):
            store_whole(one, advance(block.space, at + r))

    return kernel(fill)


def activation_of(layer: Layer, ld: int) -> Kernel:
    """Return what applies an activation that no tile applies."""
    value = applied(layer.activation.value, layer.activation.constants)
    units, source, target = layer.fan_out, layer.pre_activation, layer.outputs

    def activate(block):
        coefficients = block.operands[op.COEFFICIENTS]
        for j in range(units):
            for r in range(0, block.width, lanes(block.space)):
                here = advance(block.space, j * ld + r)
                store_whole(value(coefficients, 0, load_whole(advance(here, source))), advance(here, target))

    return kernel(activate)


def derivative_of(layer: Layer, ld: int) -> Kernel:
    """Return what multiplies the gradient of a layer's outputs by its activation's derivative, in place."""
    derivative = applied(layer.activation.derivative, layer.activation.constants)
    units, kept, gradient = layer.fan_out, layer.pre_activation, layer.gradient

    def activate_backward(block):
        coefficients = block.operands[op.COEFFICIENTS]
        for j in range(units):
            for r in range(0, block.width, lanes(block.space)):
                here = advance(block.space, j * ld + r)
                dy, x = load_whole(advance(here, gradient)), load_whole(advance(here, kept))
                store_whole(derivative(coefficients, 0, dy, x), advance(here, gradient))

    return kernel(activate_backward)


def dropping(number: int, layer: Layer, ld: int, source: int, target: int) -> Kernel:
    units = layer.fan_out

    def apply(block):
        key, threshold = keys(block.operands)[op.KEY], block.row[op.THRESHOLD]
        first, rows = block.row[op.ROW_BEGIN] + block.first, block.width
        drop(first, rows, 1, units, ld, number, threshold, key, advance(block.space, source),
             advance(block.space, target))  # fmt: skip

    return kernel(apply)


def forward(at: Workspace, vectors: int) -> Kernel:
    """Return the whole way from inputs to logits, by tiles of so many vectors of rows."""
    parts, ld = [], at.ld
    for number, layer in enumerate(at.layers):
        hidden = layer.activation is not None
        fused = hidden and any(layer.activation.epilogues)
        parts.append(affine(layer, ld, vectors, with_relu if fused else as_they_are))
        if hidden and layer.activation.in_loop:
            parts.append(activation_of(layer, ld))
        if hidden and (after := at.layers[number + 1].inputs) != layer.outputs:
            parts.append(dropping(number, layer, ld, layer.outputs, after))
    return in_turn(parts)


def affine(layer: Layer, ld: int, vectors: int, finish: Kernel) -> Kernel:
    """Return a layer's product: its weights, by units of the output, times its inputs; the biases come last."""
    multiply_matrices = product(layer.fan_out, tiles(layer.fan_out, vectors, vectors), finish)
    weights, fan_out, inputs, out, depth = (
        layer.weights, layer.fan_out, layer.inputs, layer.pre_activation, layer.fan_in + 1,
    )  # fmt: skip

    def compute(block):
        left = Left(advance(block.operands[op.PARAMETERS], weights), fan_out, 1)
        right, to = Matrix(advance(block.space, inputs), ld), Matrix(advance(block.space, out), ld)
        multiply_matrices(block.width, depth, left, right, 0, to.start, to)

    return kernel(compute)


# ---- losses ----


@kernel
def with_term(total, terms, unused):
    return add(total, load_whole(terms))


@kernel
def with_cross_term(total, shifted, targets):
    return cross_term(load_whole(targets), load_whole(shifted), total)


@kernel
def classes_summed(classes, ld, summed, a, b, partial):
    """Sum up over classes in the order of `kernels.softmax`: ascending, or lane by lane and then in a tree."""
    size = lanes(a)
    if classes <= size:
        total = filled(a, number(a, 0.0))
        for c in range(classes):
            total = summed(total, advance(a, c * ld), advance(b, c * ld))
    else:
        for lane in range(size):
            total = filled(a, number(a, 0.0))
            for c in range(lane, classes, size):
                total = summed(total, advance(a, c * ld), advance(b, c * ld))
            store_whole(total, advance(partial, lane * size))
        distance = size // 2
        while distance > 0:
            for lane in range(distance):
                here = advance(partial, lane * size)
                store_whole(add(load_whole(here), load_whole(advance(here, distance * size))), here)
            distance //= 2
        total = load_whole(partial)
    return total


@kernel
def shifted_exponentials(classes, ld, z, terms, partial):
    """Shift logits by their maximum, in place; write their exponentials to `terms` and return the sums of these."""
    top = load_whole(z)
    for c in range(1, classes):
        top = larger(load_whole(advance(z, c * ld)), top)
    for c in range(classes):
        here = advance(z, c * ld)
        shifted = subtract(load_whole(here), top)
        store_whole(shifted, here)
        store_whole(exp(shifted), advance(terms, c * ld))
    return classes_summed(classes, ld, with_term, terms, terms, partial)


def softmax_of_labels(step: NarrowStep, at: Workspace) -> Kernel:
    """Return the loss and its gradient for class indices, as `kernels.softmax.cross_entropy_of_labels`."""
    classes, ld, layer, numbers = step.sizes[-1], at.ld, at.layers[-1], at.targets
    logits, gradient, partial, row_losses = layer.outputs, layer.gradient, at.partial, at.losses

    def loss(block):
        space, scale, wanted = block.space, block.operands[op.COEFFICIENTS][co.SCALE], advance(block.space, numbers)
        nought, one = filled(space, number(space, 0.0)), filled(space, number(space, 1.0))
        for r in range(0, block.width, lanes(space)):
            z, terms = advance(space, logits + r), advance(space, gradient + r)
            total = shifted_exponentials(classes, ld, z, terms, advance(space, partial))
            factor, label, own = divide(one, total), load_whole(advance(wanted, r)), nought
            for c in range(classes):
                here = advance(terms, c * ld)
                share = multiply(load_whole(here), factor)
                this = number(space, c)
                own = where_equal(label, this, load_whole(advance(z, c * ld)), own)
                store_whole(multiply(where_equal(label, this, subtract(share, one), share), scale), here)
            store_whole(subtract(log(total), own), advance(space, row_losses + r))

    return kernel(loss)


def softmax_of_probabilities(step: NarrowStep, at: Workspace) -> Kernel:
    """Return the loss and its gradient for rows of probabilities."""
    classes, ld, layer, wanted = step.sizes[-1], at.ld, at.layers[-1], at.targets
    logits, gradient, partial, row_losses = layer.outputs, layer.gradient, at.partial, at.losses

    def loss(block):
        space, scale = block.space, block.operands[op.COEFFICIENTS][co.SCALE]
        one = filled(space, number(space, 1.0))
        for r in range(0, block.width, lanes(space)):
            z, terms, t = advance(space, logits + r), advance(space, gradient + r), advance(space, wanted + r)
            total = shifted_exponentials(classes, ld, z, terms, advance(space, partial))
            factor = divide(one, total)
            for c in range(classes):
                here, target = advance(terms, c * ld), load_whole(advance(t, c * ld))
                store_whole(multiply(subtract(multiply(load_whole(here), factor), target), scale), here)
            agreement = classes_summed(classes, ld, with_cross_term, z, t, advance(space, partial))
            store_whole(subtract(log(total), agreement), advance(space, row_losses + r))

    return kernel(loss)


def labels_of(step: NarrowStep, at: Workspace) -> Kernel:
    """Return what brings the block's labels, as numbers that vectors compare with."""
    wanted = at.targets

    def bring(block):
        labels, to = advance(integers(block.operands[op.LABELS]), block.first), advance(block.space, wanted)
        for r in range(block.rows):
            to[r] = number(to, labels[r])

    return kernel(bring)


def targets_of(step: NarrowStep, at: Workspace) -> Kernel:
    """Return what brings the block's rows of targets, by outputs."""
    outputs, ld, wanted = step.sizes[-1], at.ld, at.targets

    def bring(block):
        size, t = lanes(block.space), block.operands[op.TARGETS]
        first, order = block.first, integers(t)  # which names no rows here
        for r in range(0, block.width, size):
            for c in range(0, outputs, size):
                to, last = advance(block.space, wanted + c * ld + r), first + block.rows
                transpose_in_order(to, ld, advance(t, c), outputs, order, first + r, last, outputs - c)

    return kernel(bring)


def elementwise(step: NarrowStep, at: Workspace) -> Kernel:
    """Return a loss of one logit and one target at a time, as `kernels.elementwise.elementwise_loss`."""
    table = next(row for formula, row in losses.ELEMENTWISE.items() if formula.__name__ == step.loss)
    value, slope = (applied(formula, table.constants, True) for formula in (table.value, table.gradient))
    outputs, ld, layer, wanted = step.sizes[-1], at.ld, at.layers[-1], at.targets
    logits, gradient, row_losses = layer.outputs, layer.gradient, at.losses

    def loss(block):
        space, coefficients = block.space, block.operands[op.COEFFICIENTS]
        share = coefficients[co.SHARE]
        factor = share * coefficients[co.SCALE]
        for j in range(outputs):
            for r in range(0, block.width, lanes(space)):
                here = advance(space, j * ld + r)
                z, t = load_whole(advance(here, logits)), load_whole(advance(here, wanted))
                store_whole(value(coefficients, j, z, t), advance(here, logits))
                store_whole(multiply(slope(coefficients, j, z, t), factor), advance(here, gradient))
        values = advance(space, logits)
        for r in range(block.rows):
            total = 0.0
            for j in range(outputs):
                total += values[j * ld + r]
            space[row_losses + r] = share * number(space, total)

    return kernel(loss)


def weighing(step: NarrowStep, at: Workspace) -> Kernel:
    """Return what multiplies the gradient of the logits, and losses, by the rows' weights, where these have any."""
    outputs, ld, gradient, row_losses = step.sizes[-1], at.ld, at.layers[-1].gradient, at.losses

    def weigh(block):
        space, weights = block.space, advance(block.operands[op.WEIGHTS], block.first)
        for r in range(0, block.width if block.row[op.WEIGHTED] else 0, lanes(space)):
            weight = load(advance(weights, r), block.rows - r, number(space, 0.0))
            for j in range(outputs):
                here = advance(space, gradient + j * ld + r)
                store_whole(multiply(load_whole(here), weight), here)
            here = advance(space, row_losses + r)
            store_whole(multiply(load_whole(here), weight), here)

    return kernel(weigh)


def loss_of(step: NarrowStep, at: Workspace) -> Kernel:
    """Return what computes row losses and the gradient of the logits."""
    loss = {"labels": softmax_of_labels, "targets": softmax_of_probabilities}.get(step.loss, elementwise)(step, at)
    return in_turn([loss, weighing(step, at)])


# ---- backward ----


def backward(at: Workspace, vectors: int) -> Kernel:
    """Return the way back from the gradient of the logits to that of the first layer's outputs."""
    parts: list[Kernel] = [nothing]
    for number in range(len(at.layers) - 1, 0, -1):
        before = at.layers[number - 1]
        fused = any(before.activation.epilogues)
        parts.append(input_gradient(at.layers[number], before, at.ld, vectors, fused))
        if before.outputs != at.layers[number].inputs:
            parts.append(dropping(number - 1, before, at.ld, before.gradient, before.gradient))
        if before.activation.in_loop:
            parts.append(derivative_of(before, at.ld))
    return in_turn(parts)


def input_gradient(layer: Layer, before: Layer, ld: int, vectors: int, masked: bool) -> Kernel:
    """Return what computes the gradient of a layer's inputs, by units, in the place of the layer before."""
    finish = with_relu_mask if masked else as_they_are
    multiply_matrices = product(layer.fan_in, tiles(layer.fan_in, vectors, vectors), finish)
    weights, fan_out, gradient = layer.weights, layer.fan_out, layer.gradient
    out, kept = before.gradient, before.outputs

    def compute(block):
        left = Left(advance(block.operands[op.PARAMETERS], weights), 1, fan_out)
        right, to = Matrix(advance(block.space, gradient), ld), Matrix(advance(block.space, out), ld)
        multiply_matrices(block.width, fan_out, left, right, 0, advance(block.space, kept), to)

    return kernel(compute)


def parameter_gradients(at: Workspace) -> Kernel:
    """Return what adds the block's rows to the gradient of all parameters."""
    return in_turn(parameter_gradient(layer, at.ld) for layer in at.layers)


def parameter_gradient(layer: Layer, ld: int) -> Kernel:
    """Return what adds the inputs' products with the gradient of the outputs, for which that is written by rows."""
    fan_in, fan_out, rows_ld = layer.fan_in, layer.fan_out, layer.rows_ld
    inputs, gradient, by_rows, out = layer.inputs, layer.gradient, layer.gradient_rows, layer.parameter_gradient
    multiply_matrices = product(fan_in + 1, layer.gradient_tiles)

    def compute(block):
        space, size = block.space, lanes(block.space)
        for j in range(0, rows_ld, size):
            for r in range(0, block.width, size):
                here, to = advance(space, gradient + j * ld + r), advance(space, by_rows + r * rows_ld + j)
                transpose_units(to, rows_ld, here, ld, fan_out - j)
        to = Matrix(advance(space, out), rows_ld)
        left, right = Left(advance(space, inputs), 1, ld), Matrix(advance(space, by_rows), rows_ld)
        multiply_matrices(rows_ld, block.rows, left, right, block.first, to.start, to)

    return kernel(compute)


# ---- the end of a step ----


def gradient_in_place(at: Workspace) -> Kernel:
    """Return what copies the sums to the gradient of all parameters, as these lie."""
    return in_turn(layer_in_place(layer) for layer in at.layers)


def layer_in_place(layer: Layer) -> Kernel:
    fan_in, fan_out, weights, ld, sums = (
        layer.fan_in, layer.fan_out, layer.weights, layer.rows_ld, layer.parameter_gradient,
    )  # fmt: skip

    def copy(update):
        to, source = advance(update.gradient, weights), advance(update.space, sums)
        for i in range(fan_in):  # surplus lanes fall on what is written next
            for j in range(0, fan_out, lanes(to)):
                store_whole(load_whole(advance(source, i * ld + j)), advance(to, i * fan_out + j))
        for j in range(fan_out):  # and behind the last layer's biases on the optimizer's state
            to[fan_in * fan_out + j] = source[fan_in * ld + j]

    return kernel(copy)


class Update(NamedTuple):
    """What an update of the parameters works on."""

    gradient: Any
    factor: Any  # that shortens it
    row: Any
    operands: Any
    space: Any


def updating(step: NarrowStep, at: Workspace) -> Kernel:
    """Return the update of all parameters."""
    parts = []
    for layer in at.layers:
        weights = layer.fan_in * layer.fan_out
        parts += [update_of(step, layer.weights, weights, True), update_of(step, layer.weights + weights, layer.fan_out, False)]
    return in_turn(parts)


def update_of(step: NarrowStep, start: int, count: int, weights: bool) -> Kernel:
    """Return the update of a layer's weights or biases; the state lies behind the gradient buffer's gradient."""
    form = updated_by(UPDATES[step.update])
    mask = op.DECAY | op.PENALTY if weights else 0

    def compute(update):
        stride, w = update.row[op.LDB], advance(update.operands[op.PARAMETERS], start)
        state = advance(update.operands[op.GRADIENT], stride + start)
        update_block(form, 1, count, count, w, advance(update.gradient, start), state, stride, update.factor,
                     update.row[op.TAKES_PART] & mask, update.operands[op.COEFFICIENTS])  # fmt: skip

    return kernel(compute)


def squares_of_weights(at: Workspace) -> Kernel:
    """Return what sums up the squares of each layer's weights."""
    return in_turn(
        squares_to(at.partial + number, layer.weights, layer.fan_in * layer.fan_out, op.PARAMETERS)
        for number, layer in enumerate(at.layers)
    )


def squares_to(place: int, start: int, count: int, operand: int) -> Kernel:
    """Return what sums up the squares of some parameters, or of as many entries of the gradient."""
    of_parameters = operand == op.PARAMETERS

    def compute(update):
        values = update.operands[op.PARAMETERS] if of_parameters else update.gradient
        update.space[place] = sum_of_squares(count, advance(values, start))

    return kernel(compute)


def clipping(at: Workspace) -> Kernel:
    """Return what adds the penalty's part to the gradient and sums up its squares, as the general step cuts them."""
    parts = []
    for number, layer in enumerate(at.layers):
        weights, place = layer.fan_in * layer.fan_out, at.partial + 2 * number
        parts.append(penalty_of(layer.weights, weights))
        parts.append(squares_to(place, layer.weights, weights, op.GRADIENT))
        parts.append(squares_to(place + 1, layer.weights + weights, layer.fan_out, op.GRADIENT))
    return in_turn(parts)


def penalty_of(start: int, count: int) -> Kernel:
    def compute(update):
        if update.row[op.PENALISED]:
            operands = update.operands
            w = advance(operands[op.PARAMETERS], start)
            add_l2_gradient(count, advance(update.gradient, start), w, operands[op.COEFFICIENTS][co.L2])

    return kernel(compute)


def ending(step: NarrowStep, at: Workspace) -> Kernel:
    """Return what takes a step from the sums of its blocks to new parameters; it gives the squares of the weights."""
    in_place, update, squared, clip = gradient_in_place(at), updating(step, at), squares_of_weights(at), clipping(at)
    stateless, own, partial, layers = step.stateless, at.gradient, at.partial, len(at.layers)

    def end(row, operands, space):
        gradient = advance(space, own) if stateless else operands[op.GRADIENT]
        state, squares = Update(gradient, number(space, 1.0), row, operands, space), 0.0
        if row[op.PENALISED]:
            squared(state)
            squares = sum_of(layers, advance(space, partial))
        in_place(state)
        if row[op.CLIPPED]:
            clip(state)
            factor = factor_of(2 * layers, advance(space, partial), operands[op.COEFFICIENTS][co.MAX_NORM])
            state = Update(gradient, factor, row, operands, space)
        update(state)
        return squares

    return kernel(end)


def narrow_step(step: NarrowStep) -> Kernel:
    """Return the operation of a whole step: rows ``[0, row_end)`` of the table's row."""
    at = step.workspace()
    ld, tile, row_losses = at.ld, step.tile_vectors * step.lanes, at.losses
    targets = (labels_of if step.loss == "labels" else targets_of)(step, at)  # early: they are read as whole vectors
    of_block = in_turn([
        targets, fetching(at), forward(at, step.tile_vectors), loss_of(step, at), backward(at, step.tile_vectors),
        parameter_gradients(at),
    ])  # fmt: skip
    end = ending(step, at)

    def operation(row, operands, workspace):
        rows, total = row[op.ROW_END], 0.0
        for first in range(0, rows, ld):
            here = least(ld, rows - first)
            of_block(Block(first, here, (here + tile - 1) // tile * tile, row, operands, workspace))
            for r in range(here):
                total += workspace[row_losses + r]
        sums = doubles(operands[op.SUMS])
        sums[0], sums[1] = total, end(row, operands, workspace)

    return kernel(operation)


# ---- predictions ----


def softmax_of(at: Workspace) -> Kernel:
    """Return what makes probabilities of logits, in place, as `kernels.softmax.softmax_rows`."""
    classes, ld, layer, partial = at.layers[-1].fan_out, at.ld, at.layers[-1], at.partial
    logits, shares = layer.outputs, layer.gradient

    def softmax(block):
        space = block.space
        one = filled(space, number(space, 1.0))
        for r in range(0, block.width, lanes(space)):
            z, terms = advance(space, logits + r), advance(space, shares + r)
            factor = divide(one, shifted_exponentials(classes, ld, z, terms, advance(space, partial)))
            for c in range(classes):
                store_whole(multiply(load_whole(advance(terms, c * ld)), factor), advance(z, c * ld))

    return kernel(softmax)


def answering(at: Workspace) -> Kernel:
    """Return what writes the block's outputs by rows to the gradient buffer, and nothing behind the operation's last."""
    layer, ld = at.layers[-1], at.ld
    outputs, by_units, by_rows, rows_ld = layer.fan_out, layer.outputs, layer.gradient_rows, layer.rows_ld

    def answer(block):
        space, size = block.space, lanes(block.space)
        for j in range(0, outputs, size):
            for r in range(0, block.width, size):
                here, to = advance(space, by_units + j * ld + r), advance(space, by_rows + r * rows_ld + j)
                transpose_units(to, rows_ld, here, ld, outputs - j)
        to = advance(block.operands[op.GRADIENT], block.first * outputs)
        left = (block.row[op.ROW_END] - block.first) * outputs
        for r in range(block.rows):
            for j in range(0, outputs, size):
                here, at_most = load_whole(advance(space, by_rows + r * rows_ld + j)), left - r * outputs - j
                if at_most >= size:  # surplus lanes fall on the next row, whose turn is later
                    store_whole(here, advance(to, r * outputs + j))
                else:
                    store(here, advance(to, r * outputs + j), at_most)

    return kernel(answer)


def narrow_forward(forward_pass: NarrowForward) -> Kernel:
    """Return the operation of predictions: for the rows of the table's row, with the sum of their inputs' squares to Y."""
    at, tile = forward_pass.workspace(), TILE_VECTORS * forward_pass.lanes
    parts, layer, ld, features = [fetching(at), forward(at, TILE_VECTORS)], at.layers[-1], at.ld, forward_pass.sizes[0]
    if forward_pass.output == "softmax":
        parts.append(softmax_of(at))
    elif forward_pass.output != "logits":
        parts.append(activation_of(layer._replace(activation=OUTPUTS[forward_pass.output]), ld))
    of_block = in_turn([*parts, answering(at)])

    def operation(row, operands, workspace):
        begin, end = row[op.ROW_BEGIN], row[op.ROW_END]
        for first in range(begin, end, ld):
            here = least(ld, end - first)
            of_block(Block(first, here, (here + tile - 1) // tile * tile, row, operands, workspace))
        x = advance(operands[op.INPUTS], begin * features)
        operands[op.ACTIVATIONS][row[op.Y]] = sum_of_squares((end - begin) * features, x)

    return kernel(operation)
