"""Losses: their formulas, and one row for each in a table from which all else follows.

An elementwise loss compares one logit z (in regression: the output) with its target t. A loss and its derivative in one
loop share their exponential: both write the same instructions, which LLVM merges. Softmax with cross-entropy works on
whole rows, in `kernels.softmax`.

To add a loss, write its value and its derivative here, add its row, and add its row to `fastbp.reference`, which the
tests and ``fastbp verify`` compare with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .activations import EXP, IDENTITY, LOGISTIC, Activation
from .constants import Constant
from .formulas import exp, exp_of_minus_magnitude, log, log1p_of_small
from .lanes import Lanes, absolute, fma, formula, select


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
def quantile(z: Lanes, t: Lanes, level: Lanes) -> Lanes:
    """``level (t - z)`` where z < t, else ``(1 - level) (z - t)``."""
    difference = t - z
    return select(difference > 0.0, level, level - 1.0) * difference


@formula
def quantile_gradient(z: Lanes, t: Lanes, level: Lanes) -> Lanes:
    """``-level`` where z < t, ``1 - level`` where z > t, 0 where they are equal; NaN goes through."""
    difference = z - t
    return select(difference > 0.0, 1.0 - level, select(difference < 0.0, -level, difference))


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


@formula
def smoothed_target(t: Lanes, share: Lanes, rest: Lanes) -> Lanes:
    """``share t + rest``, one rounding: with ``1 - s`` and ``s / classes`` the mean with equal probabilities."""
    return fma(share, t, rest)


# ---- the table ----


class Loss(NamedTuple):
    """A loss of logits and targets.

    Attributes
    ----------
    name : str
    formula : str
        Of one row, as the documents show it.
    targets : {"classes", "shares", "numbers", "counts"}
        What y holds: class indices or rows of probabilities; numbers from 0 to 1; any; none below 0.
    output : Activation or None
        The function that makes outputs of logits; None: softmax.
    value, gradient : formulas of z, t and the constants
        The loss of one logit and its derivative; None: softmax with cross-entropy.
    factor : float
        What the value is multiplied with.
    mean : bool
        Whether a row's loss is the mean over its outputs, not their sum.
    constants : tuple of Constant
    """

    name: str
    formula: str
    targets: str
    output: Activation | None
    value: Any = None
    gradient: Any = None
    factor: float = 1.0
    mean: bool = True
    constants: tuple[Constant, ...] = ()

    @property
    def kind(self) -> int | None:
        """Number in the kernels, which losses of the same formulas share; None: softmax with cross-entropy."""
        return KINDS.get(self.value)

    @property
    def classifies(self) -> bool:
        return self.targets in ("classes", "shares")

    @property
    def words(self) -> str:
        return "mean cross-entropy" if self.value is None else self.name.replace("_", " ")

    def classes_of(self, outputs: int) -> int:
        """Return the number of classes that a target, or all targets of a row, tells apart."""
        return outputs if self.value is None else 2

    def share_of(self, outputs: int) -> float:
        """Return what one output's loss counts in a row's."""
        return self.factor / outputs if self.mean else self.factor


BINARY = (binary_cross_entropy, binary_cross_entropy_gradient)
SQUARED = (squared_error, squared_error_gradient)
POISSON = (half_poisson_deviance, half_poisson_deviance_gradient)
QUANTILE_LEVEL = Constant("quantile_level", 0.5, most=1.0, above_least=True, below_most=True, per_output=True)
_ROWS = (
    Loss("softmax_cross_entropy", "−Σ t log softmax(z)", "classes", None),
    Loss("binary_cross_entropy", "mean of log(1 + exp(z)) − t z", "shares", LOGISTIC, *BINARY),
    Loss("binary_cross_entropy_sum", "Σ log(1 + exp(z)) − t z", "shares", LOGISTIC, *BINARY, mean=False),
    Loss("mean_squared_error", "mean of (z − t)²", "numbers", IDENTITY, *SQUARED, factor=2.0),
    Loss("half_squared_error", "mean of (z − t)² / 2", "numbers", IDENTITY, *SQUARED),
    Loss("mean_absolute_error", "mean of |z − t|", "numbers", IDENTITY, absolute_error, absolute_error_gradient),
    Loss("huber", "mean of (z − t)² / 2 where |z − t| ≤ huber_delta, else huber_delta (|z − t| − huber_delta / 2)",
         "numbers", IDENTITY, huber, huber_gradient, constants=(Constant("huber_delta", 1.0, above_least=True),)),
    Loss("quantile", "mean of quantile_level (t − z) where z < t, else (1 − quantile_level) (z − t)", "numbers",
         IDENTITY, quantile, quantile_gradient, constants=(QUANTILE_LEVEL,)),
    Loss("poisson_deviance", "mean of 2 (t log(t / exp(z)) − t + exp(z))", "counts", EXP, *POISSON, factor=2.0),
    Loss("half_poisson_deviance_sum", "Σ t log(t / exp(z)) − t + exp(z)", "counts", EXP, *POISSON, mean=False),
)  # fmt: skip
LOSSES = {row.name: row for row in _ROWS}
ELEMENTWISE = {row.value: row for row in _ROWS if row.value is not None}  # one row for each pair of formulas
FORMULAS = list(ELEMENTWISE)  # those of `kernels.own` come behind
KINDS = {value: kind for kind, value in enumerate(FORMULAS)}
