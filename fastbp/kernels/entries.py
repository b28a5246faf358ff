"""The C functions that Python calls: one for each operation and kind of one, the pass, the gathering of rows.

An operation receives its row of the table, the operands of the step (`operations`), and its thread's workspace.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import types

from . import activations, losses, updates
from . import coefficients as co
from . import operations as op
from .applied import applied, updated_by
from .by_rows import block_by_rows
from .elementwise import (
    activate,
    activate_backward,
    add_l2_gradient,
    average_block,
    drop,
    elementwise_loss,
    sgd_update,
    smooth_labels,
    smooth_targets,
    update_block,
    weigh_rows,
)
from .embedding import copy_columns, embed, embed_backward
from .functions import KINDS, Compiled, Function
from .gather import fetch_rows, gather_rows
from .gemm import Blocking, Product, block
from .jit import Kernel, kernel
from .microkernel import Epilogue, Matrix
from .narrow.forms import NarrowForward, NarrowStep
from .narrow.functions import narrow_forward, narrow_step
from .reductions import column_sums, factor_of, sum_of, sum_of_squares
from .simd import advance, doubles, integers, keys, number
from .softmax import cross_entropy_of_labels, cross_entropy_of_probabilities, softmax_rows
from .steps import run
from .team import carry_out, lead, serve


@kernel
def operand(row, buffer, offset, operands):
    """Return where an operand begins."""
    return advance(operands[row[buffer]], row[offset])


@kernel
def rows_of(row, ld, buffer, offset, operands):
    """Return where the rows begin that an operation takes of an operand."""
    return advance(operands[row[buffer]], row[offset] + row[op.ROW_BEGIN] * row[ld])


# ---- products and sums ----


@kernel
def product_of(row, operands):
    return Product(
        Matrix(operand(row, op.A_BUFFER, op.A, operands), row[op.LDA]), row[op.A_TRANSPOSED],
        Matrix(operand(row, op.B_BUFFER, op.B, operands), row[op.LDB]), row[op.B_TRANSPOSED],
        Matrix(operand(row, op.C_BUFFER, op.C, operands), row[op.LDC]),
        row[op.ROW_BEGIN], row[op.ROW_END], row[op.COLUMN_BEGIN], row[op.COLUMN_END], row[op.DEPTH],
    )  # fmt: skip


@kernel
def blocking_of(row, workspace):
    return Blocking(
        row[op.ACCESS], row[op.A_IN_PLACE], row[op.MC], row[op.KC], row[op.NC], row[op.PACKED_COLUMNS], workspace,
        advance(workspace, row[op.STRIPS]), advance(workspace, row[op.PARTIAL]),
    )  # fmt: skip


@kernel
def epilogue_of(row, operands):
    coefficients = operands[op.COEFFICIENTS]
    bias, y = operand(row, op.BIAS_BUFFER, op.BIAS, operands), operand(row, op.Y_BUFFER, op.Y, operands)
    return Epilogue(row[op.EPILOGUE], bias, y, coefficients[co.LEARNING_RATE], coefficients[co.L2])


def gemm(row, operands, workspace):
    block(product_of(row, operands), blocking_of(row, workspace), row[op.RESUME], epilogue_of(row, operands))


def gemm_by_rows(row, operands, workspace):
    block_by_rows(product_of(row, operands), blocking_of(row, workspace), row[op.RESUME], epilogue_of(row, operands))


def column_sums_of(row, operands, workspace):
    j0, columns, lda, depth = (
        row[op.COLUMN_BEGIN],
        row[op.COLUMN_END] - row[op.COLUMN_BEGIN],
        row[op.LDA],
        row[op.DEPTH],
    )
    a = advance(operand(row, op.A_BUFFER, op.A, operands), j0)
    c = advance(operand(row, op.C_BUFFER, op.C, operands), j0)
    if row[op.EPILOGUE] == op.SGD:
        column_sums(False, depth, columns, a, lda, workspace)
        sgd_update(columns, c, workspace, operands[op.COEFFICIENTS][co.LEARNING_RATE], number(c, 0.0))
    else:
        column_sums(row[op.RESUME] != 0, depth, columns, a, lda, c)


def sum_of_squares_of(row, operands, workspace):
    a = advance(operand(row, op.A_BUFFER, op.A, operands), row[op.ROW_BEGIN])
    squares = sum_of_squares(row[op.ROW_END] - row[op.ROW_BEGIN], a)
    operand(row, op.C_BUFFER, op.C, operands)[0] = squares


def clip_factor_of(row, operands, workspace):
    a = operand(row, op.A_BUFFER, op.A, operands)
    factor = factor_of(row[op.DEPTH], a, operands[op.COEFFICIENTS][co.MAX_NORM])
    operand(row, op.C_BUFFER, op.C, operands)[0] = factor


def sum_up(row, operands, workspace):
    sums = doubles(operands[op.SUMS])
    sums[0] = sum_of(row[op.DEPTH], operand(row, op.A_BUFFER, op.A, operands))
    sums[1] = sum_of(row[op.COLUMN_END], operand(row, op.B_BUFFER, op.B, operands))


# ---- what works row by row ----


@kernel
def rows_in(row):
    return row[op.ROW_END] - row[op.ROW_BEGIN]


@kernel
def losses_of(row, operands):
    """Return where the losses of the operation's rows go."""
    return advance(operand(row, op.Y_BUFFER, op.Y, operands), row[op.ROW_BEGIN])


