"""The kernels as functions on NumPy arrays: everything checked, results in new arrays or in ``out``.

float32 operands give float32 arithmetic and results. Where NumPy's promotion of the operands needs more, float64.
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
from .kernels.softmax import SCRATCH
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
    """Affine layer: ``H = X W + b``.

    Every element is summed over ascending k with fused multiply-adds from +0, the bias added last: one row gives the
    same bits alone as in any batch, on any number of threads.

    Parameters
    ----------
    X : array_like (n, fan_in)
    W : array_like (fan_in, fan_out)
    b : array_like (fan_out,)
    out : array (n, fan_out), optional
        Where the result goes: of the result's dtype, overlapping no input.

    Returns
    -------
    array (n, fan_out)
        float32, or float64 where an operand needs it; `out` where that is given.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, dtypes that are not real, an `out` that cannot take the result.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.affine_forward([[1.0, 2.0]], [[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]], [10.0, 20.0, 30.0])
    array([[11., 22., 38.]])
    """
    return _affine_forward(X, W, b, out, op.ADD_BIAS)


def affine_relu_forward(X: ArrayLike, W: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """Affine layer with the ReLU fused in: ``H = max(0, X W + b)``, NaN kept.

    Parameters, result and errors as for `affine_forward`.

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
def _forward_program(n: int, fan_in: int, fan_out: int, dtype: np.dtype[Any], count: int, epilogue: int,
                     forced: Any) -> Program:  # fmt: skip
    x, w, target = (op.INPUTS, 0, fan_in), (op.PARAMETERS, 0, fan_out), (op.ACTIVATIONS, 0, fan_out)
    product = Product(n, fan_out, fan_in, x, w, target, bias=(op.GRADIENT, 0), epilogue=epilogue)
    return cheapest(functools.partial(chain, [product]), dtype, count, n)


def affine_backward(dH: ArrayLike, X: ArrayLike, W: ArrayLike) -> tuple[Array, Array, Array]:
    """Gradients of an affine layer: ``dX = dH W^T``, ``dW = X^T dH``, ``db = sum of the rows of dH``.

    Parameters
    ----------
    dH : array_like (n, fan_out)
        Gradient of the layer's output.
    X : array_like (n, fan_in)
    W : array_like (fan_in, fan_out)

    Returns
    -------
    dX : array (n, fan_in)
    dW : array (fan_in, fan_out)
    db : array (fan_out,)

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, dtypes that are not real.

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
    weights = n * fan_in  # where their gradient lies, behind dX
    products = [
        Product(n, fan_in, fan_out, dh, w, (op.GRADIENT, 0, fan_in), b_transposed=True),
        Product(fan_in, fan_out, n, x, dh, (op.GRADIENT, weights, fan_out), a_transposed=True),
    ]
    biases = (op.GRADIENT, weights + fan_in * fan_out)
    sums = operation(op.COLUMN_SUMS, depth=n, column_end=fan_out, a=dh, c=biases)
    products = [product for product in products if product.rows * product.columns]

    def write(model: CostModel) -> tuple[float, list[list[Strand]]]:
        time, strands = side_by_side(products, model) if products else (0.0, [[]])
        strands[-1].append(sums)
        return time, [strands]

    return cheapest(write, dtype, count, fan_out)


def relu_forward(x: ArrayLike) -> Array:
    """Rectifier: ``y = 0 where x <= 0, else x``; NaN goes through.

    Parameters
    ----------
    x : array_like
        Of any shape.

    Returns
    -------
    array
        Of the same shape, float32 or float64.

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
    """Gradient of the rectifier from its output: ``dx = 0 where y <= 0, else dy``: the derivative at 0 is 0.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, of any shape.
    y : array_like
        Output (or input: the mask is the same), of the same shape.

    Returns
    -------
    array
        Of the same shape, float32 or float64.

    Raises
    ------
    ValueError, TypeError
        Shapes that differ, dtypes that are not real.

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
    """One step of gradient descent, in place: ``W -= learning_rate (dW + l2 W)``.

    The same bits as the update that `MLP.fit` fuses into the weight gradient.

    Parameters
    ----------
    W : array
        float32 or float64, writable, of any shape; overwritten.
    dW : array_like
        Gradient, of the same shape.
    learning_rate : float
        Finite, at least 0.
    l2 : float, default 0
        Weight of the penalty ``l2/2 |W|^2``: finite, at least 0. Give 0 for biases.

    Raises
    ------
    ValueError, TypeError
        `W` is not such an array or overlaps `dW`; shapes that differ; rates that are negative or not finite.

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
    """Rows of one entry each, cut among threads."""
    parts = 1 if count < LEAST_WORTH_SPLITTING else number
    step = -(-count // parts)
    kind = SGD.kind if code == op.UPDATE else RELU.kind
    a, b, c = (op.INPUTS, 0, 1), (op.PARAMETERS, 0), (op.ACTIVATIONS, 0, 1)
    whole = operation(code, kind=kind, takes_part=op.PENALTY, column_end=1, a=a, b=b, c=c)
    phase = [[{**whole, "row_begin": at, "row_end": min(at + step, count)}] for at in range(0, count, step)]
    return Program.of([phase], 1, parts)


def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> tuple[float, Array]:
    """Mean cross-entropy of the softmax, and its gradient: ``dlogits = (softmax(logits) - t) / n``.

    Logits are shifted by their row maximum and the loss comes from log-sum-exp, so that no logit overflows.

    Parameters
    ----------
    logits : array_like (n, classes)
    labels : array_like (n,) or (n, classes)
        Class indices, or rows of probabilities; one-hot rows give the same bits as indices.

    Returns
    -------
    loss : float
        The mean over rows.
    dlogits : array (n, classes)
        float32 or float64, as the logits.

    Raises
    ------
    ValueError, TypeError
        Empty logits; labels out of range, fractional or NaN; rows of probabilities that do not sum to 1.

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
