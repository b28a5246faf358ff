"""Dropout: the units that a step keeps, as they follow from its key and their places alone.

Every unit has a number u, uniform on the multiples of 2⁻⁵³ from 0 to below 1, and is kept where ``u >= p``. u is a hash
of key, layer, row and column: the finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators. OOPSLA, 2014), applied to keys that lie odd constants apart. All arithmetic is modulo 2⁶⁴.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, to odd: SplitMix64's step
LAYER = 0xD1342543DE82EF95
STEP = 0xA0761D6478BD642F
WORD = 2**64


def step_key(key: int, step: int) -> int:
    """Compute the key of a fit's step 0, 1, ..., ``key + step · 0xA0761D6478BD642F``.

    Examples
    --------
    >>> hex(step_key(1, 2))
    '0x40ec3ac8f17ac85f'
    """
    return (int(key) + int(step) * STEP) % WORD


def dropout_mask(key: int, layer: int, rows: int, columns: int, p: float) -> Array:
    """Compute the factors of a hidden layer's units in one step: 0 where dropped, ``1 / (1 − p)`` where kept.

    Parameters
    ----------
    key : int
        The step's key: see `step_key`.
    layer : int
        0 for the first hidden layer; -1 for the inputs of the first layer.
    rows, columns : int
        Rows of the minibatch and units of the layer.
    p : float
        Share to drop, at least 0 and below 1.

    Returns
    -------
    mask : ndarray of float64, (rows, columns)

    Raises
    ------
    ValueError
        If ``p`` is out of range.

    Examples
    --------
    >>> dropout_mask(key=0, layer=0, rows=2, columns=4, p=0.5)
    array([[0., 2., 2., 2.],
           [2., 0., 0., 0.]])
    """
    if not 0 <= p < 1:
        raise ValueError(f"p: got {p!r}, expected at least 0 and below 1")
    begin = np.uint64((int(key) + (layer + 1) * LAYER) % WORD)
    row = np.arange(rows, dtype=np.uint64)[:, np.newaxis]
    column = np.arange(columns, dtype=np.uint64)[np.newaxis, :]
    row_key = _finalized(begin + row * np.uint64(GOLDEN))
    u = _finalized(row_key + (column + np.uint64(1)) * np.uint64(GOLDEN)) >> np.uint64(11)
    return np.where(u >= np.uint64(int(p * 2.0**53)), 1.0 / (1.0 - float(p)), 0.0)


def dropout_masks(key: int, hidden: Sequence[int], rows: int, p: float | Sequence[float]) -> list[Array]:
    """Compute the `dropout_mask` of every hidden layer.

    Parameters
    ----------
    key : int
        The step's key.
    hidden : sequence of int
        Units of each hidden layer.
    rows : int
    p : float or sequence of float
        Share to drop, one for all layers or one for each.

    Returns
    -------
    masks : list of ndarray of float64, (rows, units) each

    Examples
    --------
    >>> [mask.shape for mask in dropout_masks(0, (5, 3), rows=2, p=0.5)]
    [(2, 5), (2, 3)]
    """
    shares = np.broadcast_to(np.asarray(p, np.float64), len(hidden))
    return [dropout_mask(key, layer, rows, units, shares[layer]) for layer, units in enumerate(hidden)]


def _finalized(z: NDArray[Any]) -> NDArray[Any]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return z
