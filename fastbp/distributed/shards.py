"""The rows of each rank in a global minibatch, and the order in which one process takes the same rows.

Each rank visits its own rows in an order drawn for each epoch from a key, the epoch's number and the rank's number. The
orders are merged in proportion to the shards' sizes, so that all of them end together, and the merged sequence is cut
after every `batch_size` rows. Within a minibatch the rows of rank 0 come first, then those of rank 1, and so on.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..network import MLP

Indices = NDArray[np.int64]
KEYS = 2**63


def cuts(shards: Sequence[int], rank: int, batch_size: int) -> Indices:
    """Return where a rank's order is cut: in step s it gives the rows [cuts[s], cuts[s + 1]) of its order.

    Row j of a shard of n rows has the place (2 j + 1) / (2 n) in the epoch; of rows at the same place, that of the
    lowest rank is first. Shards of one size contribute equally to each step if they divide the batch size.

    Parameters
    ----------
    shards : sequence of int
        Rows of each rank.
    rank : int
    batch_size : int
        Rows of the global minibatch.

    Returns
    -------
    int64 array (steps + 1,)

    Examples
    --------
    >>> cuts([6, 3], 0, 3), cuts([6, 3], 1, 3)
    (array([0, 2, 4, 6]), array([0, 1, 2, 3]))
    """
    own, total = shards[rank], sum(shards)
    rows = np.arange(own, dtype=np.int64)
    before = rows.copy()  # for each row of this rank: how many rows of all ranks come before it
    for size in set(shards):
        lower = sum(shard == size for shard in shards[:rank])
        higher = sum(shard == size for shard in shards[rank + 1 :])
        place = (2 * rows + 1) * size - own  # of the rows i of the other shard, those with 2 own i < place come before
        before += higher * -(-place // (2 * own)) + lower * (place // (2 * own) + 1)
    ends = np.append(np.arange(0, total, batch_size), total)
    return np.searchsorted(before, ends).astype(np.int64)


def epoch_order(key: int | None, epoch: int, rank: int, rows: int) -> Indices:
    """Return the order of a rank's rows in an epoch, counted from 0: ascending if `key` is None."""
    if key is None:
        return np.arange(rows, dtype=np.int64)
    return np.random.default_rng([key, epoch, rank]).permutation(rows)


def single_process_order(
    net: MLP,
    shards: Sequence[int],
    batch_size: int,
    *,
    shuffle: bool = True,
    dropout: float | Sequence[float] = 0.0,
    input_dropout: float = 0.0,
) -> Callable[[int], Indices]:
    """Return the order of rows with which one process trains as `fastbp.distributed.fit` does on these shards.

    Parameters
    ----------
    net : MLP
        The network before the fit. Its generator is copied and does not advance.
    shards : sequence of int
        Rows of each rank.
    batch_size : int
        Rows of the global minibatch.
    shuffle : bool, default True
    dropout, input_dropout
        As for `fit`.

    Returns
    -------
    callable
        Each call, with the number of rows of all shards, returns one epoch's order of rows, int64 (rows,). The rows are
        those of all shards, concatenated in the order of the ranks.

    Raises
    ------
    ValueError, TypeError
        Arguments are not as described, or the returned function is called with another number of rows.

    Examples
    --------
    >>> import fastbp
    >>> order = single_process_order(fastbp.MLP((2, 2), seed=0), [4, 2], 3, shuffle=False)
    >>> order(6)
    array([0, 1, 4, 2, 3, 5])
    """
    sizes = [validation.whole_number(f"shards[{i}]", size) for i, size in enumerate(shards)]
    if not sizes:
        raise ValueError("shards: got none, expected the number of rows of at least one rank")
    if not isinstance(net, MLP):
        raise TypeError(f"net: got {type(net).__name__}, expected an MLP")
    batch_size = validation.whole_number("batch_size", batch_size)
    rng = copy.deepcopy(net.rng)
    if np.any(dropout) or input_dropout:
        rng.integers(KEYS)
    key = int(rng.integers(KEYS)) if shuffle else None
    places = [cuts(sizes, rank, batch_size) for rank in range(len(sizes))]
    starts = [0, *itertools.accumulate(sizes)]
    epochs = itertools.count()

    def order(rows: int) -> Indices:
        if rows != starts[-1]:
            raise ValueError(f"shards: got {starts[-1]} rows in all, expected {rows}")
        epoch = next(epochs)
        orders: list[Any] = [starts[rank] + epoch_order(key, epoch, rank, size) for rank, size in enumerate(sizes)]
        steps = range(len(places[0]) - 1)
        by_rank = list(zip(orders, places, strict=True))
        return np.concatenate([own[cut[step] : cut[step + 1]] for step in steps for own, cut in by_rank])

    return order
