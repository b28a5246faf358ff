"""Open the rows to train on: the one way from the arguments of a fit to rows in memory or in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import frames, hardware, validation
from ..model.model import Model
from ..program.memory import STAGED_BYTES
from .in_memory import InMemory, rows_of
from .options import ReadOptions

if TYPE_CHECKING:
    from .blocks import Stream
    from .sources import ChunkSource, SliceSource

# Rows in memory need neither `blocks` nor `sources`, whose import takes 3 ms: they are imported where they are needed.


def open_rows(
    model: Model,
    X: Any,
    y: Any,
    sample_weight: Any,
    options: ReadOptions,
    *,
    rows: Any = None,
    known: tuple[str, ...] | None = None,
) -> InMemory | Stream:
    """Return the rows, targets and weights to train on, checked.

    Parameters
    ----------
    model : Model
    X, y, sample_weight, rows
        As given to `MLP.fit`.
    options : ReadOptions
    known : tuple of str, optional
        The names of the columns that X must have.
    """
    if is_chunks(X):
        from .sources import ChunkSource

        _check_chunks(X, y, sample_weight, options)
        return _in_blocks(model, ChunkSource(model, X, known), options, rows)
    if y is None:
        raise TypeError("y: got None, expected targets; only chunks (X, y) from an iterator bring their own")
    if options.memory_limit is not None or validation.sliced(X) or (options.mapped_in_blocks and _is_large_map(X)):
        from .blocks import fits_in_memory
        from .sources import SliceSource

        source = SliceSource(model, X, y, sample_weight, known)
        if not fits_in_memory(model, source, options):
            return _in_blocks(model, source, options, rows)
        if validation.sliced(X):
            X = _read_whole(X, source)
    return _in_memory(model, X, y, sample_weight, rows, known)


def is_chunks(X: Any) -> bool:
    """Return whether X is an iterator, or a callable that returns iterators."""
    return hasattr(X, "__next__") or (callable(X) and not hasattr(X, "shape") and not hasattr(X, "__array__"))


def limit_residency(name: str, X: Any, memory_limit: int | None) -> Any:
    """Return X; a mapped file, where memory is limited or the file is large, such that it does not become resident."""
    if not (_is_mapped(X) if memory_limit is not None else _is_large_map(X)):
        return X
    from .sources import CopiedSlices

    return CopiedSlices(name, X)


def _is_large_map(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.nbytes > hardware.memory() // 2 and _is_mapped(X)


def _is_mapped(X: Any) -> bool:
    from .sources import shared_mapping

    return isinstance(X, np.ndarray) and shared_mapping(X) is not None


def _check_chunks(X: Any, y: Any, sample_weight: Any, options: ReadOptions) -> None:
    if y is not None or sample_weight is not None:
        raise TypeError(
            "y, sample_weight: must be None when X yields chunks; yield (X, y) or (X, y, sample_weight) instead"
        )
    if not callable(X) and options.epochs > 1:
        raise ValueError(
            f"epochs: got {options.epochs} and an iterator, which yields its chunks once, expected 1; for more, give "
            "as X a callable that returns a new iterator for each epoch"
        )
    if options.needs_total is not None:
        raise ValueError(
            f"{options.needs_total}, which needs the number of steps, and chunks, whose number is not known; expected "
            "one that needs none"
        )


def _in_blocks(model: Model, source: SliceSource | ChunkSource, options: ReadOptions, rows: Any) -> Stream:
    from .blocks import Stream

    stream = Stream(model, source, options)
    if rows is not None:
        raise ValueError("rows: got indices and an X that is read in blocks, expected None")
    return stream


def _read_whole(X: Any, source: SliceSource) -> Any:
    """Return all of a sliced X as an array."""
    values = np.empty(X.shape, source.dtype)
    rows = max(1, STAGED_BYTES // max(1, values[:1].nbytes), source.chunk)
    for begin in range(0, len(values), rows):
        source.inputs.copy(begin, min(len(values), begin + rows), values[begin : begin + rows])
    return values


def _in_memory(model: Model, X: Any, y: Any, sample_weight: Any, rows: Any, known: tuple[str, ...] | None) -> InMemory:
    in_memory = rows_of(model, "X", X, known)
    targets = model.targets("y", y, in_memory.count)
    weights = validation.sample_weight("sample_weight", sample_weight, in_memory.count, model.dtype)
    if rows is not None:
        index = validation.row_indices("rows", rows, in_memory.count)
        in_memory, targets = in_memory.subset(index), targets[index]
        weights = None if weights is None else weights[index]
    return InMemory(in_memory, targets, weights, frames.name_of(y))
