"""Embeddings: columns of X that hold numbers of levels, in whose place a network reads vectors of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import Array, float64
from .layers import scale_inputs
from .network import gradient, loss, penalty


def embed(X: ArrayLike, tables: Mapping[int, ArrayLike]) -> Array:
    """Return the inputs of the first layer: the columns of X without a table, then the vectors of the others.

    Parameters
    ----------
    X : array_like, (n, n_features)
        Scaled inputs; a column with a table holds the numbers of rows of it.
    tables : mapping of int to array_like, (levels, width) each
        The table of each such column. Vectors come in ascending order of the columns.

    Returns
    -------
    inputs : ndarray of float64, (n, columns without a table + widths)

    Raises
    ------
    ValueError
        If a shape does not fit, a table has no column, or a column holds anything but numbers of its table's rows.

    Examples
    --------
    >>> embed([[1, 7], [0, 8]], {0: [[10, 20], [30, 40]]})
    array([[ 7., 30., 40.],
           [ 8., 10., 20.]])
    """
    X = float64("X", X, (None, None))
    plain = [column for column in range(X.shape[1]) if column not in tables]
    if len(plain) + len(tables) != X.shape[1]:
        raise ValueError(f"tables: got columns {sorted(tables)}, expected some of the {X.shape[1]} of X")
    vectors = [np.zeros((len(X), 0))]
    for column in sorted(tables):
        table = float64(f"tables[{column}]", tables[column], (None, None))
        vectors.append(table[_levels(X, column, len(table))])
    return np.concatenate([X[:, plain], *vectors], axis=1)


def _levels(X: Array, column: int, count: int) -> NDArray[np.int64]:
    found = X[:, column]
    if not np.isin(found, np.arange(count)).all():
        raise ValueError(f"X: got {found} in column {column}, expected whole numbers from 0 to {count - 1}")
    return found.astype(np.int64)


def embed_backward(
    d_inputs: ArrayLike, X: ArrayLike, tables: Mapping[int, ArrayLike]
) -> tuple[Array, dict[int, Array]]:
    """Compute the gradients of `embed` from that of what it returns.

    Parameters
    ----------
    d_inputs : array_like, (n, columns without a table + widths)
    X, tables
        As in `embed`.

    Returns
    -------
    dX : ndarray of float64, (n, n_features)
        0 in the columns with a table.
    d_tables : dict of int to ndarray of float64, (levels, width) each
        Each row is the sum of the gradients of the vectors that it gave.

    Examples
    --------
    >>> dX, d_tables = embed_backward([[5, 1, 2], [6, 3, 4]], [[1, 7], [1, 8]], {0: [[10, 20], [30, 40]]})
    >>> dX, d_tables[0]
    (array([[0., 5.],
           [0., 6.]]), array([[0., 0.],
           [4., 6.]]))
    """
    X = float64("X", X, (None, None))
    d = float64("d_inputs", d_inputs, embed(X, tables).shape)
    plain = [column for column in range(X.shape[1]) if column not in tables]
    dX = np.zeros(X.shape)
    dX[:, plain] = d[:, : len(plain)]
    d_tables, at = {}, len(plain)
    for column in sorted(tables):
        levels, width = np.shape(tables[column])
        one_hot = np.eye(levels)[_levels(X, column, levels)]
        d_tables[column] = one_hot.T @ d[:, at : at + width]
        at += width
    return dX, d_tables


def embedded_loss(
    tables: Mapping[int, ArrayLike],
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    l2: float = 0.0,
    activation: str | Sequence[str] = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
    **more: Any,
) -> float:
    """Compute `loss` of a network with embeddings; tables are penalised as weights are.

    Parameters
    ----------
    tables
        As in `embed`.
    weights, biases, X, labels, l2, activation, input_shift, input_scale, **more
        As in `loss`.

    Returns
    -------
    loss : float

    Examples
    --------
    >>> round(embedded_loss({0: [[3]]}, [[[0, 0]]], [[0, 0]], [[0]], [1], l2=0.5), 6)  # + 0.5 / 2 * 9
    2.943147
    """
    inputs = embed(scale_inputs(X, input_shift, input_scale), tables)
    return loss(weights, biases, inputs, labels, l2, activation, **more) + penalty(list(tables.values()), l2)


def embedded_gradient(
    tables: Mapping[int, ArrayLike],
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    l2: float = 0.0,
    activation: str | Sequence[str] = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
    **more: Any,
) -> tuple[float, list[Array], list[Array], Array, dict[int, Array]]:
    """Compute `embedded_loss` and its gradient by back-propagation.

    Parameters
    ----------
    tables
        As in `embed`.
    weights, biases, X, labels, l2, activation, input_shift, input_scale, **more
        As in `gradient`.

    Returns
    -------
    loss, dWs, dbs, dX
        As of `gradient`; dX is 0 in the columns with a table.
    d_tables : dict of int to ndarray of float64, (levels, width) each
        ``l2 · table`` included.

    Examples
    --------
    >>> *_, dX, d_tables = embedded_gradient({0: [[0], [0]]}, [[[4, 0]]], [[0, 0]], [[1]], [1])
    >>> dX, d_tables[0]
    (array([[0.]]), array([[0.],
           [2.]]))
    """
    scaled = scale_inputs(X, input_shift, input_scale)
    inputs = embed(scaled, tables)
    value, dWs, dbs, d_inputs = gradient(weights, biases, inputs, labels, l2, activation, **more)
    dX, d_tables = embed_backward(d_inputs, scaled, tables)
    for column, table in tables.items():
        d_tables[column] += float(l2) * float64(f"tables[{column}]", table)
    scale = float64("input_scale", 1.0 if input_scale is None else input_scale)
    return value + penalty(list(tables.values()), l2), dWs, dbs, dX * scale, d_tables
