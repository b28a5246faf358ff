"""Updates of parameters: their formulas, and one row for each form in a table from which all else follows.

Every optimizer is a case of one of these forms, by its coefficients; see `fastbp.optimizers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .lanes import Lanes, fma, formula, select, sqrt

# ---- formulas ----


@formula
def l2_gradient(dw: Lanes, w: Lanes, l2: Lanes) -> Lanes:
    """``dw + l2 w``, the gradient of the objective with the penalty ``l2/2 |w|^2``."""
    return fma(l2, w, dw)


@formula
def sgd(w: Lanes, dw: Lanes, learning_rate: Lanes, l2: Lanes) -> Lanes:
    """``w - learning_rate (dw + l2 w)``, two roundings."""
    return fma(-learning_rate, fma(l2, w, dw), w)


@formula
def momentum_state(m: Lanes, g: Lanes, old: Lanes, new: Lanes) -> Lanes:
    """``old m + new g``, the gradients' running sum or mean."""
    return fma(old, m, new * g)


@formula
def second_state(v: Lanes, g: Lanes, old: Lanes, new: Lanes) -> Lanes:
    """``old v + new g^2``."""
    return fma(new * g, g, old * v)


@formula
def momentum(w: Lanes, m: Lanes, g: Lanes, first_share: Lanes, gradient_share: Lanes) -> Lanes:
    """``w - (first_share m + gradient_share g)``; with a gradient_share that is not 0 Nesterov's."""
    return w - fma(first_share, m, gradient_share * g)


@formula
def adaptive(w: Lanes, m: Lanes, v: Lanes, first_share: Lanes, epsilon: Lanes, keep: Lanes) -> Lanes:
    """``keep w - first_share m / (sqrt(v) + epsilon)``, the division first."""
    return fma(-first_share, m / (sqrt(v) + epsilon), keep * w)


@formula
def sign_step(w: Lanes, direction: Lanes, learning_rate: Lanes, keep: Lanes) -> Lanes:
    """``keep w - learning_rate sign(direction)``; a direction of 0 leaves w, and NaN goes through."""
    sign = select(direction > 0.0, 1.0, select(direction < 0.0, -1.0, direction))
    return fma(-learning_rate, sign, keep * w)


@formula
def clip_factor(norm_squared: Lanes, max_norm: Lanes) -> Lanes:
    """``min(1, max_norm / sqrt(norm_squared))`` for a max_norm above 0; 1 where the norm is 0, NaN goes through."""
    factor = max_norm / sqrt(norm_squared)
    return select(factor > 1.0, 1.0, factor)


@formula
def averaged(average: Lanes, w: Lanes, share: Lanes) -> Lanes:
    """``average + share (w - average)``, and w itself for a share of 1."""
    return select(share < 1.0, fma(share, w - average, average), w)


# ---- the table ----

OWN = "own"  # in a form's place: an optimizer updates outside of compiled code, where a step ends with the gradient

Updated = tuple[Lanes, tuple[Lanes, ...]]  # the new parameter, and the new state


def _sgd(w: Lanes, g: Lanes, keep: Lanes, state: tuple[()], learning_rate: Lanes) -> Updated:
    return fma(-learning_rate, g, w), ()


def _momentum(w: Lanes, g: Lanes, keep: Lanes, state: tuple[Lanes], old_first: Lanes, new_first: Lanes,
              first_share: Lanes, gradient_share: Lanes) -> Updated:  # fmt: skip
    m = momentum_state.write(state[0], g, old_first, new_first)
    return momentum.write(w, m, g, first_share, gradient_share), (m,)


def _adaptive(w: Lanes, g: Lanes, keep: Lanes, state: tuple[Lanes, Lanes], old_first: Lanes, new_first: Lanes,
              first_share: Lanes, old_second: Lanes, new_second: Lanes, epsilon: Lanes) -> Updated:  # fmt: skip
    m = momentum_state.write(state[0], g, old_first, new_first)
    v = second_state.write(state[1], g, old_second, new_second)
    return adaptive.write(w, m, v, first_share, epsilon, keep), (m, v)


def _lion(w: Lanes, g: Lanes, keep: Lanes, state: tuple[Lanes], old_blend: Lanes, new_blend: Lanes,
          old_first: Lanes, new_first: Lanes, learning_rate: Lanes) -> Updated:  # fmt: skip
    direction = momentum_state.write(state[0], g, old_blend, new_blend)
    m = momentum_state.write(state[0], g, old_first, new_first)
    return sign_step.write(w, direction, learning_rate, keep), (m,)


class Update(NamedTuple):
    """A form of update.

    Attributes
    ----------
    name : str
    states : int
        Vectors of the parameters' length that it keeps from step to step; they start at 0.
    coefficients : tuple of str
        The numbers of a step that it takes, which an optimizer gives.
    write : callable
        ``write(w, g, keep, state, *coefficients)`` gives the new parameter and the new state; g is the gradient, its
        clipping and penalty included, and keep what decoupled weight decay leaves of w.
    """

    name: str
    states: int
    coefficients: tuple[str, ...]
    write: Callable[..., Updated]

    @property
    def kind(self) -> int:
        """Number of the form in the kernels."""
        return KINDS[self.name]


SGD = Update("sgd", 0, ("learning_rate",), _sgd)
_FIRST = ("old_first", "new_first", "first_share")
_ROWS = (
    SGD,
    Update("momentum", 1, (*_FIRST, "gradient_share"), _momentum),
    Update("adaptive", 2, (*_FIRST, "old_second", "new_second", "epsilon"), _adaptive),
    Update("lion", 1, ("old_blend", "new_blend", "old_first", "new_first", "learning_rate"), _lion),
)
UPDATES = {row.name: row for row in _ROWS}
KINDS = {row.name: kind for kind, row in enumerate(_ROWS)}
FORMS = {row.kind: row for row in _ROWS}
