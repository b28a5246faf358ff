"""Which rows of which rank make up a global minibatch, and the order in which one process meets the same ones.

Each rank walks through its own rows, in an order drawn for each epoch from a key, the epoch's number and the rank's.
The walks are merged in proportion to the shards' sizes, so that all of them end together, and the merged sequence is
cut after every `batch_size` rows. Within a minibatch the rows of rank 0 come first, then those of rank 1, and so on.
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
    """Where a rank's walk is cut: in step s it gives rows [cuts[s], cuts[s + 1]) of its order.

    Row j of a shard of n rows stands at (2 j + 1) / (2 n) of the way; of rows at the same place that of the lowest rank
    is first. Shards of one size give a batch size that they divide in equal parts, in every step.

    Examples
    --------
    >>> cuts([6, 3], 0, 3), cuts([6, 3], 1, 3)
    (array([0, 2, 4, 6]), array([0, 1, 2, 3]))
    """
    own, total = shards[rank], sum(shards)
    rows = np.arange(own, dtype=np.int64)
    before = rows.copy()  # rows of all ranks that come before each of this one's
    for size in set(shards):
        lower = sum(shard == size for shard in shards[:rank])
        higher = sum(shard == size for shard in shards[rank + 1 :])
        place = (2 * rows + 1) * size - own  # of the rows i of the other shard, those with 2 own i < place come before
        before += higher * -(-place // (2 * own)) + lower * (place // (2 * own) + 1)
    ends = np.append(np.arange(0, total, batch_size), total)
    return np.searchsorted(before, ends).astype(np.int64)


def walk(key: int | None, epoch: int, rank: int, rows: int) -> Indices:
    """The order of a rank's rows in an epoch, from 0; without a key as they are."""
    if key is None:
        return np.arange(rows, dtype=np.int64)
    return np.random.default_rng([key, epoch, rank]).permutation(rows)


def single_process_order(
    net: MLP, shards: Sequence[int], batch_size: int, *, shuffle: bool = True, dropout: float = 0.0
) -> Callable[[int], Indices]:
    """The order of rows with which one process does what `fastbp.distributed.fit` does with these shards.

    Parameters
    ----------
    net : MLP
        As it is before the fit; its generator is looked at, not used up.
    shards : sequence of int
        Rows of each rank.
    batch_size : int
        Of the global minibatch.
    shuffle, dropout
        As `fit` is told.

    Returns
    -------
    callable
        The `order` of a plan: each call gives one epoch's order of the shards' rows, those of rank 0 first.

    Examples
    --------
    >>> import fastbp
    >>> order = single_process_order(fastbp.MLP((2, 2), seed=0), [4, 2], 3, shuffle=False)
    >>> order(6)
    array([0, 1, 4, 2, 3, 5])
    """
    sizes = [validation.whole_number(f"shards[{i}]", size) for i, size in enumerate(shards)]
    if not sizes:
        raise ValueError("shards: got none, expected the rows of at least one rank")
    if not isinstance(net, MLP):
        raise TypeError(f"net: got {type(net).__name__}, expected an MLP")
    batch_size = validation.whole_number("batch_size", batch_size)
    rng = copy.deepcopy(net.rng)
    if dropout:
        rng.integers(KEYS)
    key = int(rng.integers(KEYS)) if shuffle else None
    places = [cuts(sizes, rank, batch_size) for rank in range(len(sizes))]
    starts = [0, *itertools.accumulate(sizes)]
    epochs = itertools.count()

    def order(rows: int) -> Indices:
        if rows != starts[-1]:
            raise ValueError(f"shards: got {starts[-1]} rows in all, expected {rows}")
        epoch = next(epochs)
        walks: list[Any] = [starts[rank] + walk(key, epoch, rank, size) for rank, size in enumerate(sizes)]
        steps = range(len(places[0]) - 1)
        return np.concatenate([
            rows_of[place[step] : place[step + 1]] for step in steps
            for rows_of, place in zip(walks, places, strict=True)
        ])  # fmt: skip

    return order