@kernel
def a_rows(row, operands):
    return rows_of(row, op.LDA, op.A_BUFFER, op.A, operands)


@kernel
def b_rows(row, operands):
    return rows_of(row, op.LDA, op.B_BUFFER, op.B, operands)


@kernel
def c_rows(row, operands):
    return rows_of(row, op.LDA, op.C_BUFFER, op.C, operands)


def fetch(row, operands, workspace):
    order = advance(integers(operands[op.ORDER]), row[op.ROW_BEGIN])
    a = operand(row, op.A_BUFFER, op.A, operands)
    fetch_rows(rows_in(row), row[op.LDA], a, order, c_rows(row, operands))


def cross_entropy_with_labels(row, operands, workspace):
    labels = advance(integers(operands[op.LABELS]), row[op.ROW_BEGIN])
    scale = operands[op.COEFFICIENTS][co.SCALE]
    cross_entropy_of_labels(rows_in(row), row[op.LDA], a_rows(row, operands), labels, scale, c_rows(row, operands),
                            losses_of(row, operands), workspace)  # fmt: skip


def cross_entropy_with_probabilities(row, operands, workspace):
    scale = operands[op.COEFFICIENTS][co.SCALE]
    cross_entropy_of_probabilities(rows_in(row), row[op.LDA], a_rows(row, operands), b_rows(row, operands), scale,
                                   c_rows(row, operands), losses_of(row, operands), workspace)  # fmt: skip


def labels_smoothed(row, operands, workspace):
    labels, coefficients = advance(integers(operands[op.LABELS]), row[op.ROW_BEGIN]), operands[op.COEFFICIENTS]
    smooth_labels(rows_in(row), row[op.LDA], labels, coefficients[co.SMOOTH_SHARE], coefficients[co.SMOOTH_REST],
                  c_rows(row, operands))  # fmt: skip


def targets_smoothed(row, operands, workspace):
    coefficients = operands[op.COEFFICIENTS]
    smooth_targets(rows_in(row) * row[op.LDA], a_rows(row, operands), coefficients[co.SMOOTH_SHARE],
                   coefficients[co.SMOOTH_REST], c_rows(row, operands))  # fmt: skip


def weigh(row, operands, workspace):
    weights = advance(operands[op.WEIGHTS], row[op.ROW_BEGIN])
    weigh_rows(rows_in(row), row[op.LDA], weights, c_rows(row, operands), losses_of(row, operands))


def softmax(row, operands, workspace):
    softmax_rows(rows_in(row), row[op.LDA], a_rows(row, operands), c_rows(row, operands), workspace)


def dropout(row, operands, workspace):
    drop(row[op.ROW_BEGIN], rows_in(row), row[op.LDA], row[op.LAYER], row[op.THRESHOLD], keys(operands)[op.KEY],
         a_rows(row, operands), c_rows(row, operands))  # fmt: skip


