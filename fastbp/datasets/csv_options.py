"""The options of `load` for CSV files, and how a field is read by them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cached_property import cached_property
from ..names import repeated

# Texts that mean a missing value, in any case: those of pandas, and those that spreadsheets, databases and statistics
# programs write.
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "1.#IND", "1.#QNAN", "<NA>", "?", "-", "."),
    *("N/A", "NA", "NaN", "NaT", "None", "NULL", r"\N"),
    *("#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"),
)


@dataclass(frozen=True)
class CsvOptions:
    """The arguments of `load` that concern a CSV file, checked; see there. `infinite`: infinity counts as a number."""

    target: str | int | None = None
    labelled: bool = True
    header: bool | None = None
    delimiter: str | None = None
    decimal: str = "."
    missing: frozenset[str] = frozenset(text.lower() for text in MISSING)
    drop: tuple[str | int, ...] | None = None
    features: tuple[str, ...] | None = None
    infinite: bool = False

    @property
    def number(self) -> Callable[[str], float]:
        """The function that converts a field to a number, or raises ValueError."""
        return parse_decimal_comma if self.decimal == "," else float

    def is_number(self, text: str) -> bool:
        """Return True for a number. NaN is none, nor is 1_000, which Python accepts."""
        try:
            value = self.number(text)
        except ValueError:
            return False
        return (math.isfinite(value) or (self.infinite and not math.isnan(value))) and "_" not in text

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


# ---- the arguments, as users give them ----


def checked_options(
    target: Any,
    labelled: bool,
    header: Any = None,
    delimiter: Any = None,
    decimal: Any = ".",
    missing: Any = None,
    drop: Any = None,
    features: Any = None,
) -> CsvOptions:
    """Return the options for CSV files; raise TypeError or ValueError, with the argument's name, for others."""
    if target is not None:
        _check_column("target", target)
    if header is not None and not isinstance(header, bool):
        raise TypeError(f"header: expected True, False or None, got {header!r}")
    if delimiter is not None and not (isinstance(delimiter, str) and len(delimiter) == 1 and delimiter not in '"\r\n'):
        raise ValueError(f"delimiter: expected one character, neither quote nor line end, got {delimiter!r}")
    if decimal not in (".", ","):
        raise ValueError(f"decimal: expected '.' or ',', got {decimal!r}")
    sequences: dict[str, Any] = {}
    if missing is not None:
        sequences["missing"] = frozenset(text.strip().lower() for text in _texts("missing", missing))
    if drop is not None:
        sequences["drop"] = _sequence("drop", drop, "columns")
        for column in sequences["drop"]:
            _check_column("drop", column)
    if features is not None:
        sequences["features"] = _texts("features", features)
        if twice := repeated(sequences["features"]):
            raise ValueError(f"features: expected names that differ, got {twice[0]!r} more than once")
    return CsvOptions(target, labelled, header, delimiter, decimal, **sequences)


def _check_column(argument: str, column: Any) -> None:
    if isinstance(column, (bool, np.bool_)) or not isinstance(column, (str, int, np.integer)):
        raise TypeError(f"{argument}: expected a column's name or position, got {column!r}")


def _texts(argument: str, values: Any) -> tuple[str, ...]:
    texts = _sequence(argument, values, "texts")
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{argument}: expected a sequence of texts, got {text!r} in it")
    return texts


def _sequence(argument: str, values: Any, what: str) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray, set, frozenset)):
        raise TypeError(f"{argument}: expected a sequence of {what}, got {values!r}")
    return tuple(values)
