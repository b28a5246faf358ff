"""A layer for a user's own compiled code: forward and backward, serial, with nothing allocated and nothing checked.

All arrays C-contiguous and of one dtype, float32 or float64; results go into the arrays given. `workspace` comes from
`fastbp.kernels.workspace` and belongs to one thread: inside a ``prange`` give each iteration a workspace of its own.
"""

from __future__ import annotations

from . import operations as op
from .activations import RELU
from .applied import applied
from .by_rows import block_by_rows
from .elementwise import activate, activate_backward
from .elementwise import sgd_update as sgd_flat
from .gemm import Blocking, Product, block
from .jit import kernel, user_kernel
from .microkernel import Epilogue, Matrix
from .reductions import column_sums, sum_of
from .shapes import FEW_ROWS, MR, PACKED, SLACK, STRIP_COLUMNS
from .simd import advance, lanes, number, pointer
from .softmax import cross_entropy_of_labels

# It has no constants: where coefficients are asked for, any pointer will do.
RELU_VALUE, RELU_MASK = applied(RELU.value, RELU.constants), applied(RELU.derivative, RELU.constants)


@kernel
def _multiply(a, a_transposed, b, b_transposed, c, shape, by_rows, epilogue, workspace):
    """A whole product of shape (rows, columns, depth), in stretches and rows that the workspace's shape allows."""
    rows, columns, depth = shape
    kc = workspace.shape[0] - SLACK
    mc = (workspace.shape[1] - STRIP_COLUMNS) // MR * MR
    strip = pointer(workspace)
    panels = advance(strip, workspace.shape[0] * STRIP_COLUMNS)
    product = Product(a, a_transposed, b, b_transposed, c, 0, rows, 0, columns, depth)
    at_once = 2 * lanes(strip)
    blocking = Blocking(PACKED, 0, mc, kc, workspace.shape[0] * STRIP_COLUMNS, at_once, panels, strip, panels)
    if by_rows:
        block_by_rows(product, blocking, 0, epilogue)
    else:
        block(product, blocking, 0, epilogue)


@kernel
def _forward(code, X, W, b, H, workspace):
    (n, fan_in), fan_out = X.shape, W.shape[1]
    x, w, h = Matrix(pointer(X), fan_in), Matrix(pointer(W), fan_out), Matrix(pointer(H), fan_out)
    zero = number(h.start, 0.0)
    epilogue = Epilogue(code, pointer(b), h.start, zero, zero)
    _multiply(x, 0, w, 0, h, (n, fan_out, fan_in), n <= FEW_ROWS, epilogue, workspace)


@user_kernel
def affine_forward(X, W, b, H, workspace):
    """``H = X W + b``: X (n, fan_in), W (fan_in, fan_out), b (fan_out,), H (n, fan_out)."""
    _forward(op.ADD_BIAS, X, W, b, H, workspace)


@user_kernel
def affine_relu_forward(X, W, b, H, workspace):
    """``H = relu(X W + b)``, the ReLU while the sums are in registers."""
    _forward(op.ADD_BIAS | op.RELU, X, W, b, H, workspace)


@user_kernel
def affine_backward(dH, X, W, dX, dW, db, workspace):
    """``dX = dH W^T``, ``dW = X^T dH``, ``db = sum of the rows of dH``; shapes as the arrays they belong to."""
    (n, fan_in), fan_out = X.shape, W.shape[1]
    x, w, dh = Matrix(pointer(X), fan_in), Matrix(pointer(W), fan_out), Matrix(pointer(dH), fan_out)
    dx, dw = Matrix(pointer(dX), fan_in), Matrix(pointer(dW), fan_out)
    zero = number(dx.start, 0.0)
    epilogue = Epilogue(0, w.start, w.start, zero, zero)
    _multiply(dh, 0, w, 1, dx, (n, fan_in, fan_out), False, epilogue, workspace)
    _multiply(x, 1, dh, 0, dw, (fan_in, fan_out, n), False, epilogue, workspace)
    column_sums(False, n, fan_out, dh.start, fan_out, pointer(db))


@user_kernel
def relu_forward(x, y):
    """``y = 0 where x <= 0, else x``, over all entries; x and y may be one array."""
    activate(RELU_VALUE, x.size, pointer(x), pointer(y), pointer(x))


@user_kernel
def relu_backward(dy, y, dx):
    """``dx = 0 where y <= 0, else dy``, over all entries; dx may be dy."""
    activate_backward(RELU_MASK, dy.size, pointer(dy), pointer(y), pointer(dx), pointer(dy))


@user_kernel
def softmax_cross_entropy(logits, labels, dlogits, losses, workspace):
    """Logits (n, classes), labels (n,) int64 below classes: fills dlogits = (softmax - one-hot) / n and the row
    losses (n,); returns the mean loss, a float64. The workspace holds at least n + 768 elements."""
    n, classes = logits.shape
    scale = number(pointer(logits), 1.0) / number(pointer(logits), n)
    cross_entropy_of_labels(n, classes, pointer(logits), pointer(labels), scale, pointer(dlogits), pointer(losses),
                            pointer(workspace))  # fmt: skip
    return sum_of(n, pointer(losses)) / n


@user_kernel
def sgd_update(W, dW, learning_rate, l2):
    """``W -= learning_rate (dW + l2 W)``, over all entries."""
    start = pointer(W)
    sgd_flat(W.size, start, pointer(dW), number(start, learning_rate), number(start, l2))
