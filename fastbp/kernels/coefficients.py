"""Coefficients: the numbers of a step in the compute dtype, one row for each step or one for all of them.

A row holds the numbers that every step has, those of each update form, and the constants of activations and losses,
all by the names in `COEFFICIENTS`. A constant with a number for each output lies behind them, repeated so that a vector
may begin at any output and run over the next row's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activations import ACTIVATIONS
from .constants import Constant
from .losses import LOSSES
from .target import LONGEST_VECTOR
from .updates import UPDATES

CONSTANTS: dict[str, Constant] = {
    constant.name: constant
    for constants in (*(row.constants for row in ACTIVATIONS.values()), *(row.constants for row in LOSSES.values()))
    for constant in constants
}
_STEP = (
    "scale",  # of the gradient of the logits: 1 / rows
    "share",  # what one output's loss counts in a row's
    "l2",
    "keep",  # what decoupled weight decay leaves of a weight
    "max_norm",  # of the gradient
    "smooth_share",  # what label smoothing leaves of a target
    "smooth_rest",  # what it adds to each target
    "average_share",  # of its distance to the parameters, by which their average moves
)
COEFFICIENTS = (
    *_STEP,
    *dict.fromkeys(name for update in UPDATES.values() for name in update.coefficients),
    *(name for name, constant in CONSTANTS.items() if not constant.per_output),
)
INDEX = {name: index for index, name in enumerate(COEFFICIENTS)}
SCALE, SHARE, L2, KEEP, MAX_NORM, SMOOTH_SHARE, SMOOTH_REST, AVERAGE_SHARE = range(len(_STEP))
LEARNING_RATE = INDEX["learning_rate"]
PER_OUTPUT = len(COEFFICIENTS)  # where the constant with a number for each output begins


def places(constants: Sequence[Constant]) -> tuple[tuple[int, bool], ...]:
    """Return where each constant lies, and whether it has a number for each output."""
    return tuple(
        (PER_OUTPUT if constant.per_output else INDEX[constant.name], constant.per_output) for constant in constants
    )


def table(steps: int, numbers: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """Return `steps` rows, in which the numbers stand at their names; all others are 0.

    A number is one for all steps or an array (steps,); a constant with a number for each output is an array (outputs,).
    """
    repeated = [
        np.resize(np.asarray(value, np.float64), np.size(value) + LONGEST_VECTOR)
        for name, value in numbers.items()
        if name in CONSTANTS and CONSTANTS[name].per_output
    ]
    rows = np.zeros((steps, PER_OUTPUT + sum(map(len, repeated))))
    for vector in repeated:
        rows[:, PER_OUTPUT:] = vector
    for name, value in numbers.items():
        if name in INDEX:
            rows[:, INDEX[name]] = value
    return rows


def row(dtype: np.dtype[Any], **numbers: ArrayLike) -> NDArray[Any]:
    """Return the coefficients of one step."""
    flat: NDArray[Any] = table(1, numbers).astype(dtype).reshape(-1)
    return flat
