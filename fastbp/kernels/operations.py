"""What the compiled pass can do, as a table of numbers: one row an operation, the columns named here.

Python decides, once for each shape, which operations make up a step and which thread does which part
(`fastbp.schedule`); the compiled pass carries the table out and decides nothing.
"""

from __future__ import annotations

# Operations. "Sums" are stored to buffers; offsets and leading dimensions count elements.
(
    GEMM,  # C[row_begin:row_end, column_begin:column_end] = op(A) op(B), with an epilogue
    COLUMN_SUMS,  # C[j] = sum_i A[i, j] over depth rows, columns as above; epilogue SGD: C is a bias and is updated
    CROSS_ENTROPY_OF_LABELS,  # rows of A (logits) -> C (gradient), losses and sums in Y
    CROSS_ENTROPY_OF_PROBABILITIES,  # the same with targets in B
    SOFTMAX,  # rows of A -> C
    RELU_FORWARD,  # entries [row_begin, row_end) of A -> C
    RELU_BACKWARD,  # entries of A (dy) and B (y) -> C
    SGD_FLAT,  # entries of C (parameters) by A (gradient)
    ADD_L2_GRADIENT,  # entries of C (gradient) += l2 A (parameters)
    SUM_OF_SQUARES,  # of entries of A -> C[0]
    MEAN_LOSS,  # the mean of depth row losses in A, plus l2/2 times the sum of `columns` squares in B -> step_losses
) = range(11)

# The table's columns.
FIELDS = (
    "code", "epilogue", "resume", "access", "a_in_place", "a_transposed", "b_transposed",
    "row_begin", "row_end", "column_begin", "column_end", "depth",
    "a_buffer", "a", "lda", "b_buffer", "b", "ldb", "c_buffer", "c", "ldc", "y_buffer", "y", "bias_buffer", "bias",
    "kc", "nc", "strips", "partial",
)  # fmt: skip
(
    CODE, EPILOGUE, RESUME, ACCESS, A_IN_PLACE, A_TRANSPOSED, B_TRANSPOSED,
    ROW_BEGIN, ROW_END, COLUMN_BEGIN, COLUMN_END, DEPTH,
    A_BUFFER, A, LDA, B_BUFFER, B, LDB, C_BUFFER, C, LDC, Y_BUFFER, Y, BIAS_BUFFER, BIAS,
    KC, NC, STRIPS, PARTIAL,
) = range(len(FIELDS))  # fmt: skip

# The buffers that operands lie in. INPUTS and TARGETS move on with every step.
INPUTS, PARAMETERS, ACTIVATIONS, GRADIENT, TARGETS = range(5)

# The numbers of one step, in the compute dtype: a row of the rates, the columns named here. The optimizer fills those
# of its kernel (`fastbp.optimizers` has the formulas), training the others.
RATES = (
    "learning_rate", "l2", "scale", "share", "old_first", "new_first", "first_share", "gradient_share",
    "old_second", "new_second", "epsilon", "keep", "max_norm", "slope", "delta",
)  # fmt: skip
(
    LEARNING_RATE, L2, SCALE, SHARE, OLD_FIRST, NEW_FIRST, FIRST_SHARE, GRADIENT_SHARE,
    OLD_SECOND, NEW_SECOND, EPSILON, KEEP, MAX_NORM, SLOPE, DELTA,
) = range(len(RATES))  # fmt: skip
