"""The kernels as functions of NumPy arrays: arguments are checked, results are new arrays or `out`.

Arithmetic and results are float32 for float32 operands, and float64 where NumPy's promotion of the operands needs it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import threads, validation
from .kernels import coefficients as co
from .kernels import operations as op
from .kernels.activations import RELU
from .kernels.shapes import SCRATCH
from .kernels.updates import SGD
from .program.cost_model import EXP_COST, CostModel
from .program.network_operations import CROSS_ENTROPY
from .program.products import Product, RowWise
from .program.run import Operands, run
from .program.split import chain, cheapest, side_by_side
from .program.table import Program, Strand, operation
from .program.tuning import tuning

Array = NDArray[Any]
LEAST_WORTH_SPLITTING = 1 << 18  # entries of an element-wise operation: below, memory is faster than waking a thread


def affine_forward(X: ArrayLike, W: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """Compute an affine layer, ``H = X W + b``.

    Each element is a sum over ascending k by fused multiply-adds from +0, with the bias added last: a row gives the
    same bits alone as in any batch, on any number of threads.

    Parameters
    ----------
    X : array_like (n, fan_in)
    W : array_like (fan_in, fan_out)
    b : array_like (fan_out,)
    out : array (n, fan_out), optional
        Array to write the result to, of the result's dtype; it must not overlap an input.

    Returns
    -------
    array (n, fan_out)
        float32, or float64 where an operand needs it; `out` if that is given.

    Raises
    ------
    ValueError, TypeError
        Shapes do not fit, a dtype is not real, or `out` cannot hold the result.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.affine_forward([[1.0, 2.0]], [[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]], [10.0, 20.0, 30.0])
    array([[11., 22., 38.]])
    """
    return _affine_forward(X, W, b, out, op.ADD_BIAS)


def affine_relu_forward(X: ArrayLike, W: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """Compute an affine layer with a fused ReLU, ``H = max(0, X W + b)``; NaN stays NaN.

    Parameters, result and errors are those of `affine_forward`.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.affine_relu_forward([[1.0, 2.0]], [[1.0, -1.0], [0.0, -1.0]], [0.0, 1.0])
    array([[1., 0.]])
    """
    return _affine_forward(X, W, b, out, op.ADD_BIAS | op.RELU)


def _affine_forward(X: ArrayLike, W: ArrayLike, b: ArrayLike, out: Array | None, epilogue: int) -> Array:
    x, w, bias = validation.real_array("X", X, 2), validation.real_array("W", W, 2), validation.real_array("b", b, 1)
    (n, fan_in), fan_out = x.shape, w.shape[1]
    validation.shape("W", w, (fan_in, fan_out))
    validation.shape("b", bias, (fan_out,))
    dtype = validation.compute_dtype(x, w, bias)
    if out is not None:
        validation.output("out", out, (n, fan_out), dtype, x, w, bias)
    target = out if out is not None and out.flags.carray else np.empty((n, fan_out), dtype)
    if target.size:
        x, w, bias = (validation.kernel_array(array, dtype) for array in (x, w, bias))
        program = _forward_program(n, fan_in, fan_out, dtype, threads.count(), epilogue, tuning())
        run(program, Operands(x.reshape(-1), w.reshape(-1), target.reshape(-1), bias))
    if out is not None and target is not out:
        out[...] = target
    return target if out is None else out


@functools.lru_cache(maxsize=256)
def _forward_program(
    n: int, fan_in: int, fan_out: int, dtype: np.dtype[Any], count: int, epilogue: int, forced: Any
) -> Program:
    a, b, c = (op.INPUTS, 0, fan_in), (op.PARAMETERS, 0, fan_out), (op.ACTIVATIONS, 0, fan_out)
    product = Product(n, fan_out, fan_in, a=a, b=b, c=c, bias=(op.GRADIENT, 0), epilogue=epilogue)
    return cheapest(functools.partial(chain, [product]), dtype, count, n)


def affine_backward(dH: ArrayLike, X: ArrayLike, W: ArrayLike) -> tuple[Array, Array, Array]:
    """Compute the gradients of an affine layer: ``dX = dH W^T``, ``dW = X^T dH``, ``db = sum of the rows of dH``.

    Parameters
    ----------
    dH : array_like (n, fan_out)
        Gradient of the loss with respect to the layer's output.
    X : array_like (n, fan_in)
    W : array_like (fan_in, fan_out)

    Returns
    -------
    dX : array (n, fan_in)
    dW : array (fan_in, fan_out)
    db : array (fan_out,)
        float32, or float64 where an operand needs it.

    Raises
    ------
    ValueError, TypeError
        Shapes do not fit, or a dtype is not real.

    Examples
    --------
    >>> import fastbp
    >>> dX, dW, db = fastbp.affine_backward([[1.0, 2.0]], [[3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]])
    >>> dX, dW, db
    (array([[1., 2.]]), array([[3., 6.],
           [4., 8.]]), array([1., 2.]))
    """
    dh, x, w = (validation.real_array(name, value, 2) for name, value in (("dH", dH), ("X", X), ("W", W)))
    (n, fan_in), fan_out = x.shape, w.shape[1]
    validation.shape("W", w, (fan_in, fan_out))
    validation.shape("dH", dh, (n, fan_out))
    dtype = validation.compute_dtype(dh, x, w)
    flat = np.zeros(n * fan_in + fan_in * fan_out + fan_out, dtype)
    if fan_out:
        dh, x, w = (validation.kernel_array(array, dtype) for array in (dh, x, w))
        program = _backward_program(n, fan_in, fan_out, dtype, threads.count(), tuning())
        run(program, Operands(dh.reshape(-1), w.reshape(-1), x.reshape(-1), flat))
    dX, dW, db = np.split(flat, [n * fan_in, n * fan_in + fan_in * fan_out])
    return dX.reshape(n, fan_in), dW.reshape(fan_in, fan_out), db


@functools.lru_cache(maxsize=256)
def _backward_program(n: int, fan_in: int, fan_out: int, dtype: np.dtype[Any], count: int, forced: Any) -> Program:
    dh, x, w = (op.INPUTS, 0, fan_out), (op.ACTIVATIONS, 0, fan_in), (op.PARAMETERS, 0, fan_out)
    weights = n * fan_in  # dW lies behind dX, db behind dW
    dx, dw = (op.GRADIENT, 0, fan_in), (op.GRADIENT, weights, fan_out)
    products = [
        Product(n, fan_in, fan_out, a=dh, b=w, c=dx, b_transposed=True),
        Product(fan_in, fan_out, n, a=x, b=dh, c=dw, a_transposed=True),
    ]
    db = (op.GRADIENT, weights + fan_in * fan_out)
    sums = operation(op.COLUMN_SUMS, depth=n, column_end=fan_out, a=dh, c=db)
    products = [product for product in products if product.rows * product.columns]

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        time, strands = side_by_side(products, model) if products else (0.0, [[]])
        strands[-1].append(sums)
        return time, [strands]

    return cheapest(write, dtype, count, fan_out)


def relu_forward(x: ArrayLike) -> Array:
    """Compute the rectifier, ``y = 0 where x <= 0, else x``; NaN stays NaN.

    Parameters
    ----------
    x : array_like
        Of any shape.

    Returns
    -------
    array
        Of the same shape, float32 or float64.

    Raises
    ------
    TypeError
        The dtype is not real.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.relu_forward([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    array = validation.real_array("x", x)
    dtype = validation.compute_dtype(array)
    y = np.empty(array.shape, dtype)
    _elementwise(op.ACTIVATE, dtype, a=validation.kernel_array(array, dtype), c=y)
    return y


def relu_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    """Compute the gradient of the rectifier from its output, ``dx = 0 where y <= 0, else dy``.

    The derivative at 0 is 0.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output, of any shape.
    y : array_like
        Output of the rectifier, of the same shape. Its input gives the same result.

    Returns
    -------
    array
        Of the same shape, float32 or float64.

    Raises
    ------
    ValueError, TypeError
        Shapes differ, or a dtype is not real.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.relu_backward([5.0, 6.0, 7.0], [0.0, 2.0, 3.0])
    array([0., 6., 7.])
    """
    gradient, output = validation.real_array("dy", dy), validation.real_array("y", y)
    validation.shape("y", output, gradient.shape)
    dtype = validation.compute_dtype(gradient, output)
    dx = np.empty(gradient.shape, dtype)
    gradient, output = (validation.kernel_array(array, dtype) for array in (gradient, output))
    _elementwise(op.ACTIVATE_BACKWARD, dtype, a=gradient, b=output, c=dx)
    return dx


def sgd_update(W: Array, dW: ArrayLike, learning_rate: float, l2: float = 0.0) -> None:
    """Take one step of gradient descent in place, ``W -= learning_rate (dW + l2 W)``.

    The result has the same bits as the update that `MLP.fit` fuses into the weight gradient.

    Parameters
    ----------
    W : array
        Parameters, float32 or float64, writable, of any shape; overwritten.
    dW : array_like
        Gradient, of the same shape.
    learning_rate : float
        Finite and at least 0.
    l2 : float, default 0
        Strength of the penalty ``l2/2 |W|^2``, finite and at least 0. Biases are usually not penalised.

    Raises
    ------
    ValueError, TypeError
        `W` is not such an array, or overlaps `dW`; shapes differ; a rate is negative or not finite.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> W = np.array([1.0, -2.0])
    >>> fastbp.sgd_update(W, [0.5, 0.5], learning_rate=1.0, l2=0.25)
    >>> W
    array([ 0.25, -2.  ])
    """
    gradient = validation.real_array("dW", dW)
    plain = isinstance(W, np.ndarray) and not isinstance(W, np.ma.MaskedArray)
    if not (plain and W.dtype.newbyteorder("=") in validation.FLOATS):
        kind = f"dtype {W.dtype}" if plain else type(W).__name__
        raise TypeError(f"W: got {kind}, expected an array of float32 or float64, which is overwritten")
    validation.shape("dW", gradient, W.shape)
    validation.output("W", W, W.shape, W.dtype, gradient)
    native = W.dtype.newbyteorder("=")
    learning_rate = validation.rate("learning_rate", learning_rate, native)
    l2 = validation.rate("l2", l2, native)
    target = validation.kernel_array(W, native)
    coefficients = co.row(native, learning_rate=learning_rate, l2=l2)
    _elementwise(op.UPDATE, native, a=validation.kernel_array(gradient, native), c=target, coefficients=coefficients)
    if target is not W:
        W[...] = target


def _elementwise(
    code: int, dtype: np.dtype[Any], a: Array, c: Array, b: Array | None = None, coefficients: Array | None = None
) -> None:
    if c.size:
        program = _elementwise_program(code, c.size, dtype, threads.count())
        flat = a.reshape(-1)
        other = flat if b is None else b.reshape(-1)
        run(program, Operands(flat, other, c.reshape(-1), flat, coefficients=coefficients))


@functools.lru_cache(maxsize=256)
def _elementwise_program(code: int, count: int, dtype: np.dtype[Any], number: int) -> Program:
    """Return a program on `count` entries, split among threads."""
    parts = 1 if count < LEAST_WORTH_SPLITTING else number
    step = -(-count // parts)
    kind = SGD.kind if code == op.UPDATE else RELU.kind
    a, b, c = (op.INPUTS, 0, 1), (op.PARAMETERS, 0), (op.ACTIVATIONS, 0, 1)
    whole = operation(code, kind=kind, takes_part=op.PENALTY, column_end=1, a=a, b=b, c=c)
    phase = [[{**whole, "row_begin": at, "row_end": min(at + step, count)}] for at in range(0, count, step)]
    return Program.of([phase], 1, parts)


def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> tuple[float, Array]:
    """Compute the mean cross-entropy of the softmax and its gradient, ``dlogits = (softmax(logits) - t) / n``.

    The loss of a row is ``log sum exp(logits) - sum t logits``, computed from logits minus their maximum, so that none
    overflows.

    Parameters
    ----------
    logits : array_like (n, classes)
    labels : array_like (n,) or (n, classes)
        Class indices, or rows of probabilities t. One-hot rows give the same bits as indices.

    Returns
    -------
    loss : float
        Mean over rows.
    dlogits : array (n, classes)
        float32 or float64, as the logits.

    Raises
    ------
    ValueError, TypeError
        `logits` is empty; labels are out of range, fractional or NaN; rows of probabilities do not sum to 1.

    Examples
    --------
    >>> import fastbp
    >>> loss, dlogits = fastbp.softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(loss, 6), dlogits
    (0.693147, array([[ 0.5, -0.5]]))
    """
    z = validation.real_array("logits", logits, 2)
    n, classes = z.shape
    if not z.size:
        raise ValueError(f"logits: got shape {z.shape}, expected at least one row and one class")
    dtype = validation.compute_dtype(z)
    t = validation.labels("labels", labels, n, classes, dtype)
    z, dlogits = validation.kernel_array(z, dtype), np.empty((n, classes), dtype)
    losses, sums = np.empty(n, dtype), np.empty(2)
    form = "labels" if t.ndim == 1 else "targets"
    program = _loss_program(n, classes, dtype, threads.count(), form, tuning())
    operands = Operands(
        inputs=z.reshape(-1),
        parameters=losses,
        activations=dlogits.reshape(-1),
        gradient=losses,
        targets=t.reshape(-1) if t.ndim == 2 else None,
        labels=t if t.ndim == 1 else None,
        sums=sums,
        coefficients=co.row(dtype, scale=1.0 / n),
    )
    run(program, operands)
    return float(sums[0] / n), dlogits


@functools.lru_cache(maxsize=256)
def _loss_program(n: int, classes: int, dtype: np.dtype[Any], count: int, form: str, forced: Any) -> Program:
    z, t, dz, losses = (op.INPUTS, 0, classes), (op.TARGETS, 0), (op.ACTIVATIONS, 0), (op.PARAMETERS, 0)
    loss = operation(CROSS_ENTROPY[form], a=z, b=t, c=dz, y=losses)
    rows = RowWise(n, loss, EXP_COST * (1 + classes / CostModel(dtype, 1).lanes))
    total = operation(op.SUM_UP, depth=n, a=losses)

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        time, phases = chain([rows], model)
        return time, [*phases, [[total]]]

    return cheapest(write, dtype, count, n + SCRATCH)
