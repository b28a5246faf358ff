"""The options of `load` for CSV files, and how a field is read by them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from ..cached_property import cached_property

# Texts that mean a missing value, in any case: those of pandas, and those that spreadsheets, databases and statistics
# programs write.
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "1.#IND", "1.#QNAN", "<NA>", "?", "-", "."),
    *("N/A", "NA", "NaN", "NaT", "None", "NULL", r"\N"),
    *("#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"),
)


@dataclass(frozen=True)
class CsvOptions:
    """The arguments of `load` that concern a CSV file, checked; see there."""

    target: str | int | None = None
    labelled: bool = True
    header: bool | None = None
    delimiter: str | None = None
    decimal: str = "."
    missing: frozenset[str] = frozenset(text.lower() for text in MISSING)
    drop: tuple[str | int, ...] | None = None
    features: tuple[str, ...] | None = None

    @property
    def number(self) -> Callable[[str], float]:
        """The function that converts a field to a number, or raises ValueError."""
        return parse_decimal_comma if self.decimal == "," else float

    def is_number(self, text: str) -> bool:
        """Return True for a finite number. 1_000, which Python accepts, is not one."""
        try:
            return math.isfinite(self.number(text)) and "_" not in text
        except ValueError:
            return False

    @cached_property
    def missing_numbers(self) -> frozenset[float]:
        """The numbers that mean a missing value, for instance -999, if `missing` has any."""
        return frozenset(self.number(text) for text in self.missing if self.is_number(text))

    def is_missing(self, text: str) -> bool:
        """Return True for a missing value."""
        if not text or text.lower() in self.missing:
            return True
        return bool(self.missing_numbers) and self.is_number(text) and self.number(text) in self.missing_numbers

    def is_text(self, text: str) -> bool:
        """Return True if the field is neither a number nor missing."""
        return not (self.is_number(text) or self.is_missing(text))

    def is_fraction(self, text: str) -> bool:
        """Return True for a number that is not written as a whole one."""
        return self.is_number(text) and not is_whole_number(text)


def parse_decimal_comma(text: str) -> float:
    """Convert "1,5" to a number. A point, which would separate thousands, raises ValueError."""
    if "." in text:
        raise ValueError(text)
    return float(text.replace(",", "."))


def is_whole_number(text: str) -> bool:
    """Return True for a whole number in digits, as the position of a column is written."""
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None


def is_position(column: str | int, width: int) -> bool:
    """Return True if `column` is a position, as an int or a text, in a row of `width` fields."""
    return (not isinstance(column, str) or is_whole_number(column)) and -width <= int(column) < width
