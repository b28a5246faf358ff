"""One compiled pass over many minibatches: no Python between them.

A table of operations (`operations`) is carried out for each step. It is cut into phases, which follow one another;
a phase is cut into strands, which may run side by side; a strand is operations one after the other on one thread.
"""

from __future__ import annotations

from typing import Any

from numba import prange, types

from . import operations as op
from .activations import activate, activate_backward
from .affine import column_sums, sum_of
from .dropout import drop, key_of_step
from .gather import fetch_rows
from .gemm import block
from .jit import call_at, compiled_once, kernel, parallel_entry, serial_entry
from .losses import cross_entropy_of_labels, cross_entropy_of_probabilities, elementwise_loss, softmax_rows, weigh_rows
from .microkernel import SGD as FUSED_SGD
from .optimizers import add_l2_gradient, factor_of, sgd_update, sum_of_squares, update_block
from .simd import advance, number, pointer
from .team import DONE, begin, count_one, look, wait_for


@kernel
def operand(row, buffer, offset, inputs, parameters, activations, gradient, targets):
    which = row[buffer]
    start = inputs
    if which == op.PARAMETERS:
        start = parameters
    elif which == op.ACTIVATIONS:
        start = activations
    elif which == op.GRADIENT:
        start = gradient
    elif which == op.TARGETS:
        start = targets
    return advance(start, row[offset])


def _perform_signature(dtype: types.Type) -> Any:
    data, labels, sums, row = (types.CPointer(kind) for kind in (dtype, types.int64, types.float64, types.int64))
    return types.void(row, data, data, data, data, data, data, labels, labels, sums, data, types.uint64, data)


@compiled_once(_perform_signature)
def perform(row, inputs, parameters, activations, gradient, targets, weights, labels, order, sums, rates, key,
            workspace):  # fmt: skip
    """Carry out one operation, a row of the table."""
    a = operand(row, op.A_BUFFER, op.A, inputs, parameters, activations, gradient, targets)
    b = operand(row, op.B_BUFFER, op.B, inputs, parameters, activations, gradient, targets)
    c = operand(row, op.C_BUFFER, op.C, inputs, parameters, activations, gradient, targets)
    y = operand(row, op.Y_BUFFER, op.Y, inputs, parameters, activations, gradient, targets)
    bias = operand(row, op.BIAS_BUFFER, op.BIAS, inputs, parameters, activations, gradient, targets)
    code, kind = row[op.CODE], row[op.KIND]
    i0, i1, j0, j1 = row[op.ROW_BEGIN], row[op.ROW_END], row[op.COLUMN_BEGIN], row[op.COLUMN_END]
    count, depth, lda, ldc = i1 - i0, row[op.DEPTH], row[op.LDA], row[op.LDC]
    at, entries = i0 * lda, count * lda  # of what works row by row
    if code == op.GEMM:
        block(row[op.A_TRANSPOSED], row[op.A_IN_PLACE], row[op.B_TRANSPOSED], row[op.ACCESS], row[op.RESUME],
              row[op.EPILOGUE], i0, i1, j0, j1, depth, a, lda, b, row[op.LDB], c, ldc, bias, y,
              rates[op.LEARNING_RATE], rates[op.L2], row[op.KC], row[op.NC], workspace,
              advance(workspace, row[op.STRIPS]), advance(workspace, row[op.PARTIAL]))  # fmt: skip
    elif code == op.FETCH:
        fetch_rows(count, lda, a, advance(order, i0), advance(c, at))
    elif code == op.COLUMN_SUMS:
        if row[op.EPILOGUE] == FUSED_SGD:
            column_sums(False, depth, j1 - j0, advance(a, j0), lda, workspace)
            sgd_update(j1 - j0, advance(c, j0), workspace, rates[op.LEARNING_RATE], number(c, 0.0))
        else:
            column_sums(row[op.RESUME] != 0, depth, j1 - j0, advance(a, j0), lda, advance(c, j0))
    elif code == op.CROSS_ENTROPY_OF_LABELS:
        cross_entropy_of_labels(count, lda, advance(a, at), advance(labels, i0), rates[op.SCALE], advance(c, at),
                                advance(y, i0), workspace)  # fmt: skip
    elif code == op.CROSS_ENTROPY_OF_PROBABILITIES:
        cross_entropy_of_probabilities(count, lda, advance(a, at), advance(b, at), rates[op.SCALE], advance(c, at),
                                       advance(y, i0), workspace)  # fmt: skip
    elif code == op.ELEMENTWISE_LOSS:
        elementwise_loss(kind, count, lda, advance(a, at), advance(b, at), rates[op.SHARE], rates[op.SCALE],
                         rates[op.DELTA], advance(c, at), advance(y, i0), workspace)  # fmt: skip
    elif code == op.WEIGH_ROWS:
        weigh_rows(count, lda, advance(weights, i0), advance(c, at), advance(y, i0))
    elif code == op.SOFTMAX:
        softmax_rows(count, lda, advance(a, at), advance(c, at), workspace)
    elif code == op.ACTIVATE:
        activate(kind, entries, advance(a, at), advance(c, at), rates[op.SLOPE])
    elif code == op.ACTIVATE_BACKWARD:
        activate_backward(kind, entries, advance(a, at), advance(b, at), advance(c, at), rates[op.SLOPE])
    elif code == op.DROP:
        drop(i0, count, lda, row[op.LAYER], row[op.THRESHOLD], key, advance(a, at), advance(c, at))
    elif code == op.UPDATE:
        corner = i0 * ldc + j0
        factor = bias[0] if row[op.CLIPPED] else number(c, 1.0)
        update_block(kind, count, j1 - j0, ldc, advance(c, corner), advance(a, corner), advance(b, corner),
                     advance(y, corner), factor, row[op.PENALISED], rates)  # fmt: skip
    elif code == op.ADD_L2_GRADIENT:
        add_l2_gradient(count, advance(c, i0), advance(a, i0), rates[op.L2])
    elif code == op.SUM_OF_SQUARES:
        c[0] = sum_of_squares(count, advance(a, i0))
    elif code == op.CLIP_FACTOR:
        c[0] = factor_of(depth, a, rates[op.MAX_NORM])
    elif code == op.SUM_UP:
        sums[0], sums[1] = sum_of(depth, a), sum_of(j1, b)


