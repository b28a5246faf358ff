"""Activations and their derivatives over flat vectors, in a loop of their own: only ReLU is fused into tiles.

`activate_backward` gets what the derivative is cheapest from: the output y, or the sum x before it for GELU and SiLU.
"""

from __future__ import annotations

from . import formulas
from .jit import inlined
from .simd import advance, lanes, load, number, one_of, store

IDENTITY, LOGISTIC, TANH, RELU, LEAKY_RELU, GELU, SILU, EXP = range(8)

_activation = one_of({
    RELU: lambda x, slope: formulas.relu.write(x),
    LOGISTIC: lambda x, slope: formulas.logistic.write(x),
    TANH: lambda x, slope: formulas.tanh.write(x),
    LEAKY_RELU: lambda x, slope: formulas.leaky_relu.write(x, slope),
    GELU: lambda x, slope: formulas.gelu.write(x),
    SILU: lambda x, slope: formulas.silu.write(x),
    EXP: lambda x, slope: formulas.exp.write(x),
})  # fmt: skip
_derivative = one_of({
    RELU: lambda dy, y, slope: formulas.relu_mask.write(dy, y),
    LOGISTIC: lambda dy, y, slope: formulas.logistic_backward.write(dy, y),
    TANH: lambda dy, y, slope: formulas.tanh_backward.write(dy, y),
    LEAKY_RELU: lambda dy, y, slope: formulas.leaky_relu_backward.write(dy, y, slope),
    GELU: lambda dy, x, slope: formulas.gelu_backward.write(dy, x),
    SILU: lambda dy, x, slope: formulas.silu_backward.write(dy, x),
})  # fmt: skip


@inlined
def activate(kind, count, x, y, slope):
    """``y = f(x)``; in place too."""
    zero = number(x, 0.0)
    for i in range(0, count, lanes(x)):
        store(_activation(kind, load(advance(x, i), count - i, zero), slope), advance(y, i), count - i)


@inlined
def activate_backward(kind, count, dy, kept, dx, slope):
    """``dx = dy f'``; `kept` is y, or x for GELU and SiLU; dx may be dy."""
    zero = number(dy, 0.0)
    for i in range(0, count, lanes(dy)):
        left = count - i
        here = load(advance(dy, i), left, zero)
        store(_derivative(kind, here, load(advance(kept, i), left, zero), slope), advance(dx, i), left)
