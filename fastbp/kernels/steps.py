"""The compiled pass over many minibatches, with no Python between them.

A table of operations (`operations`) is carried out for each step. It is cut into phases, which follow one another;
a phase is cut into strands, which may run side by side; a strand is operations one after the other on one thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import prange, types

from . import coefficients as co
from . import operations as op
from .affine import column_sums, sum_of
from .dropout import drop, key_of_step
from .elementwise import (
    activate,
    activate_backward,
    add_l2_gradient,
    elementwise_loss,
    factor_of,
    sgd_update,
    sum_of_squares,
    update_block,
    weigh_rows,
)
from .gather import fetch_rows
from .gemm import Blocking, Product, block
from .jit import call_at, compiled_once, kernel, parallel_entry, serial_entry
from .microkernel import Epilogue, Matrix
from .simd import advance, number, pointer
from .softmax import cross_entropy_of_labels, cross_entropy_of_probabilities, softmax_rows
from .team import DONE, begin, count_one, look, wait_for

FIELDS = len(op.FIELDS)


class Buffers(NamedTuple):
    """Pointers to the buffers that operands lie in, in the order of their numbers in `operations`."""

    inputs: Any
    parameters: Any
    activations: Any
    gradient: Any
    targets: Any


class Operands(NamedTuple):
    """Pointers to everything that the operations of a step work on."""

    inputs: Any
    parameters: Any
    activations: Any
    gradient: Any
    targets: Any
    weights: Any
    labels: Any
    order: Any
    sums: Any
    coefficients: Any
    key: Any


class Step(NamedTuple):
    """A step of a course: its number and its first row."""

    number: Any
    first: Any


class Strands(NamedTuple):
    """A table of operations, cut into strands and phases, and the counters that its team shares."""

    table: Any
    strands: Any
    phases: Any
    counters: Any


# ---- one operation ----


@kernel
def operand(row, buffer, offset, buffers):
    which = row[buffer]
    start = buffers.inputs
    if which == op.PARAMETERS:
        start = buffers.parameters
    elif which == op.ACTIVATIONS:
        start = buffers.activations
    elif which == op.GRADIENT:
        start = buffers.gradient
    elif which == op.TARGETS:
        start = buffers.targets
    return advance(start, row[offset])


def _perform_signature(dtype: types.Type) -> Any:
    data, labels, sums, row = (types.CPointer(kind) for kind in (dtype, types.int64, types.float64, types.int64))
    return types.void(row, data, data, data, data, data, data, labels, labels, sums, data, types.uint64, data)


@compiled_once(_perform_signature)
def perform(row, inputs, parameters, activations, gradient, targets, weights, labels, order, sums, coefficients, key,
            workspace):  # fmt: skip
    """Carry out one operation, a row of the table."""
    buffers = Buffers(inputs, parameters, activations, gradient, targets)
    a = operand(row, op.A_BUFFER, op.A, buffers)
    b = operand(row, op.B_BUFFER, op.B, buffers)
    c = operand(row, op.C_BUFFER, op.C, buffers)
    y = operand(row, op.Y_BUFFER, op.Y, buffers)
    bias = operand(row, op.BIAS_BUFFER, op.BIAS, buffers)
    code, kind = row[op.CODE], row[op.KIND]
    i0, i1, j0, j1 = row[op.ROW_BEGIN], row[op.ROW_END], row[op.COLUMN_BEGIN], row[op.COLUMN_END]
    count, depth, lda, ldc = i1 - i0, row[op.DEPTH], row[op.LDA], row[op.LDC]
    at, entries = i0 * lda, count * lda  # of what works row by row
    if code == op.GEMM:
        matrices = Matrix(a, lda), Matrix(b, row[op.LDB]), Matrix(c, ldc)
        product = Product(
            matrices[0], row[op.A_TRANSPOSED], matrices[1], row[op.B_TRANSPOSED], matrices[2], i0, i1, j0, j1, depth
        )
        strips, partial = advance(workspace, row[op.STRIPS]), advance(workspace, row[op.PARTIAL])
        blocking = Blocking(row[op.ACCESS], row[op.A_IN_PLACE], row[op.KC], row[op.NC], workspace, strips, partial)
        epilogue = Epilogue(row[op.EPILOGUE], bias, y, coefficients[co.LEARNING_RATE], coefficients[co.L2])
        block(product, blocking, row[op.RESUME], epilogue)
    elif code == op.FETCH:
        fetch_rows(count, lda, a, advance(order, i0), advance(c, at))
    elif code == op.COLUMN_SUMS:
        if row[op.EPILOGUE] == op.SGD:
            column_sums(False, depth, j1 - j0, advance(a, j0), lda, workspace)
            sgd_update(j1 - j0, advance(c, j0), workspace, coefficients[co.LEARNING_RATE], number(c, 0.0))
        else:
            column_sums(row[op.RESUME] != 0, depth, j1 - j0, advance(a, j0), lda, advance(c, j0))
    elif code == op.CROSS_ENTROPY_OF_LABELS:
        z, dz, losses = advance(a, at), advance(c, at), advance(y, i0)
        cross_entropy_of_labels(count, lda, z, advance(labels, i0), coefficients[co.SCALE], dz, losses, workspace)
    elif code == op.CROSS_ENTROPY_OF_PROBABILITIES:
        z, dz, losses = advance(a, at), advance(c, at), advance(y, i0)
        scale = coefficients[co.SCALE]
        cross_entropy_of_probabilities(count, lda, z, advance(b, at), scale, dz, losses, workspace)
    elif code == op.ELEMENTWISE_LOSS:
        z, dz, losses = advance(a, at), advance(c, at), advance(y, i0)
        elementwise_loss(kind, count, lda, z, advance(b, at), coefficients, dz, losses, workspace)
    elif code == op.WEIGH_ROWS:
        weigh_rows(count, lda, advance(weights, i0), advance(c, at), advance(y, i0))
    elif code == op.SOFTMAX:
        softmax_rows(count, lda, advance(a, at), advance(c, at), workspace)
    elif code == op.ACTIVATE:
        activate(kind, entries, advance(a, at), advance(c, at), coefficients)
    elif code == op.ACTIVATE_BACKWARD:
        activate_backward(kind, entries, advance(a, at), advance(b, at), advance(c, at), coefficients)
    elif code == op.DROP:
        drop(i0, count, lda, row[op.LAYER], row[op.THRESHOLD], key, advance(a, at), advance(c, at))
    elif code == op.UPDATE:
        corner = i0 * ldc + j0
        w, dw, state = advance(c, corner), advance(a, corner), advance(b, corner)
        factor = bias[0] if row[op.CLIPPED] else number(c, 1.0)
        update_block(kind, count, j1 - j0, ldc, w, dw, state, row[op.LDB], factor, row[op.TAKES_PART], coefficients)
    elif code == op.ADD_L2_GRADIENT:
        add_l2_gradient(count, advance(c, i0), advance(a, i0), coefficients[co.L2])
    elif code == op.SUM_OF_SQUARES:
        c[0] = sum_of_squares(count, advance(a, i0))
    elif code == op.CLIP_FACTOR:
        c[0] = factor_of(depth, a, coefficients[co.MAX_NORM])
    elif code == op.SUM_UP:
        sums[0], sums[1] = sum_of(depth, a), sum_of(j1, b)


# ---- many steps ----


@kernel
def perform_all(begin, end, step, course, address, table, operands, workspace):
    """Carry out rows [begin, end) of the table for a step; `operands` are those of the course's begin."""
    for index in range(begin, end):
        call_at(address, (
            advance(table, index * FIELDS), advance(operands.inputs, step.first * course[op.INPUT_ROW]),
            operands.parameters, operands.activations, operands.gradient,
            advance(operands.targets, step.first * course[op.TARGET_ROW]), advance(operands.weights, step.first),
            advance(operands.labels, step.first), advance(operands.order, step.first),
            advance(operands.sums, 2 * step.number),
            advance(operands.coefficients, step.number * course[op.COEFFICIENT_STEP]),
            key_of_step(operands.key, step.number), workspace,
        ))  # fmt: skip