def l2_gradient(row, operands, workspace):
    first = row[op.ROW_BEGIN]
    c = advance(operand(row, op.C_BUFFER, op.C, operands), first)
    a = advance(operand(row, op.A_BUFFER, op.A, operands), first)
    add_l2_gradient(rows_in(row), c, a, operands[op.COEFFICIENTS][co.L2])


def average(row, operands, workspace):
    corner = row[op.ROW_BEGIN] * row[op.LDC] + row[op.COLUMN_BEGIN]
    w, mean = operand(row, op.A_BUFFER, op.A, operands), operand(row, op.C_BUFFER, op.C, operands)
    columns, share = row[op.COLUMN_END] - row[op.COLUMN_BEGIN], operands[op.COEFFICIENTS][co.AVERAGE_SHARE]
    average_block(rows_in(row), columns, row[op.LDC], advance(w, corner), advance(mean, corner), share)


# ---- embeddings ----


@kernel
def batch_rows(row, operands):
    """Return where row 0 of the operation's rows of A lies, from which `order`, if they are fetched, counts."""
    a = operand(row, op.A_BUFFER, op.A, operands)
    return a if row[op.FETCHED] else advance(a, row[op.ROW_BEGIN] * row[op.LDA])


@kernel
def batch_target(row, operands):
    return rows_of(row, op.LDC, op.C_BUFFER, op.C, operands)


@kernel
def order_of(row, operands):
    return advance(integers(operands[op.ORDER]), row[op.ROW_BEGIN])


def columns_copied(row, operands, workspace):
    columns, x = row[op.COLUMN_END] - row[op.COLUMN_BEGIN], advance(batch_rows(row, operands), row[op.COLUMN_BEGIN])
    copy_columns(rows_in(row), columns, row[op.FETCHED], order_of(row, operands), x, row[op.LDA],
                 batch_target(row, operands), row[op.LDC])  # fmt: skip


def embedding(row, operands, workspace):
    table, kept = operand(row, op.B_BUFFER, op.B, operands), losses_of(row, operands)
    embed(rows_in(row), row[op.FETCHED], order_of(row, operands), batch_rows(row, operands), row[op.LDA],
          row[op.DEPTH], row[op.LDB], table, batch_target(row, operands), row[op.LDC], kept)  # fmt: skip


def embedding_backward(row, operands, workspace):
    kept, d = operand(row, op.Y_BUFFER, op.Y, operands), operand(row, op.A_BUFFER, op.A, operands)
    embed_backward(row[op.RESUME], row[op.DEPTH], row[op.ROW_BEGIN], row[op.ROW_END], row[op.LDC], kept, d,
                   row[op.LDA], operand(row, op.C_BUFFER, op.C, operands))  # fmt: skip


# ---- one function for each row of a table ----


def elementwise_loss_by(kind: int) -> Callable[..., None]:
    row_of_table = losses.ELEMENTWISE[losses.FORMULAS[kind]]
    value, gradient = (
        applied(formula, row_of_table.constants) for formula in (row_of_table.value, row_of_table.gradient)
    )

    def operation(row, operands, workspace):
        a, b, c = a_rows(row, operands), b_rows(row, operands), c_rows(row, operands)
        elementwise_loss(value, gradient, rows_in(row), row[op.LDA], a, b, operands[op.COEFFICIENTS], c,
                         losses_of(row, operands), workspace)  # fmt: skip

    return operation


def activate_by(kind: int) -> Callable[..., None]:
    value = applied(activations.FUNCTIONS[kind].value, activations.FUNCTIONS[kind].constants)

    def operation(row, operands, workspace):
        entries = rows_in(row) * row[op.LDA]
        activate(value, entries, a_rows(row, operands), c_rows(row, operands), operands[op.COEFFICIENTS])

    return operation


def activate_backward_by(kind: int) -> Callable[..., None]:
    derivative = applied(activations.FUNCTIONS[kind].derivative, activations.FUNCTIONS[kind].constants)

    def operation(row, operands, workspace):
        entries, coefficients = rows_in(row) * row[op.LDA], operands[op.COEFFICIENTS]
        a, b, c = a_rows(row, operands), b_rows(row, operands), c_rows(row, operands)
        activate_backward(derivative, entries, a, b, c, coefficients)

    return operation


