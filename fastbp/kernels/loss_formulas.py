"""Elementwise losses and their derivatives: one logit z (of regression: the output) against its target t.

A loss and its derivative in one loop share their exponential: both write the same instructions, which LLVM merges.
"""

from __future__ import annotations

from .formulas import exp, exp_of_minus_magnitude, log, log1p_of_small
from .simd import Lanes, absolute, fma, formula, select


def _share_against(z: Lanes, t: Lanes) -> Lanes:
    """The target's share of the class that z speaks against; 1 - t is exact from 1/2 on, where it can be small."""
    return select(z > 0.0, 1.0 - t, t)


@formula
def binary_cross_entropy(z: Lanes, t: Lanes) -> Lanes:
    """``max(z, 0) - t z + log(1 + exp(-|z|))`` within 4 ulp, t in [0, 1]; infinity or NaN where z is infinite.

    As ``|z| (1 - t or t) + log(1 + exp(-|z|))``: neither term is negative, so nothing cancels.
    """
    _, e = exp_of_minus_magnitude(z)
    return fma(absolute(z), _share_against(z, t), log1p_of_small.write(e))


@formula
def binary_cross_entropy_gradient(z: Lanes, t: Lanes) -> Lanes:
    """``logistic(z) - t``; within 4 ulp where t is 0 or 1, however small the difference: logistic(-|z|) is not."""
    _, e = exp_of_minus_magnitude(z)
    difference = _share_against(z, t) - e / (e + 1.0)
    return select(z > 0.0, difference, -difference)


@formula
def squared_error(z: Lanes, t: Lanes) -> Lanes:
    """``(z - t)^2 / 2``."""
    difference = z - t
    return difference * (difference * 0.5)


@formula
def squared_error_gradient(z: Lanes, t: Lanes) -> Lanes:
    return z - t


@formula
def absolute_error(z: Lanes, t: Lanes) -> Lanes:
    return absolute(z - t)


@formula
def absolute_error_gradient(z: Lanes, t: Lanes) -> Lanes:
    """The sign of ``z - t``: 0 at 0, and NaN goes through."""
    difference = z - t
    return select(difference > 0.0, 1.0, select(difference < 0.0, -1.0, difference))


@formula
def huber(z: Lanes, t: Lanes, delta: Lanes) -> Lanes:
    """With d = |z - t|: ``d^2 / 2`` up to delta, ``delta (d - delta/2)`` beyond."""
    size = absolute(z - t)
    return select(size <= delta, size * (size * 0.5), delta * (size - delta * 0.5))


@formula
def huber_gradient(z: Lanes, t: Lanes, delta: Lanes) -> Lanes:
    """``z - t``, no further from 0 than delta."""
    difference = z - t
    return select(difference > delta, delta, select(difference < -delta, -delta, difference))


@formula
def half_poisson_deviance(z: Lanes, t: Lanes) -> Lanes:
    """``t log(t / mu) - t + mu`` with mu = exp(z), the first term 0 where t is 0; t >= 0."""
    excess = exp.write(z) - t  # exact where it is small
    return select(t > 0.0, fma(t, log.write(t) - z, excess), excess)


@formula
def half_poisson_deviance_gradient(z: Lanes, t: Lanes) -> Lanes:
    """``exp(z) - t``."""
    mean: Lanes = exp.write(z)
    return mean - t
