"""Activations: their formulas, and one row for each in a table from which all else follows.

The kernel's switch, the coefficients of a step, the public names and the tables of the documents are made from
`ACTIVATIONS`. To add one, write its value and its derivative here, add its row, and add its row to
`fastbp.reference`, which the tests and ``fastbp verify`` compare with.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import operations as op
from .constants import Constant
from .formulas import exp, exp_of_minus_magnitude, expm1, logistic, normal_tail, tanh
from .lanes import Lanes, fma, formula, select

# G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", NeurIPS 2017.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

# ---- values ----


@formula
def relu(x: Lanes) -> Lanes:
    """``0 where x <= 0, else x``: NaN goes through."""
    return select(x <= 0.0, 0.0, x)


@formula
def leaky_relu(x: Lanes, slope: Lanes) -> Lanes:
    """``slope x where x <= 0, else x``."""
    return select(x <= 0.0, slope * x, x)


@formula
def elu(x: Lanes, alpha: Lanes) -> Lanes:
    """``alpha (exp(x) - 1) where x <= 0, else x``: -alpha at -infinity."""
    return select(x > 0.0, x, alpha * expm1.write(x))


@formula
def selu(x: Lanes) -> Lanes:
    """``SELU_SCALE`` times the ELU whose alpha is ``SELU_ALPHA``: outputs keep a mean near 0 and a variance near 1."""
    return select(x > 0.0, x, expm1.write(x) * SELU_ALPHA) * SELU_SCALE


@formula
def gelu(x: Lanes) -> Lanes:
    """``x Phi(x)``, exact and not by tanh, as precise as Phi; 0 at -infinity."""
    z, e, tail = normal_tail(x)
    return fma(-(z * tail), e, relu.write(x))  # x Phi(x) = max(x, 0) - |x| Phi(-|x|)


@formula
def silu(x: Lanes) -> Lanes:
    """``x logistic(x)`` within 4 ulp, and where the logistic is denormal within |x| times its step; 0 at -infinity."""
    z, e = exp_of_minus_magnitude(x)
    return fma(-z, e / (e + 1.0), relu.write(x))  # as above


def _mish_parts(x: Lanes) -> tuple[Lanes, Lanes, Lanes, Lanes, Lanes]:
    """z = |x|, e = exp(-z), e + 1, and numerator and denominator of tanh(log(1 + exp(x))), all without overflow.

    With n = exp(x) the tanh is ``n (n + 2) / (n (n + 2) + 2)``; right of 0 both are divided by n^2.
    """
    z, e = exp_of_minus_magnitude(x)
    right = x > 0.0
    numerator = select(right, fma(e, 2.0, 1.0), e * (e + 2.0))
    denominator = numerator + select(right, e * e * 2.0, 2.0)
    return z, e, e + 1.0, numerator, denominator


@formula
def mish(x: Lanes) -> Lanes:
    """``x tanh(log(1 + exp(x)))``; 0 at -infinity."""
    z, _, _, numerator, denominator = _mish_parts(x)
    return select(x > 0.0, x, -z) * (numerator / denominator)


# ---- derivatives, times that of the output ----


@formula
def relu_mask(dy: Lanes, y: Lanes) -> Lanes:
    """``0 where y <= 0, else dy``: the derivative at 0 is 0, and NaN goes through both ways."""
    return select(y <= 0.0, 0.0, dy)


@formula
def leaky_relu_backward(dy: Lanes, y: Lanes, slope: Lanes) -> Lanes:
    """``slope dy where y <= 0, else dy``, for a slope that is not negative."""
    return select(y <= 0.0, slope * dy, dy)


@formula
def elu_backward(dy: Lanes, y: Lanes, alpha: Lanes) -> Lanes:
    """``dy (y + alpha) where y <= 0, else dy``, of the output, for an alpha that is not negative."""
    return select(y > 0.0, dy, dy * (y + alpha))


@formula
def selu_backward(dy: Lanes, y: Lanes) -> Lanes:
    """``dy (y + scale alpha) where y <= 0, else scale dy``, of the output."""
    return dy * select(y > 0.0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)


@formula
def logistic_backward(dy: Lanes, y: Lanes) -> Lanes:
    """``dy y (1 - y)``, of the output."""
    return dy * (y * (1.0 - y))


@formula
def tanh_backward(dy: Lanes, y: Lanes) -> Lanes:
    """``dy (1 - y^2)``, of the output."""
    return dy * fma(-y, y, 1.0)


def _times_reflected(dy: Lanes, x: Lanes, w: Lanes) -> Lanes:
    """dy times a derivative f for which f(x) = 1 - f(-x): ``1 + w`` right of 0, ``-w`` left of it."""
    return dy * select(x > 0.0, w + 1.0, -w)


@formula
def gelu_backward(dy: Lanes, x: Lanes) -> Lanes:
    """``dy (Phi(x) + x phi(x))``, of the input; 0 at -infinity, dy at infinity."""
    z, e, tail = normal_tail(x)
    return _times_reflected(dy, x, e * fma(z, 1.0 / math.sqrt(2.0 * math.pi), -tail))


@formula
def silu_backward(dy: Lanes, x: Lanes) -> Lanes:
    """``dy s (1 + x (1 - s))`` with s = logistic(x), of the input; 0 at -infinity, dy at infinity."""
    z, e = exp_of_minus_magnitude(x)
    larger_share = 1.0 / (e + 1.0)
    return _times_reflected(dy, x, e * larger_share * fma(z, larger_share, -1.0))


@formula
def mish_backward(dy: Lanes, x: Lanes) -> Lanes:
    """``dy (w + x (1 - w^2) logistic(x))`` with w = tanh(log(1 + exp(x))), of the input.

    ``(1 - w^2) logistic(x)`` is ``4 n (n + 1) / d^2`` left of 0, with n = exp(x) and w = n (n + 2) / d; right of 0 it
    is ``4 n^2 (n + 1) / d^2``, with n = exp(-x).
    """
    z, e, above, numerator, denominator = _mish_parts(x)
    right = x > 0.0
    bend = (e * 4.0) * above / (denominator * denominator)
    return dy * fma(select(right, z * e, -z), bend, numerator / denominator)


# ---- the table ----


class Activation(NamedTuple):
    """An activation of hidden layers, or a function of the outputs.

    Attributes
    ----------
    name : str
    formula : str
        As the documents show it.
    value : formula of x and the constants
        None for the identity.
    derivative : formula of dy, of the output or the input, and the constants
        What the derivative times dy is; None for a function that only makes outputs of logits.
    keeps_input : bool
        Whether the derivative is computed from the input, which is then kept beside the output.
    initializer : {"glorot", "he", "lecun"}
        How weights in front of it start.
    cost : int
        Vector multiply-adds for one vector, forward or backward.
    constants : tuple of Constant
    epilogues : tuple of int
        For what the register tile applies itself: the bits of its forward and backward epilogue.
    """

    name: str
    formula: str
    value: Any = None
    derivative: Any = None
    keeps_input: bool = False
    initializer: str = "glorot"
    cost: int = 0
    constants: tuple[Constant, ...] = ()
    epilogues: tuple[int, int] = (0, 0)

    @property
    def kind(self) -> int:
        """Number of the row in the kernels."""
        return KINDS[self.name]

    @property
    def in_loop(self) -> bool:
        """True if a loop of its own applies it: if it is neither the identity nor applied by the register tile."""
        return self.value is not None and not any(self.epilogues)


IDENTITY = Activation("identity", "x")
LOGISTIC = Activation("logistic", "1 / (1 + exp(−x))", logistic, logistic_backward, cost=40)
RELU = Activation("relu", "max(x, 0)", relu, relu_mask, initializer="he", cost=4, epilogues=(op.RELU, op.RELU_MASK))
EXP = Activation("exp", "exp(x)", exp, cost=40)  # outputs only
_ROWS = (
    IDENTITY,
    LOGISTIC,
    Activation("tanh", "tanh(x)", tanh, tanh_backward, cost=40),
    RELU,
    Activation(
        "leaky_relu", "x where x > 0, else leaky_slope x", leaky_relu, leaky_relu_backward, initializer="he", cost=4,
        constants=(Constant("leaky_slope", 0.01),),
    ),
    Activation(
        "elu", "x where x > 0, else elu_alpha (exp(x) − 1)", elu, elu_backward, initializer="he", cost=40,
        constants=(Constant("elu_alpha", 1.0),),
    ),
    Activation(
        "selu", "1.0507 x where x > 0, else 1.7581 (exp(x) − 1)", selu, selu_backward, initializer="lecun", cost=40
    ),
    Activation("gelu", "x Φ(x)", gelu, gelu_backward, keeps_input=True, initializer="he", cost=80),
    Activation("silu", "x logistic(x)", silu, silu_backward, keeps_input=True, initializer="he", cost=50),
    Activation("mish", "x tanh(log(1 + exp(x)))", mish, mish_backward, keeps_input=True, initializer="he", cost=60),
    EXP,
)  # fmt: skip
KINDS = {row.name: kind for kind, row in enumerate(_ROWS)}  # those of `kernels.own` come behind
FUNCTIONS = {row.kind: row for row in _ROWS}
ACTIVATIONS = {row.name: row for row in _ROWS if row is not EXP}


def named(name: str) -> Activation:
    """Return a row by its name, a user's own ones too."""
    return FUNCTIONS[KINDS[name]]