def _serially(course, address, table, tail, inputs, parameters, activations, gradient, targets, weights, labels, order,
              sums, coefficients, key, workspace):  # fmt: skip
    """Carry the table out for each step of the course, and `tail`, if it is one, for the last step of each round."""
    operands = Operands(
        pointer(inputs), pointer(parameters), pointer(activations), pointer(gradient), pointer(targets),
        pointer(weights), pointer(labels), pointer(order), pointer(sums), pointer(coefficients), key,
    )  # fmt: skip
    own = pointer(workspace)
    number, first = 0, 0
    for _ in range(course[op.ROUNDS]):
        for _ in range(course[op.STEPS]):
            perform_all(0, table.shape[0], Step(number, first), course, address, pointer(table), operands, own)
            number, first = number + 1, first + course[op.BATCH]
        if tail.shape[0] > 0:
            perform_all(0, tail.shape[0], Step(number, first), course, address, pointer(tail), operands, own)
            number, first = number + 1, first + course[op.LAST]


@kernel
def take_part(member, team, work, begun, steps, step, batch, course, address, operands, workspace):
    """Do one member's part of `steps` steps from `step` on, each of `batch` rows; `begun` steps of the counters' were
    before."""
    strands, phases, counters = work.strands, work.phases, work.counters
    total, last = strands.size - 1, phases.size - 2
    turn, phase = begun, 0
    while turn < begun + steps:
        start, end = phases[phase], phases[phase + 1]
        here = Step(step.number + turn - begun, step.first + (turn - begun) * batch)
        for others in (False, True):  # its own strands first: what they work on is in its cache
            for strand in range(start, end):
                own = (strand - start) % team == member
                if own != others and look(counters, 1 + strand) == turn and begin(counters, 1 + strand, turn):
                    perform_all(
                        strands[strand], strands[strand + 1], here, course, address, pointer(work.table), operands,
                        workspace,
                    )  # fmt: skip
                    count_one(counters, DONE)
        phase += 1
        if phase > last:
            turn, phase = turn + 1, 0
        done = wait_for(counters, turn * total + phases[phase])
        if done >= (turn + 1) * total:  # it came late: the others are further on
            turn, phase = done // total, 0


