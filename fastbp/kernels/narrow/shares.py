"""Shares of a step's sums: which rows of each layer's parameters a thread computes and updates.

The tiles of all layers' gradients are numbered, one layer after the other; a share is a range of these numbers, which
the table's row has. It takes whole rows, so that what it updates is one range of each layer's parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import operations as op
from ..jit import kernel
from ..simd import greatest, least
from .blocks import Cut, cut
from .forms import Workspace


class Share(NamedTuple):
    """Holds what a layer needs to know: its tiles, the height of the high ones, and their numbers."""

    cut: Cut
    height: Any
    high: Any  # tiles
    first: Any
    end: Any


def shares(at: Workspace) -> list[Share]:
    """Return this for each layer."""
    found: list[Share] = []
    for layer in at.layers:
        rows, of_tiles = layer.fan_in + 1, layer.gradient_tiles
        first = found[-1].end if found else 0
        end = first + len(of_tiles.heights(rows))
        found.append(Share(cut(rows, of_tiles), of_tiles.rows, of_tiles.high, first, end))
    return found


@kernel
def rows_of_share(share, row):
    """Return the layer's rows of parameters in the share of a table's row: the first, and where they end."""
    begin = least(greatest(row[op.COLUMN_BEGIN], share.first), share.end) - share.first
    end = least(greatest(row[op.COLUMN_END], share.first), share.end) - share.first
    return first_row(share, begin), first_row(share, end)


@kernel
def first_row(share, tile):
    """Return where a tile begins: those behind the high ones have a row less."""
    return tile * share.height - greatest(tile - share.high, 0)
