"""The chain rule, node by node: variables over numbers and arrays, a graph of what was done to them, and the way back.

    price, number, tax = Variable(20.0, "price"), Variable(2.0, "number"), Variable(1.1, "tax")
    paid = price * number * tax
    paid.backward()
    price.grad  # 2.2: what is paid moves by 2.2 for every 1 that the price moves

Each operation keeps its operands, the factor that the chain rule multiplies for each of them, and how it sends a
gradient back; `backward` walks the graph from its end and adds up what arrives at every variable. What has a kernel
(affine layers, matrix products, ReLU, softmax with loss) calls the kernel that trains the networks: a network built of
these nodes has the gradients of `MLP.gradient`, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import functional, validation

Array = NDArray[Any]
Value = Any  # a float, or an array that nobody writes into
Back = Callable[[Value], tuple[Value, ...]]


class Variable:
    """A number or an array in a graph: given, or the result of an operation on others.

    Operators ``+``, ``-``, ``*`` (element by element, broadcasting as NumPy does) and ``@``, the methods `relu`, `sum`
    and `mean`, and the functions `affine` and `softmax_cross_entropy` make new variables. Values never change, so a
    graph stays true; an update makes a new variable.

    Parameters
    ----------
    value : array_like
        A finite real number, which becomes a float, or an array of them, which is copied: in float32 where NumPy would
        compute in it or in less, else in float64.
    name : str, optional
        What trees and pictures call it.

    Attributes
    ----------
    value : float or read-only array
    name : str
    operation : str
        What made it: "+", "-", "×", "@", "affine", "ReLU", "softmax loss", "sum", "mean"; "" for a given one.
    operands : tuple of Variable
    local_gradients : tuple of float or array, one for each operand
        The factors that the chain rule multiplies: 1 for a sum, the other side for a product. For ``Z = A B`` they are
        ``B^T`` (``dA = dZ B^T``) and ``A^T`` (``dB = A^T dZ``), and so for an affine layer.
    grad : float, array or None
        Derivative of the result whose `backward` was called last, of the shape of `value`.
    operand_gradients : tuple of float or array
        What that call sent back to each operand; a variable used twice has the sum of both as its `grad`.

    Raises
    ------
    TypeError, ValueError
        A value that is no real number or array, is NaN or infinite; operands whose shapes do not fit; a result that is
        not finite.

    Examples
    --------
    >>> from fastbp.graph import Variable
    >>> x, y = Variable(3.0, "x"), Variable(4.0, "y")
    >>> z = (x * y + x).named("z")
    >>> z.backward()
    >>> z.value, x.grad, y.grad
    (15.0, 5.0, 3.0)
    >>> print(z.tree())
             value  derivative
    + z         15           1
    ├─ ×        12           1
    │  ├─ x      3           5
    │  └─ y      4           3
    └─ x         3           5
    """

    __slots__ = (
        "_back", "_of", "_own", "_value", "grad", "local_gradients", "name", "operand_gradients", "operands",
        "operation",
    )  # fmt: skip
    __array_ufunc__ = None  # an array on the left of an operator leaves the operation to us

    grad: Value
    operands: tuple[Variable, ...]
    local_gradients: tuple[Value, ...]
    operand_gradients: tuple[Value, ...]
    _back: Back | None
    _own: object  # stands for the last `backward` of this result; `_of`: for the one that set `grad`
    _of: object

    def __init__(self, value: ArrayLike, name: str = ""):
        if not isinstance(name, str):
            raise TypeError(f"name: got {type(name).__name__}, expected str")
        array = validation.real_array("value", value)
        with np.errstate(all="ignore"):  # a number beyond float64 is refused as infinite
            array = np.array(array, validation.compute_dtype(array))
        self._become("", array, (), (), lambda dz: ())
        self.name = name

    def _become(self, operation: str, value: Value, operands: tuple[Variable, ...], factors: tuple[Value, ...],
                back: Back) -> Variable:  # fmt: skip
        self.name, self.operation, self.operands = "", operation, operands
        self._value, self._back = _checked(operation or "value", value), back
        self.local_gradients = tuple(_checked(f"local gradient of {operation}", factor) for factor in factors)
        self.grad, self.operand_gradients, self._own, self._of = None, (), None, None
        return self

    @property
    def value(self) -> Value:
        return self._value

    def __repr__(self) -> str:
        parts = [repr(self.value), *([f"name={self.name!r}"] if self.name else []),
                 *([f"grad={self.grad!r}"] if self.grad is not None else [])]  # fmt: skip
        return f"Variable({', '.join(parts)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self._value)

    def named(self, name: str) -> Variable:
        """The variable itself, with a name for trees and pictures."""
        self.name = name
        return self

    # ---- operations ----

    def __add__(self, other: Variable | ArrayLike) -> Variable:
        """``z = x + y``: the gradient flows through unchanged."""
        return _elementwise("+", np.add, self, _variable("+", other), lambda x, y: (1.0, 1.0))

    def __mul__(self, other: Variable | ArrayLike) -> Variable:
        """``z = x y``: each side gets the gradient times the other side."""
        return _elementwise("×", np.multiply, self, _variable("×", other), lambda x, y: (y, x))

    def __sub__(self, other: Variable | ArrayLike) -> Variable:
        """``z = x - y``: the gradient goes to x unchanged, to y with its sign turned."""
        return _elementwise("-", np.subtract, self, _variable("-", other), lambda x, y: (1.0, -1.0))

    def __neg__(self) -> Variable:
        return self * -1.0

    def __radd__(self, other: ArrayLike) -> Variable:
        return _variable("+", other) + self

    def __rmul__(self, other: ArrayLike) -> Variable:
        return _variable("×", other) * self

    def __rsub__(self, other: ArrayLike) -> Variable:
        return _variable("-", other) - self

    def __rmatmul__(self, other: ArrayLike) -> Variable:
        return _variable("@", other) @ self

    def __matmul__(self, other: Variable | ArrayLike) -> Variable:
        """``Z = A B``: ``dA = dZ B^T``, ``dB = A^T dZ``. A vector on the left is a row, on the right a column."""
        right = _variable("@", other)
        if not all(len(side.shape) in (1, 2) for side in (self, right)) or self.shape[-1] != right.shape[0]:
            raise ValueError(f"@: got shapes {self.shape} and {right.shape}, expected (n, k) and (k, m), or vectors")
        a, b = np.atleast_2d(self.value), np.reshape(right.value, (right.shape[0], math.prod(right.shape[1:])))
        shape = self.shape[:-1] + right.shape[1:]
        z = functional.affine_forward(a, b, np.zeros(b.shape[1], b.dtype)).reshape(shape)

        def back(dz: Value) -> tuple[Array, ...]:
            da, db, _ = functional.affine_backward(np.reshape(dz, (len(a), b.shape[1])), a, b)
            return da.reshape(self.shape), db.reshape(right.shape)

        return _result("@", z, (self, right), (b.T, a.T), back)

    def relu(self) -> Variable:
        """``y = max(0, x)``: the gradient goes through where x > 0, and is closed where x <= 0."""
        y = functional.relu_forward(self.value)
        return _result("ReLU", y, (self,), (np.asarray(y > 0, y.dtype),),
                       lambda dy: (functional.relu_backward(np.asarray(dy, y.dtype), y),))  # fmt: skip

    def sum(self) -> Variable:
        """Sum of all entries: each gets the gradient unchanged."""
        return self._reduce("sum", np.sum, 1.0)

    def mean(self) -> Variable:
        """Mean of all entries: each of n gets the gradient divided by n."""
        return self._reduce("mean", np.mean, 1.0 / max(1, np.size(self.value)))

    def _reduce(self, operation: str, reduce: Callable[..., Any], factor: float) -> Variable:
        if not np.size(self.value):
            raise ValueError(f"{operation}: got an empty array of shape {self.shape}, expected at least one entry")
        with np.errstate(all="ignore"):
            value = reduce(self.value)
        return _result(operation, value, (self,), (factor,), lambda dz: (np.full(self.shape, dz * factor),))

    # ---- the way back ----

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Set the `grad` of every variable in the graph to the derivative of this result.

        What comes back to a node is multiplied by its local gradients, and every variable sums what it is sent. It may
        be called again: each call starts from nothing.

        Parameters
        ----------
        gradient : array_like of the result's shape, optional
            Where to start: the derivative of something further on by this result. By default 1, for a single number.

        Raises
        ------
        TypeError
            `gradient` is not of real numbers.
        ValueError
            The result is an array and no `gradient` is given, or it has another shape or is not finite; the graph was
            freed or has a cycle; a derivative is not finite. No `grad` is changed then.
        """
        if gradient is None and self.shape != ():
            raise ValueError(f"gradient: got none for a result of shape {self.shape}, expected an array of that shape: "
                             "only a single number starts from 1 by itself")  # fmt: skip
        seed = validation.real_array("gradient", 1.0 if gradient is None else gradient)
        validation.shape("gradient", seed, self.shape)
        order = ordered(self)
        sent: dict[int, tuple[Value, ...]] = {}
        with np.errstate(all="ignore"):  # what is not finite is refused
            grads = {id(self): _checked("gradient", np.array(seed, np.result_type(self.value)))}
            for variable in reversed(order):
                assert variable._back is not None
                back = zip(variable.operands, variable._back(grads[id(variable)]), strict=True)
                sent[id(variable)] = tuple(_sent_back(variable.operation, operand, dx) for operand, dx in back)
                for operand, dx in zip(variable.operands, sent[id(variable)], strict=True):
                    total = grads[id(operand)] + dx if id(operand) in grads else dx
                    grads[id(operand)] = _checked(f"gradient of {_called(operand)}", total)
        self._own = object()
        for variable in order:
            variable.grad, variable.operand_gradients = grads[id(variable)], sent[id(variable)]
            variable._of = self._own

    def free(self) -> None:
        """Let go of everything that led to this result; values and gradients stay, `backward` is then an error.

        Other results that share a part of the graph lose that part as well.
        """
        stack, seen = [self], set()
        while stack:
            variable = stack.pop()
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            stack += variable.operands
            if variable.operation:
                variable.operands, variable.local_gradients, variable.operand_gradients = (), (), ()
                variable._back = None

    def tree(self) -> str:
        """The graph as text: operations and names, values, and the derivatives once `backward` was called.

        Arrays are told by shape and norm. What is used twice stands twice, its own operands but once.

        Raises
        ------
        ValueError
            The graph was freed or has a cycle.
        """
        ordered(self)
        rows, shown = [("", "value", "derivative")], set()
        stack = [(self, "", "")]
        while stack:
            variable, before, below = stack.pop()
            seen = id(variable) in shown and bool(variable.operands)
            shown.add(id(variable))
            label = " ".join(filter(None, (variable.operation, variable.name, "(as above)" if seen else "")))
            rows.append((before + (label or "·"), summary(variable.value), summary(derivative(self, variable))))
            operands = () if seen else variable.operands
            for i, operand in reversed(list(enumerate(operands))):
                last = i == len(operands) - 1
                stack.append((operand, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = (f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)
        return "\n".join(line.rstrip() for line in lines)


def affine(X: Variable | ArrayLike, W: Variable | ArrayLike, b: Variable | ArrayLike) -> Variable:
    """Affine layer ``H = X W + b``: ``dX = dH W^T``, ``dW = X^T dH``, ``db`` = the sum of the rows of dH.

    Parameters
    ----------
    X : Variable or array_like (n, fan_in)
    W : Variable or array_like (fan_in, fan_out)
    b : Variable or array_like (fan_out,)

    Returns
    -------
    Variable (n, fan_out)

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, values that are not finite.

    Examples
    --------
    >>> from fastbp.graph import Variable, affine
    >>> W = Variable([[1.0], [3.0]], "W")
    >>> affine([[1.0, 2.0]], W, [0.5]).sum().backward()
    >>> W.grad
    array([[1.],
           [2.]])
    """
    x, w, bias = operands = _variable("X", X), _variable("W", W), _variable("b", b)
    h = functional.affine_forward(x.value, w.value, bias.value)
    X2, W2 = np.asarray(x.value), np.asarray(w.value)
    return _result("affine", h, operands, (W2.T, X2.T, np.ones(len(h), h.dtype)),
                   lambda dH: functional.affine_backward(dH, X2, W2))  # fmt: skip


def softmax_cross_entropy(logits: Variable | ArrayLike, labels: ArrayLike) -> Variable:
    """Softmax with loss, one node: the mean cross-entropy over rows; ``dlogits = (y - t) / n``.

    Parameters
    ----------
    logits : Variable or array_like (n, classes)
    labels : array_like (n,) or (n, classes)
        Class indices, or rows of probabilities.

    Returns
    -------
    Variable ()

    Raises
    ------
    ValueError, TypeError
        As `fastbp.softmax_cross_entropy`; a loss that is not finite.

    Examples
    --------
    >>> from fastbp.graph import Variable, softmax_cross_entropy
    >>> z = Variable([[0.0, 0.0]], "z")
    >>> softmax_cross_entropy(z, [1]).backward()
    >>> z.grad
    array([[ 0.5, -0.5]])
    """
    z = _variable("logits", logits)
    loss, dlogits = functional.softmax_cross_entropy(z.value, labels)
    return _result("softmax loss", loss, (z,), (dlogits,), lambda dz: (dz * dlogits,))


def ordered(result: Variable) -> list[Variable]:
    """Every variable that a result came from, and itself, each behind its operands.

    Raises
    ------
    ValueError
        The graph was freed, or a variable is among its own operands.
    """
    order: list[Variable] = []
    open_ones, done = {id(result)}, set()
    stack: list[tuple[Variable, Iterator[Variable]]] = [(result, iter(result.operands))]
    while stack:  # no recursion: a graph may be deeper than Python's stack
        variable, rest = stack[-1]
        if variable._back is None:
            raise ValueError(f"{_called(variable)} was freed; what it came from is gone: compute it anew")
        operand = next(rest, None)
        if operand is None:
            stack.pop()
            open_ones.discard(id(variable))
            done.add(id(variable))
            order.append(variable)
        elif id(operand) in open_ones:
            raise ValueError(f"{_called(operand)} is among its own operands: a graph with a cycle has no derivative")
        elif id(operand) not in done:
            open_ones.add(id(operand))
            stack.append((operand, iter(operand.operands)))
    return order


def derivative(result: Variable, variable: Variable) -> Value:
    """The `grad` of a variable if it is of this result: `backward` was called on it, on no other since. Else None."""
    return variable.grad if result._own is not None and variable._of is result._own else None


def summary(value: Value) -> str:
    """A number to six digits; an array by its shape and its norm, the root of the sum of squares."""
    if value is None:
        return "-"
    if np.shape(value) == ():
        return f"{value:.6g}"
    largest = float(np.abs(value).max(initial=0)) or 1.0  # else squares would overflow or vanish
    return f"{np.shape(value)} ‖{largest * float(np.linalg.norm(np.ravel(value) / largest)):.3g}‖"


def _variable(name: str, value: Variable | ArrayLike) -> Variable:
    if isinstance(value, Variable):
        return value
    array = validation.real_array(name, value)
    validation.finite(name, array)
    return Variable(array)


def _result(operation: str, value: Any, operands: tuple[Variable, ...], factors: tuple[Value, ...],
            back: Back) -> Variable:  # fmt: skip
    return Variable.__new__(Variable)._become(operation, value, operands, factors, back)


def _elementwise(operation: str, function: Callable[..., Any], x: Variable, y: Variable,
                 factors: Callable[[Value, Value], tuple[Value, Value]]) -> Variable:  # fmt: skip
    try:
        with np.errstate(all="ignore"):
            z = function(x.value, y.value)
    except ValueError:
        raise ValueError(f"{operation}: got shapes {x.shape} and {y.shape}, expected two that broadcast") from None
    by_x, by_y = factors(x.value, y.value)
    return _result(operation, z, (x, y), (by_x, by_y), lambda dz: (dz * by_x, dz * by_y))


def _sent_back(operation: str, operand: Variable, dx: Value) -> Value:
    """What goes back to an operand: summed over the axes along which its value was repeated."""
    array, shape = np.asarray(dx), operand.shape
    if array.shape != shape:
        array = array.sum(axis=tuple(range(array.ndim - len(shape))))
        repeated = tuple(axis for axis, length in enumerate(shape) if length == 1 != array.shape[axis])
        array = array.sum(axis=repeated, keepdims=True)
    return _checked(f"gradient behind {operation}", array.astype(np.result_type(operand.value), copy=False))


def _checked(what: str, value: Any) -> Value:
    """A finite number, or an array of them that nobody writes into any more."""
    array = np.asarray(value)
    validation.finite(what, array)
    if array.ndim == 0:
        return float(array)
    array.flags.writeable = False
    return array


def _called(variable: Variable) -> str:
    return f"the variable {variable.name!r}" if variable.name else f"a variable ({variable.operation or 'given'})"
