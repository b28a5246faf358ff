"""Formulas of a user's own in ONNX operators: for each operation of an expression, a function of tensors.

ONNX Runtime, or some of its versions, has no kernels of most of the C library's functions for float64. There they are
composed of others, so that nothing cancels: a formula may go on to divide what is small by what is small.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

import numpy as np

from ..kernels.expressions import NUMBER, Expression
from ..kernels.formulas import NORMAL_LARGEST, NORMAL_TAIL
from .onnx_graph import FLOAT32, FLOAT64, INT64, Tensor

RIGHT_ANGLE, RIGHT_ANGLE_REST = math.pi / 2, 6.123233995736766e-17  # pi/2 as a double, and what it is more
HUGE = 2.0**30  # beyond it x^2 + 1 is x^2
# Of erf(x) / x below 1/2: powers of x^2, of which the next one adds less than 2^-56.
ERF_SERIES = [2.0 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(12)]


def of_expression(expression: Expression, x: Tensor) -> Tensor:
    """Return an expression's value, in x's shape.

    Raises
    ------
    ValueError
        A step is a function that ONNX lacks.
    """
    values, depends = [x], expression.result == 0
    for name, *operands in expression.steps:
        if name == NUMBER:
            with np.errstate(over="ignore"):  # to infinity, as in the kernels
                values.append(x.graph.constant(np.array(operands[0]).astype(x.dtype)))
            continue
        if name not in OPERATORS:
            raise ValueError(f"to_onnx: got an activation of your own that calls {name}, which ONNX lacks; expected "
                             "functions other than gamma and lgamma")  # fmt: skip
        values.append(OPERATORS[name](*(values[number] for number in operands)))
        depends = depends or 0 in operands
    value = values[expression.result]
    return value if depends else value.op("Expand", x.op("Shape", dtype=INT64))


def normal_tail(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return |x|, bounded where the normal distribution's tail has become 0, and the tail right of it.

    The formula is that of `fastbp.kernels.formulas.normal_tail`.
    """
    bits = 8 * x.dtype.itemsize
    numerator, denominator = NORMAL_TAIL[bits]
    z = x.op("Abs").op("Min", NORMAL_LARGEST[bits])
    return z, _polynomial(z, numerator) / _polynomial(z, denominator) * (z * z * -0.5).op("Exp")


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return a polynomial of x, from the coefficients with the lowest power first."""
    total = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total = total * x + coefficient
    return total


# ---- in both dtypes ----


def _operator(kind: str) -> Callable[..., Tensor]:
    return lambda first, *others: first.op(kind, *others)


def _negative(x: Tensor) -> Tensor:
    """Return where x has a sign, as -0 has."""
    return x.equals(0.0).where(x.op("Reciprocal"), x).less(0.0)


def _copysign(size: Tensor, sign: Tensor) -> Tensor:
    size = size.op("Abs")
    return _negative(sign).where(-size, size)


def _expm1(x: Tensor) -> Tensor:
    """Return ``exp(x) - 1``, near 0 by Kahan's correction: with u = exp(x) rounded, it is (u - 1) x / log(u)."""
    u = x.op("Exp")
    near = u.equals(1.0).where(x, (u - 1.0) * (x / u.op("Log")))
    return x.op("Abs").less(1.0).where(near, u - 1.0)


def _log1p(x: Tensor) -> Tensor:
    """Return ``log(1 + x)``, near 0 by Kahan's correction: with u = 1 + x rounded, it is log(u) x / (u - 1)."""
    u = x + 1.0
    log = u.op("Log")
    near = u.equals(1.0).where(x, log * (x / (u - 1.0)))
    return x.op("Abs").less(1.0).where(near, log)


def _trunc(x: Tensor) -> Tensor:
    return x.less(0.0).where(x.op("Ceil"), x.op("Floor"))


def _erfc(x: Tensor) -> Tensor:
    _, tail = normal_tail(x * math.sqrt(2.0))
    return x.less(0.0).where(-tail + 1.0, tail) * 2.0


def _atan2(y: Tensor, x: Tensor) -> Tensor:
    a, b = y.op("Abs"), x.op("Abs")
    angle = ATAN(a.equals(b).where(a.op("Sign"), a / b))  # of two zeros 0, of two infinities that of 1
    return _copysign(_negative(x).where(-angle + math.pi, angle), y)


# ---- in float64 ----


