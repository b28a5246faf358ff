"""Training on more rows than memory holds: block by block, the next one read by a thread while this one trains.

Rows lie in the source in pieces, side by side. An epoch takes the pieces in a random order, fills blocks with them, and
shuffles the rows of each block. What is read when follows from the network's generator, the rows' number and size, the
limit, and the chunks that a file may have: neither from the clock nor from what else holds the rows.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import hardware, validation
from ..kept import kept
from ..model.model import Model
from ..program.memory import STAGED_BYTES
from .in_memory import Rows, Stage, rows_of
from .sources import Chunks, Slices, Unmapped, shared_mapping

Array = NDArray[Any]
Item = TypeVar("Item")
RESERVED_BYTES = 4 * 1024**2  # for staging and for what is being read; a quarter of small limits
BLOCK_SHARE = 15 / 32  # of what is left, for each of two blocks
MOST_BYTES = 256 * 1024**2  # of a block: an epoch begins when its first block is read
PIECES = 32  # in a block
PIECE_BYTES = 1024**2  # at least, where blocks are large enough: a disk seeks once for each
CHUNKS_LIMIT = 256 * 1024**2  # bytes for chunks, if none is given
JOIN_SECONDS = 10.0  # that a reader in the midst of someone else's code is waited for
POLL_SECONDS = 0.5  # how long a wait keeps Ctrl-C away where the system does not interrupt it


class Order(NamedTuple):
    """Of an epoch's rows: that of the pieces, and what the orders within the blocks follow from."""

    pieces: NDArray[np.int64]
    key: int

    def within(self, block: int, rows: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.key, block]).permutation(rows)


class Block(NamedTuple):
    """Rows [first, first + rows) of the buffers, and the order to train on them."""

    first: int
    rows: int
    order: NDArray[np.int64] | None


class Terms(NamedTuple):
    """What of a fit decides how its rows are read."""

    epochs: int
    batch_size: int
    memory_limit: int | None
    mapped_in_blocks: bool  # a mapped file larger than half of memory, too
    needs_total: str | None  # the learning rate that must know how many steps there will be


