"""`Variable`: a number or an array in a graph of operations, and the way back through the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import functional, validation
from .values import Value, checked, summary

Array = NDArray[Any]
Back = Callable[[Value], tuple[Value, ...]]


class Variable:
    """A number or an array in a graph: given, or the result of an operation on others.

    Operators ``+``, ``-``, ``*`` (element by element, broadcasting as NumPy does) and ``@``, the methods `relu`, `sum`
    and `mean`, and the functions `affine` and `softmax_cross_entropy` make new variables. Values never change, so a
    graph stays valid; an update makes a new variable.

    Parameters
    ----------
    value : array_like
        A finite real number, which becomes a float, or an array of them, which is copied: in float32 if NumPy would
        compute with it in float32 or float16, else in float64.
    name : str, optional
        Its name in trees and pictures.

    Attributes
    ----------
    value : float or read-only array
    name : str
    operation : str
        The operation whose result it is, such as "+", "@" or "affine"; "" for a given value.
    operands : tuple of Variable
    local_gradients : tuple of float or array, one for each operand
        The factors that the chain rule multiplies by: 1 for a sum, the other side for a product. For ``Z = A B`` they
        are ``B^T`` (``dA = dZ B^T``) and ``A^T`` (``dB = A^T dZ``), and likewise for an affine layer.
    grad : float, array or None
        Derivative of the result whose `backward` was called last; it has the shape of `value`.
    operand_gradients : tuple of float or array
        What that call sent back to each operand; a variable used twice has the sum of both as its `grad`.

    Raises
    ------
    TypeError, ValueError
        A value is not a real number or an array of them, or is NaN or infinite; the operands' shapes do not fit; a
        result is not finite.

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
        "_back",
        "_grad_pass",
        "_own_pass",
        "_value",
        "grad",
        "local_gradients",
        "name",
        "operand_gradients",
        "operands",
        "operation",
    )
    __array_ufunc__ = None  # an array on the left of an operator leaves the operation to `Variable`

    grad: Value
    operands: tuple[Variable, ...]
    local_gradients: tuple[Value, ...]
    operand_gradients: tuple[Value, ...]
    _back: Back | None
    _own_pass: object  # the last `backward` of this result
    _grad_pass: object  # the `backward` that set `grad`

    def __init__(self, value: ArrayLike, name: str = ""):
        if not isinstance(name, str):
            raise TypeError(f"name: got {type(name).__name__}, expected str")
        array = validation.real_array("value", value)
        with np.errstate(all="ignore"):  # a number beyond float64 is refused as infinite
            array = np.array(array, validation.compute_dtype(array))
        self._become("", array, (), (), lambda dz: ())
        self.name = name

    def _become(
        self, operation: str, value: Value, operands: tuple[Variable, ...], factors: tuple[Value, ...], back: Back
    ) -> Variable:
        self.name, self.operation, self.operands = "", operation, operands
        self._value, self._back = checked(operation or "value", value), back
        self.local_gradients = tuple(checked(f"local gradient of {operation}", factor) for factor in factors)
        self.grad, self.operand_gradients, self._own_pass, self._grad_pass = None, (), None, None
        return self

    @property
    def value(self) -> Value:
        return self._value

    def __repr__(self) -> str:
        parts = [repr(self.value)]
        parts += [f"name={self.name!r}"] if self.name else []
        parts += [f"grad={self.grad!r}"] if self.grad is not None else []
        return f"Variable({', '.join(parts)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self._value)

    def named(self, name: str) -> Variable:
        """Set the name that trees and pictures show, and return the variable itself."""
        self.name = name
        return self

    # ---- operations ----

    def __add__(self, other: Variable | ArrayLike) -> Variable:
        """Compute ``z = x + y``: the gradient flows through unchanged."""
        return _elementwise("+", np.add, self, as_variable("+", other), lambda x, y: (1.0, 1.0))

    def __mul__(self, other: Variable | ArrayLike) -> Variable:
        """Compute ``z = x y``: each side gets the gradient times the other side."""
        return _elementwise("×", np.multiply, self, as_variable("×", other), lambda x, y: (y, x))

    def __sub__(self, other: Variable | ArrayLike) -> Variable:
        """Compute ``z = x - y``: x gets the gradient unchanged, y with the opposite sign."""
        return _elementwise("-", np.subtract, self, as_variable("-", other), lambda x, y: (1.0, -1.0))

    def __neg__(self) -> Variable:
        return self * -1.0

    def __radd__(self, other: ArrayLike) -> Variable:
        return as_variable("+", other) + self

    def __rmul__(self, other: ArrayLike) -> Variable:
        return as_variable("×", other) * self

    def __rsub__(self, other: ArrayLike) -> Variable:
        return as_variable("-", other) - self

    def __rmatmul__(self, other: ArrayLike) -> Variable:
        return as_variable("@", other) @ self

    def __matmul__(self, other: Variable | ArrayLike) -> Variable:
        """Compute ``Z = A B``: ``dA = dZ B^T``, ``dB = A^T dZ``. A left vector is a row, a right one a column."""
        right = as_variable("@", other)
        if not all(len(side.shape) in (1, 2) for side in (self, right)) or self.shape[-1] != right.shape[0]:
            raise ValueError(f"@: got shapes {self.shape} and {right.shape}, expected (n, k) and (k, m), or vectors")
        a, b = np.atleast_2d(self.value), np.reshape(right.value, (right.shape[0], math.prod(right.shape[1:])))
        shape = self.shape[:-1] + right.shape[1:]
        z = functional.affine_forward(a, b, np.zeros(b.shape[1], b.dtype)).reshape(shape)

        def back(dz: Value) -> tuple[Array, ...]:
            da, db, _ = functional.affine_backward(np.reshape(dz, (len(a), b.shape[1])), a, b)
            return da.reshape(self.shape), db.reshape(right.shape)

        return result_of("@", z, (self, right), (b.T, a.T), back)

    def relu(self) -> Variable:
        """Compute ``y = max(0, x)``: the gradient passes where x > 0 and becomes 0 where x <= 0."""
        y = functional.relu_forward(self.value)

        def back(dy: Value) -> tuple[Array]:
            return (functional.relu_backward(np.asarray(dy, y.dtype), y),)

        return result_of("ReLU", y, (self,), (np.asarray(y > 0, y.dtype),), back)

    def sum(self) -> Variable:
        """Sum all entries: each gets the gradient unchanged."""
        return self._reduce("sum", np.sum, 1.0)

    def mean(self) -> Variable:
        """Average all entries: each of n gets the gradient divided by n."""
        return self._reduce("mean", np.mean, 1.0 / max(1, np.size(self.value)))

    def _reduce(self, operation: str, reduce: Callable[..., Any], factor: float) -> Variable:
        if not np.size(self.value):
            raise ValueError(f"{operation}: got an empty array of shape {self.shape}, expected at least one entry")
        with np.errstate(all="ignore"):
            value = reduce(self.value)
        return result_of(operation, value, (self,), (factor,), lambda dz: (np.full(self.shape, dz * factor),))

    # ---- the way back ----

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Set the `grad` of every variable in the graph to the derivative of this result.

        What comes back to a node is multiplied by its local gradients, and every variable sums what it is sent. Each
        call starts from 0; nothing is accumulated over several calls.

        Parameters
        ----------
        gradient : array_like of the result's shape, optional
            The value to start from: the derivative of a later quantity by this result. By default 1, for one number.

        Raises
        ------
        TypeError
            `gradient` does not consist of real numbers.
        ValueError
            The result is an array and no `gradient` is given, or `gradient` has another shape or is not finite; the
            graph was freed or has a cycle; a derivative is not finite. In each case no `grad` is changed.
        """
        if gradient is None and self.shape != ():
            raise ValueError(
                f"gradient: got none for a result of shape {self.shape}, expected an array of that shape: only a "
                "single number starts from 1 by default"
            )
        seed = validation.real_array("gradient", 1.0 if gradient is None else gradient)
        validation.shape("gradient", seed, self.shape)
        order = ordered(self)
        sent: dict[int, tuple[Value, ...]] = {}
        with np.errstate(all="ignore"):  # what is not finite is refused
            grads = {id(self): checked("gradient", np.array(seed, np.result_type(self.value)))}
            for variable in reversed(order):
                assert variable._back is not None
                back = zip(variable.operands, variable._back(grads[id(variable)]), strict=True)
                sent[id(variable)] = tuple(_sent_back(variable.operation, operand, dx) for operand, dx in back)
                for operand, dx in zip(variable.operands, sent[id(variable)], strict=True):
                    total = grads[id(operand)] + dx if id(operand) in grads else dx
                    grads[id(operand)] = checked(f"gradient of {_called(operand)}", total)
        self._own_pass = object()
        for variable in order:
            variable.grad, variable.operand_gradients = grads[id(variable)], sent[id(variable)]
            variable._grad_pass = self._own_pass

    def free(self) -> None:
        """Release the graph of this result; values and gradients stay, and `backward` is an error from then on.

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
        """Return the graph as text: operations and names, values, and the derivatives once `backward` was called.

        Arrays are shown by shape and norm. A variable used twice is listed twice, but its operands only once.

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


def ordered(result: Variable) -> list[Variable]:
    """Return every variable that a result was computed from, and itself, each after its operands.

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
            raise ValueError(f"{_called(variable)} was freed; its graph is gone: compute it again")
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
    """Return the `grad` of a variable if it is the derivative of this result, set by its last `backward`; else None."""
    return variable.grad if result._own_pass is not None and variable._grad_pass is result._own_pass else None