def _by_a_team(team, strands, phases, counters, tail_strands, tail_phases, tail_counters, course, address, table, tail,
               inputs, parameters, activations, gradient, targets, weights, labels, order, sums, coefficients, key,
               workspace):  # fmt: skip
    """Do the same by a team of so many threads; each works in its own row of the workspace."""
    steps, batch, tails, last = course[op.STEPS], course[op.BATCH], min(tail.shape[0], 1), course[op.LAST]
    for member in prange(team):
        operands = Operands(
            pointer(inputs), pointer(parameters), pointer(activations), pointer(gradient), pointer(targets),
            pointer(weights), pointer(labels), pointer(order), pointer(sums), pointer(coefficients), key,
        )  # fmt: skip
        own = advance(pointer(workspace), member * workspace.shape[1])
        work, rest = Strands(table, strands, phases, counters), Strands(tail, tail_strands, tail_phases, tail_counters)
        for turn in range(course[op.ROUNDS]):
            step = Step(turn * (steps + tails), turn * (steps * batch + last))
            take_part(member, team, work, turn * steps, steps, step, batch, course, address, operands, own)
            step = Step(step.number + steps, step.first + steps * batch)
            take_part(member, team, rest, turn, tails, step, last, course, address, operands, own)


run_serial = serial_entry(_serially)
run_parallel = parallel_entry(_by_a_team)