def taken(model: Model, X: Any, y: Any, sample_weight: Any, terms: Terms,
          known: tuple[str, ...] | None) -> tuple[Rows | Stream, Array, Array | None]:  # fmt: skip
    """What `Training` takes: rows, targets and weights; of a stream, which brings its own, only what they are like."""
    if of_chunks(X):
        if y is not None or sample_weight is not None:
            raise TypeError("y, sample_weight: got some beside an iterator of chunks, expected them in the chunks, "
                            "(X, y) or (X, y, sample_weight)")  # fmt: skip
        if not callable(X) and terms.epochs > 1:
            raise ValueError(f"epochs: got {terms.epochs} and an iterator, which gives its chunks once, expected 1, or "
                             "for X a callable that gives a fresh iterator for each epoch")  # fmt: skip
        if terms.needs_total is not None:
            raise ValueError(f"learning_rate: got {terms.needs_total} and an iterator of chunks, whose "
                             "number of steps is not known, expected another")  # fmt: skip
        return _streamed(model, Chunks(model, X, known), terms)
    if y is None:
        raise TypeError("y: got None, expected targets; only chunks (X, y) from an iterator bring their own")
    if terms.memory_limit is not None or validation.sliced(X) or (terms.mapped_in_blocks and _too_large(X)):
        slices = Slices(model, X, y, sample_weight, known)
        if slices.count * _row_bytes(model, slices) > _limit(terms, slices) * 2 * BLOCK_SHARE:
            return _streamed(model, slices, terms)
        if validation.sliced(X):  # read once
            values = np.empty(X.shape, slices.dtype)
            rows = max(1, STAGED_BYTES // max(1, values[:1].nbytes), slices.chunk)
            for begin in range(0, len(values), rows):
                slices.inputs.copy(begin, min(len(values), begin + rows), values[begin : begin + rows])
            X = values
    in_memory = rows_of(model, "X", X, known)
    targets = model.targets("y", y, in_memory.count)
    return in_memory, targets, validation.sample_weight("sample_weight", sample_weight, in_memory.count, model.dtype)


def of_chunks(X: Any) -> bool:
    """Whether X is an iterator, or a callable that gives them."""
    return hasattr(X, "__next__") or (callable(X) and not hasattr(X, "shape") and not hasattr(X, "__array__"))


def held_out(X: Any, memory_limit: int | None) -> Any:
    """Validation rows, read so that a mapped file does not become resident where memory is limited."""
    limited = memory_limit is not None or _too_large(X)
    return Unmapped(X) if limited and isinstance(X, np.ndarray) and shared_mapping(X) is not None else X


def _too_large(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.nbytes > hardware.memory() // 2 and shared_mapping(X) is not None


def _limit(terms: Terms, source: Slices | Chunks) -> int:
    if terms.memory_limit is not None:
        return terms.memory_limit
    return hardware.memory() // 4 if isinstance(source, Slices) else min(CHUNKS_LIMIT, hardware.memory() // 4)


def _row_bytes(model: Model, source: Slices | Chunks) -> int:
    """Of a row in a block: inputs as they are stored, targets as they are trained on, weight, place in the order."""
    targets = source.target_shape[0] * model.dtype.itemsize if source.target_shape else 8
    return int(model.sizes[0] * source.dtype.itemsize + targets + model.dtype.itemsize * source.weighted + 8)


def _streamed(model: Model, source: Slices | Chunks, terms: Terms) -> tuple[Stream, Array, Array | None]:
    batch = min(terms.batch_size, source.count)
    limit, row = _limit(terms, source) - source.held, _row_bytes(model, source)
    limit -= min(RESERVED_BYTES, limit // 4)
    block = int(min(limit * BLOCK_SHARE, MOST_BYTES)) // row // batch * batch
    if block <= 0:
        least = int(batch * row / BLOCK_SHARE * 4 / 3) + 4 + source.held
        raise ValueError(f"memory_limit: got {_limit(terms, source)} bytes, expected at least {least} for minibatches "
                         f"of {batch} rows")  # fmt: skip
    source.check()
    targets = np.empty((0, *source.target_shape), model.dtype if source.target_shape else np.int64)
    return Stream(model, source, block, batch), targets, np.empty(0, model.dtype) if source.weighted else None


class Stream:
    """Stands in `Training` where `Rows` does.

    Parameters
    ----------
    model : Model
    source : Slices or Chunks
    block : int
        Rows of one, whole minibatches.
    batch : int
    """

    def __init__(self, model: Model, source: Slices | Chunks, block: int, batch: int):
        self.features, self._model, self._source, self.block, self._batch = model.sizes[0], model, source, block, batch
        self.names, self.target_name = source.names, source.target_name
        self._reader: Reader[Block] | None = None
        self._trained_on: tuple[Rows, int, int] | None = None
        wanted = max(1, block // PIECES, min(block, PIECE_BYTES // (self.features * source.dtype.itemsize)))
        self._piece = -(-wanted // source.chunk) * source.chunk

    @property
    def count(self) -> int:
        """Rows of an epoch; `UNKNOWN` until the first of an iterator has ended."""
        return self._source.count

    @kept
    def _example(self) -> Rows:
        return Buffers(self._model, self._source, 1).rows

    @property
    def as_it_is(self) -> bool:
        """Whether compiled code can read the rows of a block itself."""
        return self._example.as_it_is

    def prepare(self) -> None:
        self._example.prepare()

    def check(self) -> None:
        """Refuse NaN and infinity in the block that was trained on last."""
        if self._trained_on is not None:
            rows, begin, end = self._trained_on
            for first in range(begin, end, rows.most):
                rows.between(first, min(end, first + rows.most))

    def order(self, generator: np.random.Generator | None) -> Callable[[int], Order | None]:
        """What draws the order of an epoch; rows stay in their own without a generator."""

        def draw(rows: int) -> Order | None:
            if generator is None:
                return None
            pieces = -(-rows // self._piece) if isinstance(self._source, Slices) else 0
            return Order(generator.permutation(pieces), int(generator.integers(2**63)))

        return draw

    def stages(self, order: Order | None) -> Iterator[Stage]:
        """An epoch, whole minibatches at a time."""
        self.close()
        stop, buffers = Stop(), Buffers(self._model, self._source, self.block)
        self._reader = Reader(self._blocks(order, buffers, stop), stop)
        self._reader.start()
        staged = self.block * buffers.inputs.itemsize // (4 * self._model.dtype.itemsize)  # a quarter of a block
        size = max(1, min(buffers.rows.most, staged) // self._batch) * self._batch
        done = 0
        for first, rows, within in self._reader:
            self._trained_on = buffers.rows, first, first + rows
            fetched = within is not None and buffers.rows.as_it_is
            for begin in range(0, rows, rows if fetched else size):
                end = rows if fetched else min(rows, begin + size)
                chosen: Any = slice(first + begin, first + end) if within is None else first + within[begin:end]
                if fetched:
                    inputs = buffers.rows.flat
                elif within is None:
                    inputs = buffers.rows.between(first + begin, first + end)
                else:
                    inputs = buffers.rows.chosen(chosen)
                weights = None if buffers.weights is None else buffers.weights[chosen]
                yield Stage(done + begin, done + end, inputs, buffers.targets[chosen], weights,
                            chosen if fetched else None)  # fmt: skip
            done += rows

    def _blocks(self, order: Order | None, buffers: Buffers, stop: Stop) -> Generator[Block, None, None]:
        """Fill one block after another, in the two places in turn; in the reader's thread."""
        number = filled = 0
        starts: list[tuple[int, int]] = []

        def whole() -> Block:
            buffers.rows.starts[number % 2][:] = starts
            return Block(number % 2 * self.block, filled, None if order is None else order.within(number, filled))

        for piece in self._source.pieces(None if order is None else order.pieces, self._piece):
            begin = 0
            while begin < piece.rows:
                if stop.asked:
                    return
                at = number % 2 * self.block + filled
                many = min(piece.rows - begin, self.block - filled, self._piece)
                piece.copy(begin, begin + many, *buffers.part(at, at + many))
                starts.append((at, piece.first + begin))
                begin, filled = begin + many, filled + many
                if filled == self.block:
                    yield whole()
                    number, filled, starts = number + 1, 0, []
            del piece  # a chunk, before the next one is made
        if filled:
            yield whole()

    def close(self) -> None:
        """End the reader, wherever it is, and give its memory back."""
        self._trained_on = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class Buffers:
    """The memory of two blocks, one behind the other, for an epoch: validation between two has it for itself."""

    def __init__(self, model: Model, source: Slices | Chunks, block: int):
        inputs = np.empty((2 * block, model.sizes[0]), source.dtype)
        shape = source.target_shape
        self.inputs, self.targets = inputs, np.empty((2 * block, *shape), model.dtype if shape else np.int64)
        self.weights = np.empty(2 * block, model.dtype) if source.weighted else None
        self.rows = _Blocks("X", inputs, model.sizes[0], model.dtype, model.input_shift, model.input_scale)
        self.rows.names, self.rows.starts = source.names, ([], [])

    def part(self, begin: int, end: int) -> tuple[Array, Array, Array | None]:
        weights = None if self.weights is None else self.weights[begin:end]
        return self.inputs[begin:end], self.targets[begin:end], weights


class _Blocks(Rows):
    """The rows of two blocks; where each run of them begins in the source."""

    starts: tuple[list[tuple[int, int]], list[tuple[int, int]]]

    def number(self, row: int) -> int:
        at, first = max(start for starts in self.starts for start in starts if start[0] <= row)
        return first + row - at


class Stop:
    """Whether items are no longer wanted."""

    asked = False


class Reader(Generic[Item]):
    """Runs an iterator in a thread: while one item is used, the next is made, and no third.

    The two threads share queues and a flag, nothing with a lock that is Python's own: Ctrl-C within `threading`'s
    semaphore or event leaves it locked for ever.

    Parameters
    ----------
    items : generator
    stop : Stop
        Asked when the items are no longer wanted; the generator looks at it.
    """

    def __init__(self, items: Generator[Item, None, None], stop: Stop):
        self._items, self._stop = items, stop
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(2):
            self._places.put(None)
        self._made: queue.SimpleQueue[tuple[Item | None, BaseException | None]] = queue.SimpleQueue()
        # NumPy's settings and the limit of threads hold in the reader too. A daemon: it may wait in someone's code.
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run,), daemon=True,
                                        name="fastbp-reader")  # fmt: skip

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._places.get()
                if self._stop.asked:
                    return
                item = next(self._items, None)
                self._made.put((item, None))
                if item is None:
                    return
        except BaseException as error:  # is raised where the items are used
            self._made.put((None, error))
        finally:
            self._items.close()

    def __iter__(self) -> Iterator[Item]:
        while True:
            try:
                item, error = self._made.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if item is None:
                return
            yield item
            self._places.put(None)

    def close(self) -> None:
        """End the thread: at once, or as soon as the read that it is in returns."""
        self._stop.asked = True
        self._places.put(None)
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