def as_variable(name: str, value: Variable | ArrayLike) -> Variable:
    """Return a variable as it is, and make one of finite numbers; errors call the value by `name`."""
    if isinstance(value, Variable):
        return value
    array = validation.real_array(name, value)
    validation.finite(name, array)
    return Variable(array)


def result_of(
    operation: str, value: Any, operands: tuple[Variable, ...], factors: tuple[Value, ...], back: Back
) -> Variable:
    """Return the variable that is the result of an operation."""
    return Variable.__new__(Variable)._become(operation, value, operands, factors, back)


def _elementwise(
    operation: str,
    function: Callable[..., Any],
    x: Variable,
    y: Variable,
    factors: Callable[[Value, Value], tuple[Value, Value]],
) -> Variable:
    try:
        with np.errstate(all="ignore"):
            z = function(x.value, y.value)
    except ValueError:
        raise ValueError(f"{operation}: got shapes {x.shape} and {y.shape}, expected two that broadcast") from None
    by_x, by_y = factors(x.value, y.value)
    return result_of(operation, z, (x, y), (by_x, by_y), lambda dz: (dz * by_x, dz * by_y))


def _sent_back(operation: str, operand: Variable, dx: Value) -> Value:
    """Return what is sent back to an operand: summed over the axes along which its value was repeated."""
    array, shape = np.asarray(dx), operand.shape
    if array.shape != shape:
        array = array.sum(axis=tuple(range(array.ndim - len(shape))))
        repeated = tuple(axis for axis, length in enumerate(shape) if length == 1 != array.shape[axis])
        array = array.sum(axis=repeated, keepdims=True)
    return checked(f"gradient behind {operation}", array.astype(np.result_type(operand.value), copy=False))


def _called(variable: Variable) -> str:
    return f"the variable {variable.name!r}" if variable.name else f"a variable ({variable.operation or 'given'})"
