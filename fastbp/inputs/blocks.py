"""Training on more rows than memory holds: in blocks, the next one read by a thread while this one is trained on.

An epoch takes the pieces of the source in a random order, fills blocks with them, and shuffles the rows of each block.
What is read when follows from the network's generator, the number and size of the rows, the limit and the chunks of the
file. It depends neither on the clock nor on the kind of source.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import hardware
from ..cached_property import cached_property
from ..kernels.functions import Function
from ..model.model import Model
from .in_memory import Rows, Stage
from .options import ReadOptions
from .read_ahead import Reader, Stop
from .sources import ChunkSource, SliceSource

Array = NDArray[Any]
Source = SliceSource | ChunkSource
RESERVED_BYTES = 4 * 1024**2  # for gathered rows and for what is being read; a quarter of small limits
BLOCK_SHARE = 15 / 32  # of the rest, for each of two blocks
MOST_BYTES = 256 * 1024**2  # of a block: an epoch begins when its first block has been read
PIECES = 32  # in a block
PIECE_BYTES = 1024**2  # at least, where blocks are large enough: a disk seeks once for each piece
CHUNKS_LIMIT = 256 * 1024**2  # bytes for an iterator of chunks, if no limit is given


class BlockOrder(NamedTuple):
    """The order of an epoch's rows: that of the pieces, and the key of the orders within blocks."""

    pieces: NDArray[np.int64]
    key: int

    def within(self, block: int, rows: int) -> NDArray[np.int64]:
        """Return the order of the rows of a block."""
        return np.random.default_rng([self.key, block]).permutation(rows)


class Block(NamedTuple):
    """Rows [first, first + rows) of the buffers, and the order in which to train on them."""

    first: int
    rows: int
    order: NDArray[np.int64] | None


def fits_in_memory(model: Model, source: SliceSource, options: ReadOptions) -> bool:
    """Return whether all rows of a source take no more than two blocks."""
    return bool(source.count * _row_bytes(model, source) <= _limit(options, source) * 2 * BLOCK_SHARE)


def _limit(options: ReadOptions, source: Source) -> int:
    if options.memory_limit is not None:
        return options.memory_limit
    quarter = hardware.memory() // 4
    return quarter if isinstance(source, SliceSource) else min(CHUNKS_LIMIT, quarter)


def _row_bytes(model: Model, source: Source) -> int:
    """Return the bytes of a row in a block: inputs as stored, targets as trained on, weight, place in the order."""
    targets = source.target_shape[0] * model.dtype.itemsize if source.target_shape else 8
    return int(model.sizes[0] * source.dtype.itemsize + targets + model.dtype.itemsize * source.weighted + 8)


