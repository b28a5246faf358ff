"""The roughness of a function on a line through the point: a kink, or noise such as rounding.

The function is sampled at 17 points within the step, and a cubic is fitted to them. The residual is the roughness. For
a smooth function it is rounding. For one with a kink or a jump it is far larger, and one kink explains all of it; many
kinks, or random-looking noise, are explained by none.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .differences import Array, Function, Line, check_same

SIDE = 8  # samples on each side of the point
PARTS = np.arange(-SIDE, SIDE + 1) / SIDE
FREEDOM = PARTS.size - 4  # degrees of freedom after the fit of a cubic

# The share of the squared roughness that one kink has to explain. None of 20,000 draws of white noise reached 0.90;
# smooth curves too steep for the step reach 0.88.
EXPLAINED = 0.95

# A kink of any size, anywhere within the step, changes the central difference by at most 11.98 roughness / h. Two kinks
# may change it a little more.
REACH = 16.0


class Roughness(NamedTuple):
    """The roughness of each value of the function, on one line."""

    noise: Array  # root mean square of the residual of a cubic
    kink: NDArray[np.bool_]  # whether one kink, or jump, explains it
    curvature: Array  # error of the central difference, estimated with half the step


@functools.cache
def _fits() -> tuple[Array, Array]:
    """Return orthonormal bases of the cubics (17, 4), and of the kinks in each of the 16 gaps (16, 17, 2) minus cubics.

    At the samples, a kink or a jump between two of them equals a sum of kinks at these two and a straight line.
    """
    cubics = np.linalg.qr(np.vander(PARTS, 4))[0]
    kinks = []
    for gap in range(PARTS.size - 1):
        pair = np.abs(PARTS[:, np.newaxis] - PARTS[gap : gap + 2])
        basis, size, _ = np.linalg.svd(pair - cubics @ (cubics.T @ pair), full_matrices=False)
        kinks.append(basis * (size > 1e-9))  # a kink at an end is a straight line
    return cubics, np.stack(kinks)


def roughness(function: Function, line: Line, ahead: Array, behind: Array, rounding: Array) -> Roughness:
    """Sample the line, whose ends have the values `ahead` and `behind`; `rounding` is the rounding error of values.

    Samples that differ a second time are no evidence, and raise `NotDeterministic`.
    """
    samples = _sample(function, line)
    check_same(ahead, samples[-1])
    check_same(behind, samples[0])
    cubics, kinks = _fits()
    rises = samples - samples[SIDE]  # exact where rounding matters
    largest = np.maximum(np.abs(rises).max(axis=0), np.finfo(np.float64).tiny)
    rest = rises / largest  # no square overflows
    rest -= cubics @ (cubics.T @ rest)
    rough = (rest**2).sum(axis=0)
    explained = (np.einsum("gsk,sv->gkv", kinks, rest) ** 2).sum(axis=1).max(axis=0)
    noise = largest * np.sqrt(rough / FREEDOM)
    if (noise > 2 * rounding).any():
        check_same(samples.reshape(-1), _sample(function, line).reshape(-1))
    half = (samples[SIDE + SIDE // 2] - samples[SIDE // 2]) / line.width(0.5)
    # Half the step leaves a quarter of an error h² f'''/6: the change is 3/4 of it. Twice that is a safe estimate.
    central = (ahead - behind) / line.width(1.0)
    return Roughness(noise, (explained > EXPLAINED * rough) & (noise > 2 * rounding), 2 * np.abs(central - half))


def _sample(function: Function, line: Line) -> Array:
    """Return values of the function (17, values)."""
    return np.stack([function.at_point if part == 0 else function(line.at(part)) for part in PARTS])