def update_by(kind: int) -> Callable[..., None]:
    form = updated_by(updates.FORMS[kind])

    def operation(row, operands, workspace):
        corner = row[op.ROW_BEGIN] * row[op.LDC] + row[op.COLUMN_BEGIN]
        dw = advance(operand(row, op.A_BUFFER, op.A, operands), corner)
        state = advance(operand(row, op.B_BUFFER, op.B, operands), corner)
        w = advance(operand(row, op.C_BUFFER, op.C, operands), corner)
        factor = number(w, 1.0)
        if row[op.CLIPPED]:
            factor = operand(row, op.BIAS_BUFFER, op.BIAS, operands)[0]
        columns = row[op.COLUMN_END] - row[op.COLUMN_BEGIN]
        coefficients = advance(operands[op.COEFFICIENTS], row[op.Y])
        update_block(form, rows_in(row), columns, row[op.LDC], w, dw, state, row[op.LDB], factor, row[op.TAKES_PART],
                     coefficients)  # fmt: skip

    return operation


OPERATIONS: dict[int, Callable[..., None]] = {
    op.FETCH: fetch,
    op.GEMM: gemm,
    op.GEMM_BY_ROWS: gemm_by_rows,
    op.COLUMN_SUMS: column_sums_of,
    op.CROSS_ENTROPY_OF_LABELS: cross_entropy_with_labels,
    op.CROSS_ENTROPY_OF_PROBABILITIES: cross_entropy_with_probabilities,
    op.WEIGH_ROWS: weigh,
    op.SOFTMAX: softmax,
    op.DROP: dropout,
    op.ADD_L2_GRADIENT: l2_gradient,
    op.SUM_OF_SQUARES: sum_of_squares_of,
    op.CLIP_FACTOR: clip_factor_of,
    op.SUM_UP: sum_up,
    op.COPY_COLUMNS: columns_copied,
    op.EMBED: embedding,
    op.EMBED_BACKWARD: embedding_backward,
    op.SMOOTH_LABELS: labels_smoothed,
    op.SMOOTH_TARGETS: targets_smoothed,
    op.AVERAGE: average,
}
OPERATIONS_BY_KIND: dict[int, Callable[[int], Callable[..., None]]] = {
    op.ELEMENTWISE_LOSS: elementwise_loss_by,
    op.ACTIVATE: activate_by,
    op.ACTIVATE_BACKWARD: activate_backward_by,
    op.UPDATE: update_by,
}


# ---- what each name stands for ----

NUMBERS = types.CPointer(types.int64)
# What serves all dtypes.
WHOLE: dict[str, tuple[Kernel, tuple[types.Type, ...]]] = {
    "run": (run, (NUMBERS, types.int64)),
    "lead": (lead, (NUMBERS, NUMBERS, types.int64)),
    "carry_out": (carry_out, (NUMBERS, NUMBERS, types.int64)),
    "serve": (serve, (NUMBERS, types.int64)),
}


def entry(function: Compiled) -> tuple[Kernel, tuple[types.Type, ...]]:
    """Return the kernel of a C function, and the types of its arguments."""
    if isinstance(function, Function) and function.operation in WHOLE:
        return WHOLE[function.operation]
    dtype = types.CPointer(getattr(types, function.dtype))
    arguments = NUMBERS, types.CPointer(dtype), dtype
    if isinstance(function, NarrowStep):
        return narrow_step(function), arguments
    if isinstance(function, NarrowForward):
        return narrow_forward(function), arguments
    if function.operation == "gather":
        source = types.CPointer(getattr(types, function.kind))
        return gather_rows, (source, types.int64, NUMBERS, types.int64, dtype, dtype, dtype)
    code = op.NAMES.index(function.operation)
    chosen = OPERATIONS[code] if code in OPERATIONS else OPERATIONS_BY_KIND[code](KINDS[code].index(function.kind))
    return kernel(chosen), arguments