class Stream:
    """Rows, targets and weights that are read in blocks; `in_memory.InMemory` is the same of rows in memory.

    Parameters
    ----------
    model : Model
    source : SliceSource or ChunkSource
    options : ReadOptions

    Attributes
    ----------
    targets, weights : array
        Empty: they show how many dimensions targets have, and whether there are weights.
    block : int
        Rows of a block: whole minibatches.
    """

    def __init__(self, model: Model, source: Source, options: ReadOptions):
        self.features, self._model, self._source = model.sizes[0], model, source
        self._batch = min(options.batch_size, source.count)
        self.block = self._block_rows(options)
        source.check()
        self.names, self.target_name = source.names, source.target_name
        self.targets: Array = np.empty((0, *source.target_shape), model.dtype if source.target_shape else np.int64)
        self.weights: Array | None = np.empty(0, model.dtype) if source.weighted else None
        self._reader: Reader[Block] | None = None
        self._last_used: tuple[Rows, int, int] | None = None  # of the buffers: which rows were trained on last
        least = min(self.block, PIECE_BYTES // (self.features * source.dtype.itemsize))
        self._piece = -(-max(1, self.block // PIECES, least) // source.chunk) * source.chunk

    def _block_rows(self, options: ReadOptions) -> int:
        source, batch, row = self._source, self._batch, _row_bytes(self._model, self._source)
        limit = _limit(options, source) - source.held_bytes
        limit -= min(RESERVED_BYTES, limit // 4)
        rows = int(min(limit * BLOCK_SHARE, MOST_BYTES)) // row // batch * batch
        if rows <= 0:
            least = int(batch * row / BLOCK_SHARE * 4 / 3) + 4 + source.held_bytes
            got = f"got {_limit(options, source)} bytes, expected at least {least}"
            raise ValueError(f"memory_limit: {got} for minibatches of {batch} rows")
        return rows

    @property
    def count(self) -> int:
        """The number of rows of an epoch; `UNKNOWN` until an iterator has ended for the first time."""
        return self._source.count

    @cached_property
    def _example(self) -> Rows:
        return _Buffers(self._model, self._source, 1).rows

    @property
    def readable_in_place(self) -> bool:
        """True if compiled code can read the rows of a block itself."""
        return self._example.readable_in_place

    def compiled_functions(self) -> list[Function]:
        """Return the compiled functions that gather these rows."""
        return self._example.compiled_functions()

    def prepare(self) -> None:
        """Compile or load the gather of these rows."""
        self._example.prepare()

    def check(self) -> None:
        """Refuse NaN and infinity in the block that was trained on last."""
        if self._last_used is not None:
            rows, begin, end = self._last_used
            for first in range(begin, end, rows.most):
                rows.between(first, min(end, first + rows.most))

    def orders(self, order: Any, generator: np.random.Generator | None) -> Callable[[int], BlockOrder | None]:
        """Return a function that draws the order of each epoch; without a generator rows stay in the source's order."""

        def draw(rows: int) -> BlockOrder | None:
            if generator is None:
                return None
            pieces = -(-rows // self._piece) if isinstance(self._source, SliceSource) else 0
            return BlockOrder(generator.permutation(pieces), int(generator.integers(2**63)))

        return draw

    def stages(self, order: BlockOrder | None, batch: int, done: int = 0) -> Iterator[Stage]:
        """Yield the stages of an epoch, except those whose rows are all among the `done` ones."""
        return (stage for stage in self._all_stages(order, batch) if stage.end > done)

    def _all_stages(self, order: BlockOrder | None, batch: int) -> Iterator[Stage]:
        self.close()
        stop, buffers = Stop(), _Buffers(self._model, self._source, self.block)
        self._reader = Reader(self._blocks(order, buffers, stop), stop)
        self._reader.start()
        quarter = self.block * buffers.inputs.itemsize // (4 * self._model.dtype.itemsize)  # of a block
        size = max(1, min(buffers.rows.most, quarter) // batch) * batch
        done = 0
        for first, rows, within in self._reader:
            self._last_used = buffers.rows, first, first + rows
            fetched = within is not None and buffers.rows.readable_in_place
            for begin in range(0, rows, rows if fetched else size):
                end = rows if fetched else min(rows, begin + size)
                chosen: Any = slice(first + begin, first + end) if within is None else first + within[begin:end]
                if fetched:
                    inputs = buffers.rows.flat
                elif within is None:
                    inputs = buffers.rows.between(first + begin, first + end)
                else:
                    inputs = buffers.rows.chosen(chosen)
                targets = buffers.targets[chosen]
                weights = None if buffers.weights is None else buffers.weights[chosen]
                yield Stage(done + begin, done + end, inputs, targets, weights, chosen if fetched else None)
            done += rows

    def _blocks(self, order: BlockOrder | None, buffers: _Buffers, stop: Stop) -> Generator[Block, None, None]:
        """Fill one block after another, in the two buffers in turn; in the reader's thread."""
        number = filled = 0
        starts: list[tuple[int, int]] = []

        def finished() -> Block:
            buffers.rows.starts[number % 2][:] = starts
            return Block(number % 2 * self.block, filled, None if order is None else order.within(number, filled))

        for piece in self._source.pieces(None if order is None else order.pieces, self._piece):
            begin = 0
            while begin < piece.rows:
                if stop.requested:
                    return
                at = number % 2 * self.block + filled
                rows = min(piece.rows - begin, self.block - filled, self._piece)
                piece.copy(begin, begin + rows, *buffers.between(at, at + rows))
                starts.append((at, piece.first + begin))
                begin, filled = begin + rows, filled + rows
                if filled == self.block:
                    yield finished()
                    number, filled, starts = number + 1, 0, []
            del piece  # a chunk, freed before the next one is made
        if filled:
            yield finished()

    def close(self) -> None:
        """End the reader, wherever it is, and free its memory."""
        self._last_used = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class _Buffers:
    """The memory of two blocks, one behind the other, for one epoch: between epochs validation may use it."""

    def __init__(self, model: Model, source: Source, block: int):
        inputs = np.empty((2 * block, model.sizes[0]), source.dtype)
        shape = source.target_shape
        self.inputs, self.targets = inputs, np.empty((2 * block, *shape), model.dtype if shape else np.int64)
        self.weights = np.empty(2 * block, model.dtype) if source.weighted else None
        scaling = model.input_shift, model.input_scale
        self.rows = _BufferedRows("X", inputs, model.sizes[0], model.dtype, *scaling, None, None, model.embeddings)
        self.rows.names, self.rows.starts = source.names, ([], [])

    def between(self, begin: int, end: int) -> tuple[Array, Array, Array | None]:
        """Return views of rows [begin, end): inputs, targets and weights."""
        weights = None if self.weights is None else self.weights[begin:end]
        return self.inputs[begin:end], self.targets[begin:end], weights


class _BufferedRows(Rows):
    """The rows of two blocks.

    Attributes
    ----------
    starts : tuple of two lists of (int, int)
        For each block, where each run of rows begins: in the buffers, and in the source.
    """

    starts: tuple[list[tuple[int, int]], list[tuple[int, int]]]

    def number(self, row: int) -> int:
        at, first = max(start for starts in self.starts for start in starts if start[0] <= row)
        return first + row - at