def _if_missing(kind: str, composed: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return an operator that ONNX Runtime has in float32, composed of others in float64."""
    return lambda x: x.op(kind) if x.dtype == FLOAT32 else composed(x)


def _odd(of_size: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return an odd function, from one of sizes alone."""
    return lambda x: _copysign(of_size(x.op("Abs")), x)


def _cos_of_1(x: Tensor) -> Tensor:
    """Return the cosine, as precise as 1 is: near its zeros it has few digits."""
    half = (x * 0.5).op("Sin")
    return -(half * half * 2.0) + 1.0


def _cos(x: Tensor) -> Tensor:
    """Return the cosine: of u, which is pi/2 - |x| rounded, and what rounding lost, v, the sine of their sum.

    At the first zeros u is small, and its sine has all digits; at others only as many as ONNX Runtime's sine.
    """
    x = x.op("Abs")
    u = -x + RIGHT_ANGLE
    added = u - RIGHT_ANGLE
    v = -(u - added) + RIGHT_ANGLE - (x + added) + RIGHT_ANGLE_REST
    return u.op("Sin") * _cos_of_1(v) + _cos_of_1(u) * v.op("Sin")


def _tan(x: Tensor) -> Tensor:
    return x.op("Sin") / _cos(x)


def _atan(x: Tensor) -> Tensor:
    """Return the arc tangent of x >= 0: that of float32, y, and what is missing, tan(atan(x) - y) within 1e-21."""
    x = x.op("Min", 1e30)
    y = x.cast(FLOAT32).op("Atan").cast(FLOAT64)
    sin, cos = y.op("Sin"), _cos_of_1(y)
    return y + (x * cos - sin) / (x * sin + cos)


def _asin(x: Tensor) -> Tensor:
    return _atan(x / ((-x + 1.0) * (x + 1.0)).op("Sqrt"))


def _acos(x: Tensor) -> Tensor:
    return _atan(((-x + 1.0) / (x + 1.0)).op("Sqrt")) * 2.0


def _sinh(x: Tensor) -> Tensor:
    """Return the hyperbolic sine of x >= 0; far to the right exp(x) is infinite before it is."""
    grown, root = _expm1(x), (x * 0.5).op("Exp")
    far = root * 0.5 * root - (root * 2.0).op("Reciprocal") / root
    return x.less(1.0).where((grown + grown / (grown + 1.0)) * 0.5, far)


def _cosh(x: Tensor) -> Tensor:
    root = (x.op("Abs") * 0.5).op("Exp")
    return root * 0.5 * root + (root * 2.0).op("Reciprocal") / root


def _asinh(x: Tensor) -> Tensor:
    square = x * x
    near = _log1p(x + square / ((square + 1.0).op("Sqrt") + 1.0))
    return x.less(HUGE).where(near, x.op("Log") + math.log(2.0))


def _acosh(x: Tensor) -> Tensor:
    above = x - 1.0
    near = _log1p(above + above.op("Sqrt") * (x + 1.0).op("Sqrt"))
    return x.less(HUGE).where(near, x.op("Log") + math.log(2.0))


def _atanh(x: Tensor) -> Tensor:
    return _log1p(x * 2.0 / (-x + 1.0)) * 0.5


def _erf(x: Tensor) -> Tensor:
    return x.less(0.5).where(x * _polynomial(x * x, ERF_SERIES), -_erfc(x) + 1.0)


ATAN = _if_missing("Atan", _odd(_atan))
OPERATORS: dict[str, Callable[..., Tensor]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "absolute": _operator("Abs"),
    "copysign": _copysign,
    "sqrt": _operator("Sqrt"),
    "less": Tensor.less,
    "less_equal": Tensor.less_equal,
    "equal": Tensor.equals,
    "select": Tensor.where,
    "exp": _operator("Exp"),
    "expm1": _expm1,
    "log": _operator("Log"),
    "log1p": _log1p,
    "tanh": _operator("Tanh"),
    "sin": _operator("Sin"),
    "cos": _if_missing("Cos", _cos),
    "tan": _if_missing("Tan", _tan),
    "asin": _if_missing("Asin", _odd(_asin)),
    "acos": _if_missing("Acos", _acos),
    "atan": ATAN,
    "sinh": _if_missing("Sinh", _odd(_sinh)),
    "cosh": _if_missing("Cosh", _cosh),
    "asinh": _if_missing("Asinh", _odd(_asinh)),
    "acosh": _if_missing("Acosh", _acosh),
    "atanh": _if_missing("Atanh", _odd(_atanh)),
    "erf": _if_missing("Erf", _odd(_erf)),
    "erfc": _erfc,
    "log2": lambda x: x.op("Log") / math.log(2.0),
    "log10": lambda x: x.op("Log") / math.log(10.0),
    "floor": _operator("Floor"),
    "ceil": _operator("Ceil"),
    "trunc": _trunc,
    "pow": _operator("Pow"),
    "atan2": _atan2,
    "fmod": lambda x, y: x.op("Mod", y, fmod=1),
}
