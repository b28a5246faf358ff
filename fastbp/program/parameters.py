"""The layout of a network's parameters: one flat buffer, and where in it each layer's weights and biases lie."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..cached_property import cached_property

Array = NDArray[Any]


class Embedding(NamedTuple):
    """A column of X that holds the numbers of levels, for which the first layer reads vectors of a table.

    Attributes
    ----------
    column, levels, width : int
    """

    column: int
    levels: int
    width: int


@dataclass(eq=False, repr=False)
class ParameterLayout:
    """Weights and biases of every layer, one behind the other: W1, b1, W2, b2, ...; behind them the embeddings' tables.

    Parameters
    ----------
    sizes : tuple of int
        Features of the input and of every layer's output.
    embeddings : tuple of Embedding
        In ascending order of their columns.

    Examples
    --------
    >>> layout = ParameterLayout((2, 3, 4))
    >>> layout.total, layout.weight_starts, layout.bias_starts
    (25, (0, 9), (6, 21))
    """

    sizes: tuple[int, ...]
    embeddings: tuple[Embedding, ...] = ()

    @cached_property
    def weight_starts(self) -> tuple[int, ...]:
        starts, at = [], 0
        for fan_in, fan_out in self.fans:
            starts.append(at)
            at += fan_in * fan_out + fan_out
        return tuple(starts)

    @property
    def plain(self) -> int:
        """Number of the columns of X that the first layer reads as they are: its first inputs."""
        return self.sizes[0] - len(self.embeddings)

    @property
    def fans(self) -> tuple[tuple[int, int], ...]:
        """(fan_in, fan_out) of each layer."""
        first = self.plain + sum(each.width for each in self.embeddings)
        return tuple(zip((first, *self.sizes[1:-1]), self.sizes[1:], strict=True))

    @property
    def bias_starts(self) -> tuple[int, ...]:
        return tuple(start + i * o for start, (i, o) in zip(self.weight_starts, self.fans, strict=True))

    @property
    def of_layers(self) -> int:
        """Number of weights and biases."""
        return sum(fan_in * fan_out + fan_out for fan_in, fan_out in self.fans)

    @property
    def total(self) -> int:
        """Number of parameters."""
        return self.of_layers + sum(each.levels * each.width for each in self.embeddings)

    def weights(self, flat: Array) -> list[Array]:
        """Views (fan_in, fan_out) into a vector of `total` entries."""
        return [flat[at : at + i * o].reshape(i, o) for at, (i, o) in zip(self.weight_starts, self.fans, strict=True)]

    def biases(self, flat: Array) -> list[Array]:
        """Views (fan_out,) into a vector of `total` entries."""
        return [flat[at : at + o] for at, (_, o) in zip(self.bias_starts, self.fans, strict=True)]

    @cached_property
    def layers(self) -> tuple[tuple[tuple[int, int], int, int], ...]:
        """(fan_in, fan_out), the start of the weights and that of the biases, of each layer."""
        return tuple(zip(self.fans, self.weight_starts, self.bias_starts, strict=True))

    @cached_property
    def penalised(self) -> tuple[tuple[int, int], ...]:
        """The start and the number of the parameters that are penalised: of each weight matrix, then of each table."""
        weights = [(start, fan_in * fan_out) for (fan_in, fan_out), start, _ in self.layers]
        tables = [(at, each.levels * each.width) for at, each in zip(self.table_starts, self.embeddings, strict=True)]
        return (*weights, *tables)

    @cached_property
    def table_starts(self) -> tuple[int, ...]:
        """Where each embedding's table begins, (levels, width)."""
        sizes = (each.levels * each.width for each in self.embeddings[:-1])
        return tuple(itertools.accumulate(sizes, initial=self.of_layers)) if self.embeddings else ()

    @cached_property
    def vector_starts(self) -> tuple[int, ...]:
        """Which input of the first layer is the first of each embedding's vector."""
        widths = (each.width for each in self.embeddings[:-1])
        return tuple(itertools.accumulate(widths, initial=self.plain)) if self.embeddings else ()

    def tables(self, flat: Array) -> dict[int, Array]:
        """Views (levels, width) into a vector of `total` entries, by their columns."""
        return {
            each.column: flat[at : at + each.levels * each.width].reshape(each.levels, each.width)
            for at, each in zip(self.table_starts, self.embeddings, strict=True)
        }

    @cached_property
    def plain_columns(self) -> list[int]:
        """The columns of X that the first layer reads as they are."""
        embedded = {each.column for each in self.embeddings}
        return [column for column in range(self.sizes[0]) if column not in embedded]
