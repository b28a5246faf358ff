"""Embeddings: columns of X that name vectors of a table, which the first layer reads in the columns' place."""

from __future__ import annotations

from .formulas import add
from .gather import ROWS_AHEAD
from .jit import kernel
from .simd import advance, ahead, lanes, least, load_whole, number, store_whole, truncated


@kernel
def row_at(i, fetched, order):
    """Return the number of row i of a batch among the rows of X."""
    return order[i] if fetched else i


@kernel
def copy_entries(count, x, y):
    """``y = x``."""
    whole = count // lanes(x) * lanes(x)
    for j in range(0, whole, lanes(x)):
        store_whole(load_whole(advance(x, j)), advance(y, j))
    for j in range(whole, count):  # one by one: AVX2's masked stores take longer
        y[j] = x[j]


@kernel
def add_entries(count, x, y):
    """``y += x``."""
    whole = count // lanes(x) * lanes(x)
    for j in range(0, whole, lanes(x)):
        here = advance(y, j)
        store_whole(add(load_whole(here), load_whole(advance(x, j))), here)
    for j in range(whole, count):
        y[j] += x[j]


@kernel
def copy_columns(rows, columns, fetched, order, x, ldx, out, ldo):
    """``out[i] = x[row i]``, `columns` entries of each."""
    for i in range(rows):
        later = advance(x, row_at(least(i + ROWS_AHEAD, rows - 1), fetched, order) * ldx)
        for j in range(0, columns, lanes(x)):
            ahead(advance(later, j))
        copy_entries(columns, advance(x, row_at(i, fetched, order) * ldx), advance(out, i * ldo))


@kernel
def level_of(x, levels):
    """Return the number of a vector that x holds; 0 where it holds none, since another thread may be writing there."""
    value = x[0]
    value = value if value >= 0 else number(x, 0.0)
    value = value if value < levels else number(x, 0.0)
    return truncated(value)


@kernel
def embed(rows, fetched, order, x, ldx, levels, width, table, out, ldo, kept):
    """``out[i] = table[x[row i]]``; the numbers go to `kept` (rows,) too."""
    for i in range(rows):
        level = level_of(advance(x, row_at(i, fetched, order) * ldx), levels)
        kept[i] = level
        copy_entries(width, advance(table, level * width), advance(out, i * ldo))


@kernel
def embed_backward(resume, rows, begin, end, width, kept, d, ldd, out):
    """``out[level] = sum_i d[i]`` over the rows of each level, i ascending from +0, or from what `out` holds; for
    levels [begin, end)."""
    if not resume:
        for j in range(begin * width, end * width):
            out[j] = 0
    for i in range(rows):
        level = truncated(kept[i])
        if begin <= level and level < end:
            add_entries(width, advance(d, i * ldd), advance(out, level * width))