@kernel
def perform_all(begin, end, step, first, course, address, table, inputs, parameters, activations, gradient, targets,
                weights, labels, order, sums, rates, key, workspace):  # fmt: skip
    """Rows [begin, end) of the table, one after the other, for a minibatch that begins at row `first`."""
    for index in range(begin, end):
        call_at(address, (
            advance(pointer(table), index * table.shape[1]), advance(pointer(inputs), first * course[op.INPUT_ROW]),
            pointer(parameters), pointer(activations), pointer(gradient),
            advance(pointer(targets), first * course[op.TARGET_ROW]), advance(pointer(weights), first),
            advance(pointer(labels), first), advance(pointer(order), first), advance(pointer(sums), 2 * step),
            advance(pointer(rates), step * course[op.RATE_STEP]), key_of_step(key, step), workspace,
        ))  # fmt: skip


def _serially(course, address, table, tail, inputs, parameters, activations, gradient, targets, weights, labels, order,
              sums, rates, key, workspace):  # fmt: skip
    """Carry the table out for each step of the course, and `tail`, if it is one, for the last step of each round."""
    step, first = 0, 0
    for _ in range(course[op.ROUNDS]):
        for _ in range(course[op.STEPS]):
            perform_all(0, table.shape[0], step, first, course, address, table, inputs, parameters, activations,
                        gradient, targets, weights, labels, order, sums, rates, key, pointer(workspace))  # fmt: skip
            step, first = step + 1, first + course[op.BATCH]
        if tail.shape[0] > 0:
            perform_all(0, tail.shape[0], step, first, course, address, tail, inputs, parameters, activations,
                        gradient, targets, weights, labels, order, sums, rates, key, pointer(workspace))  # fmt: skip
            step, first = step + 1, first + course[op.LAST]


@kernel
def take_part(member, team, strands, phases, counters, begun, steps, step, first, batch, course, address, table, inputs,
              parameters, activations, gradient, targets, weights, labels, order, sums, rates, key,
              workspace):  # fmt: skip
    """One member's part in `steps` steps from `step` on, whose rows begin at `first`; `begun` of the counters' steps
    were before."""
    total, last = strands.size - 1, phases.size - 2
    turn, phase = begun, 0
    while turn < begun + steps:
        start, end = phases[phase], phases[phase + 1]
        for others in (False, True):  # its own strands first: what they work on is in its cache
            for strand in range(start, end):
                own = (strand - start) % team == member
                if own != others and look(counters, 1 + strand) == turn and begin(counters, 1 + strand, turn):
                    since = turn - begun
                    perform_all(strands[strand], strands[strand + 1], step + since, first + since * batch, course,
                                address, table, inputs, parameters, activations, gradient, targets, weights, labels,
                                order, sums, rates, key,
                                advance(pointer(workspace), member * workspace.shape[1]))  # fmt: skip
                    count_one(counters, DONE)
        phase += 1
        if phase > last:
            turn, phase = turn + 1, 0
        done = wait_for(counters, turn * total + phases[phase])
        if done >= (turn + 1) * total:  # it came late: the others are further on
            turn, phase = done // total, 0


def _by_a_team(team, strands, phases, counters, tail_strands, tail_phases, tail_counters, course, address, table, tail,
               inputs, parameters, activations, gradient, targets, weights, labels, order, sums, rates, key,
               workspace):  # fmt: skip
    """The same by a team of so many threads; each works in its own row of the workspace."""
    steps, batch, tails, last = course[op.STEPS], course[op.BATCH], min(tail.shape[0], 1), course[op.LAST]
    for member in prange(team):
        for turn in range(course[op.ROUNDS]):
            step, first = turn * (steps + tails), turn * (steps * batch + last)
            take_part(member, team, strands, phases, counters, turn * steps, steps, step, first, batch, course, address,
                      table, inputs, parameters, activations, gradient, targets, weights, labels, order, sums, rates,
                      key, workspace)  # fmt: skip
            take_part(member, team, tail_strands, tail_phases, tail_counters, turn, tails, step + steps,
                      first + steps * batch, last, course, address, tail, inputs, parameters, activations, gradient,
                      targets, weights, labels, order, sums, rates, key, workspace)  # fmt: skip


run_serial = serial_entry(_serially)
run_parallel = parallel_entry(_by_a_team)
