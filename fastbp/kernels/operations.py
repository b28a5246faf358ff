"""The operations of the compiled pass, as a table of numbers: one row for each, with the columns named here.

Python decides, once for each shape, which operations make up a step and which thread does which part
(`fastbp.program`); the compiled pass carries the table out and decides nothing. Each operation, and each kind of one,
is a C function of its own, whose address its row holds.
"""

from __future__ import annotations

# Operations. "Sums" are stored to buffers; offsets and leading dimensions count elements. What works row by row takes
# rows [row_begin, row_end) of `lda` entries each.
(
    FETCH,  # rows of A, as many behind one another as `order` names -> C
    GEMM,  # C[row_begin:row_end, column_begin:column_end] = op(A) op(B), with an epilogue
    GEMM_BY_ROWS,  # the same for few rows, with B not transposed, and nothing packed
    COLUMN_SUMS,  # C[j] = sum_i A[i, j] over depth rows, columns as above; epilogue SGD: C is a bias and is updated
    CROSS_ENTROPY_OF_LABELS,  # rows of A (logits) -> C (gradient), losses and sums in Y
    CROSS_ENTROPY_OF_PROBABILITIES,  # the same with targets in B
    ELEMENTWISE_LOSS,  # the same for a loss of one logit and one target at a time: `kind` of `kernels.losses`
    WEIGH_ROWS,  # rows of C (gradient) and their losses in Y, times the rows' weights
    SOFTMAX,  # rows of A -> C
    ACTIVATE,  # rows of A -> C: `kind` of `kernels.activations`
    ACTIVATE_BACKWARD,  # rows of A (dy) and B (y, or x where the derivative needs it) -> C
    DROP,  # rows of A -> C, entries zeroed or enlarged: by the hash of key, `layer`, row and column, and `threshold`
    UPDATE,  # block of C (parameters) by A (gradient), state in B, vectors `ldb` apart: `kind` of `kernels.updates`, by
    # the coefficients from entry `y` of the step's on
    ADD_L2_GRADIENT,  # entries of C (gradient) += l2 A (parameters)
    SUM_OF_SQUARES,  # of entries of A -> C[0]
    CLIP_FACTOR,  # by what a gradient is shortened whose `depth` sums of squares are in A -> C[0]
    SUM_UP,  # `depth` row losses in A, `column_end` sums of squares in B -> the step's two sums
    # Rows of A, where `fetched` as many behind one another as `order` names, each `lda` after the last; C has them
    # `ldc` apart.
    COPY_COLUMNS,  # entries [column_begin, column_end) of these rows -> C
    EMBED,  # of a table B of `depth` vectors, each of `ldb` entries, those whose numbers lie in A -> C; numbers to Y
    EMBED_BACKWARD,  # rows of A added to vectors [row_begin, row_end) of C, by the numbers of `depth` rows in Y
    SMOOTH_LABELS,  # one-hot rows of labels, smoothed -> C
    SMOOTH_TARGETS,  # rows of A (targets), smoothed -> C
    AVERAGE,  # block of C (average of parameters), moved towards A (parameters)
    STEP,  # a whole training step for `row_end` rows, compiled for one network (`kernels.narrow`)
    STEP_ROWS,  # its first part, all that rows have to themselves: blocks of rows -> blocks at C
    STEP_SUMS,  # its second part: blocks of rows -> sums behind the block at C, for tiles [column_begin, column_end) of
    # all parameters, and with an epilogue their update
    FORWARD,  # outputs of rows to the gradient buffer, the sum of their inputs' squares to Y; compiled so too
) = range(27)
NAMES = (  # of those that serve all networks
    "fetch", "gemm", "gemm_by_rows", "column_sums", "cross_entropy_of_labels", "cross_entropy_of_probabilities",
    "elementwise_loss", "weigh_rows", "softmax", "activate", "activate_backward", "drop", "update", "add_l2_gradient",
    "sum_of_squares", "clip_factor", "sum_up", "copy_columns", "embed", "embed_backward",
    "smooth_labels", "smooth_targets", "average",
)  # fmt: skip

# The table's columns.
FIELDS = (
    "function", "code", "kind", "epilogue", "resume", "access", "a_in_place", "a_transposed", "b_transposed",
    "row_begin", "row_end", "column_begin", "column_end", "depth",
    "a_buffer", "a", "lda", "b_buffer", "b", "ldb", "c_buffer", "c", "ldc", "y_buffer", "y", "bias_buffer", "bias",
    "mc", "kc", "nc", "packed_columns", "strips", "partial", "layer", "threshold", "clipped", "takes_part", "fetched",
    "weighted", "penalised",
)  # fmt: skip
(
    FUNCTION, CODE, KIND, EPILOGUE, RESUME, ACCESS, A_IN_PLACE, A_TRANSPOSED, B_TRANSPOSED,
    ROW_BEGIN, ROW_END, COLUMN_BEGIN, COLUMN_END, DEPTH,
    A_BUFFER, A, LDA, B_BUFFER, B, LDB, C_BUFFER, C, LDC, Y_BUFFER, Y, BIAS_BUFFER, BIAS,
    MC, KC, NC, PACKED_COLUMNS, STRIPS, PARTIAL, LAYER, THRESHOLD, CLIPPED, TAKES_PART, FETCHED,
    WEIGHTED, PENALISED,
) = range(len(FIELDS))  # fmt: skip

# What operations work on, as an array of pointers; operands of the table lie in the first five. With each row and each
# step of a course they move on by bytes that the call names; dropout's key is a number in a pointer's place.
INPUTS, PARAMETERS, ACTIVATIONS, GRADIENT, TARGETS, WEIGHTS, LABELS, ORDER, SUMS, COEFFICIENTS, KEY = range(11)

# A call: one int64 for each of these. First what differs from call to call: the workspace, and the operands' addresses
# at the first row of the first step. Then the course: so many rounds of steps, each for the rows of a batch, and of a
# last step for fewer rows. Then what operands move on by, and the program of a step and that of the last one.
WORKSPACE, WORKSPACE_BYTES, OPERANDS = range(3)
TEAM, ROUNDS, STEPS, BATCH, LAST = range(OPERANDS + KEY + 1, OPERANDS + KEY + 6)
ROW_BYTES = LAST + 1  # what each operand but the key moves on by with a row
STEP_BYTES = ROW_BYTES + KEY  # what each moves on by with a step
PROGRAM = ("table", "rows", "strands", "strand_count", "phases", "phase_count", "counters")
TABLE, ROWS, STRANDS, STRAND_COUNT, PHASES, PHASE_COUNT, COUNTERS = range(len(PROGRAM))
WHOLE = STEP_BYTES + KEY  # where the program of a step begins
TAIL = WHOLE + len(PROGRAM)
CALL = TAIL + len(PROGRAM)

OPERAND_BYTES = 128  # of a workspace, for the operands of the step at hand: whole cache lines
COMMON_COUNTERS = 3  # of a program, before those of its strands
LINE = 8  # int64s a counter: two threads that write to one cache line would each wait for the other

# Epilogues of a product, bits of one number; only the last stretch of k gets one.
ADD_BIAS, RELU, RELU_MASK, SGD = 1, 2, 4, 8

# What a block of weights takes part in when it is updated, bits of one number; biases: 0.
PENALTY, DECAY = 1, 2
