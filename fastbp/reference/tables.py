"""What the tables of formulas share: how a row is found by its name, and the constants that its formulas take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from numpy.typing import ArrayLike

from .arrays import Array, float64

Row = TypeVar("Row")


class Constant(NamedTuple):
    """A number that users choose by its name, which is the keyword of the formulas and unique among all tables.

    Attributes
    ----------
    default : float
    tried : tuple
        Other values, which ``fastbp verify`` uses in turn. Each is a number, or a function that takes the number of
        outputs and returns one number for each of them.
    """

    default: float
    tried: tuple[float | Callable[[int], ArrayLike], ...] = ()

    def trial(self, turn: int, outputs: int) -> Any:
        """Return the value to try in this turn, 0, 1, ..."""
        values = self.tried or (self.default,)
        value = values[turn % len(values)]
        return value(outputs) if callable(value) else value


Constants = Mapping[str, Constant]


def row_of(table: Mapping[str, Row], argument: str, name: str) -> Row:
    """Return the row of this name; `argument` names the table in the error."""
    if name not in table:
        raise ValueError(f"{argument}: got {name!r}, expected one of {', '.join(map(repr, table))}")
    return table[name]


def values_of(constants: Constants, given: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return the values of a row's constants: those that are given, else the defaults."""
    return {name: float64(name, given.get(name, constant.default)) for name, constant in constants.items()}


def check_names(known: Iterable[Constants], given: Iterable[str]) -> None:
    """Refuse names that no row has a constant of.

    Raises
    ------
    TypeError
    """
    names = sorted({name for constants in known for name in constants})
    for name in given:
        if name not in names:
            raise TypeError(f"{name}: got a value, expected none but {', '.join(names)}")
