"""Inverted dropout by a hash of key, layer, row and column: no split among threads or calls can change a mask.

The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014): each row gets a stream of its own. Nothing is kept for the way back, which draws the same mask again.
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel
from .simd import number

STREAM, LAYER_STEP, STEP_STEP = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xA0761D6478BD642F
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
UNITS = 2**53  # thresholds are whole numbers of these


@inlined
def mixed(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND)
    return z ^ (z >> np.uint64(31))


@kernel
def key_of_step(key, step):
    return key + np.uint64(step) * np.uint64(STEP_STEP)


@inlined
def drop(first_row, rows, columns, layer, threshold, key, x, y):
    """``y = x / (1 - p)`` where the hash reaches ``threshold = p 2^53``, else 0; in place too."""
    bar, stream = np.uint64(threshold), np.uint64(STREAM)
    zero, factor = number(x, 0.0), number(x, UNITS / (UNITS - float(threshold)))
    for i in range(rows):
        row = mixed(key + np.uint64(first_row + i) * stream + np.uint64(layer + 1) * np.uint64(LAYER_STEP))
        for j in range(columns):
            drawn = mixed(row + np.uint64(j + 1) * stream) >> np.uint64(11)
            at = i * columns + j
            y[at] = x[at] * factor if drawn >= bar else zero
