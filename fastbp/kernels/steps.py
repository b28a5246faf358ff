"""One compiled pass over many minibatches: no Python between them.

A table of operations (`operations`) is carried out for each step. It is cut into phases, which follow one another;
a phase is cut into strands, which may run side by side; a strand is operations one after the other on one thread.
"""

from __future__ import annotations

from typing import Any

from numba import prange, types

from . import operations as op
from .affine import column_sums, mean_of_rows, relu_backward_flat, relu_flat
from .gemm import block
from .jit import call_at, compiled_once, kernel, parallel_entry, serial_entry
from .losses import cross_entropy_of_labels, cross_entropy_of_probabilities, softmax_rows
from .microkernel import SGD
from .optimizers import add_l2_gradient, sgd_update, sum_of_squares
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
    data, labels, losses, row = (types.CPointer(kind) for kind in (dtype, types.int64, types.float64, types.int64))
    return types.void(row, data, data, data, data, data, labels, losses, dtype, dtype, dtype, data)


@compiled_once(_perform_signature)
def perform(row, inputs, parameters, activations, gradient, targets, labels, step_loss, learning_rate, l2, scale,
            workspace):  # fmt: skip
    """Carry out one operation, a row of the table."""
    a = operand(row, op.A_BUFFER, op.A, inputs, parameters, activations, gradient, targets)
    b = operand(row, op.B_BUFFER, op.B, inputs, parameters, activations, gradient, targets)
    c = operand(row, op.C_BUFFER, op.C, inputs, parameters, activations, gradient, targets)
    y = operand(row, op.Y_BUFFER, op.Y, inputs, parameters, activations, gradient, targets)
    code = row[op.CODE]
    i0, i1, j0, j1 = row[op.ROW_BEGIN], row[op.ROW_END], row[op.COLUMN_BEGIN], row[op.COLUMN_END]
    count, depth, lda = i1 - i0, row[op.DEPTH], row[op.LDA]
    if code == op.GEMM:
        bias = operand(row, op.BIAS_BUFFER, op.BIAS, inputs, parameters, activations, gradient, targets)
        block(row[op.A_TRANSPOSED], row[op.A_IN_PLACE], row[op.B_TRANSPOSED], row[op.ACCESS], row[op.RESUME],
              row[op.EPILOGUE], i0, i1, j0, j1, depth, a, lda, b, row[op.LDB], c, row[op.LDC], bias, y,
              learning_rate, l2, row[op.KC], row[op.NC], workspace, advance(workspace, row[op.STRIPS]),
              advance(workspace, row[op.PARTIAL]))  # fmt: skip
    elif code == op.COLUMN_SUMS:
        if row[op.EPILOGUE] == SGD:
            column_sums(False, depth, j1 - j0, advance(a, j0), lda, workspace)
            sgd_update(j1 - j0, advance(c, j0), workspace, learning_rate, number(c, 0.0))
        else:
            column_sums(row[op.RESUME] != 0, depth, j1 - j0, advance(a, j0), lda, advance(c, j0))
    elif code == op.CROSS_ENTROPY_OF_LABELS:
        at = i0 * lda
        cross_entropy_of_labels(count, lda, advance(a, at), advance(labels, i0), scale, advance(c, at), advance(y, i0),
                                workspace)  # fmt: skip
    elif code == op.CROSS_ENTROPY_OF_PROBABILITIES:
        at = i0 * lda
        cross_entropy_of_probabilities(count, lda, advance(a, at), advance(b, at), scale, advance(c, at),
                                       advance(y, i0), workspace)  # fmt: skip
    elif code == op.SOFTMAX:
        softmax_rows(count, lda, advance(a, i0 * lda), advance(c, i0 * lda), workspace)
    elif code == op.RELU_FORWARD:
        relu_flat(count, advance(a, i0), advance(c, i0))
    elif code == op.RELU_BACKWARD:
        relu_backward_flat(count, advance(a, i0), advance(b, i0), advance(c, i0))
    elif code == op.SGD_FLAT:
        sgd_update(count, advance(c, i0), advance(a, i0), learning_rate, l2)
    elif code == op.ADD_L2_GRADIENT:
        add_l2_gradient(count, advance(c, i0), advance(a, i0), l2)
    elif code == op.SUM_OF_SQUARES:
        c[0] = sum_of_squares(count, advance(a, i0))
    elif code == op.MEAN_LOSS:
        squares = 0.0
        for part in range(j1):
            squares += b[part]
        step_loss[0] = mean_of_rows(depth, a) + 0.5 * l2 * squares


@kernel
def perform_all(begin, end, step, address, table, input_step, label_step, target_step, inputs, parameters, activations,
                gradient, targets, labels, step_losses, learning_rate, l2, scale, workspace):  # fmt: skip
    """Rows [begin, end) of the table, one after the other."""
    for index in range(begin, end):
        call_at(address, (
            advance(pointer(table), index * table.shape[1]), advance(pointer(inputs), step * input_step),
            pointer(parameters), pointer(activations), pointer(gradient),
            advance(pointer(targets), step * target_step), advance(pointer(labels), step * label_step),
            advance(pointer(step_losses), step), learning_rate, l2, scale, workspace,
        ))  # fmt: skip


def _serially(address, table, steps, input_step, label_step, target_step, inputs, parameters, activations, gradient,
              targets, labels, step_losses, learning_rate, l2, scale, workspace):  # fmt: skip
    """Carry the table out `steps` times."""
    for step in range(steps):
        perform_all(0, table.shape[0], step, address, table, input_step, label_step, target_step, inputs, parameters,
                    activations, gradient, targets, labels, step_losses, learning_rate, l2, scale,
                    pointer(workspace))  # fmt: skip


def _by_a_team(team, strands, phases, counters, address, table, steps, input_step, label_step, target_step, inputs,
               parameters, activations, gradient, targets, labels, step_losses, learning_rate, l2, scale,
               workspace):  # fmt: skip
    """The same by a team of so many threads; each works in its own row of the workspace."""
    total, last = strands.size - 1, phases.size - 2
    for member in prange(team):
        step, phase = 0, 0
        while step < steps:
            first, end = phases[phase], phases[phase + 1]
            for others in (False, True):  # its own strands first: what they work on is in its cache
                for strand in range(first, end):
                    own = (strand - first) % team == member
                    if own != others and look(counters, 1 + strand) == step and begin(counters, 1 + strand, step):
                        perform_all(strands[strand], strands[strand + 1], step, address, table, input_step, label_step,
                                    target_step, inputs, parameters, activations, gradient, targets, labels,
                                    step_losses, learning_rate, l2, scale,
                                    advance(pointer(workspace), member * workspace.shape[1]))  # fmt: skip
                        count_one(counters, DONE)
            phase += 1
            if phase > last:
                step, phase = step + 1, 0
            done = wait_for(counters, step * total + phases[phase])
            if done >= (step + 1) * total:  # it came late: the others are further on
                step, phase = done // total, 0


run_serial = serial_entry(_serially)
run_parallel = parallel_entry(_by_a_team)
