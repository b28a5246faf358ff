"""Tell how a CSV file is written and what its columns are: by what the caller says, else by what its first rows show.

What could be read in two ways is refused, with both readings named; what is all but certain is remarked on.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ..cached_property import cached_property
from ..names import counted, match, repeated
from .dataset import ReadError, Remark, opened_text

# Texts that mean a missing value, in any case: what pandas takes for one; and what spreadsheets, databases and other
# programs of statistics write.
MISSING = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "1.#IND", "1.#QNAN", "<NA>", "?", "-", ".",
           "N/A", "NA", "NaN", "NaT", "None", "NULL", r"\N", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!",
           "#VALUE!")  # fmt: skip
DELIMITERS = ",;\t|"
SAMPLED = 21  # rows that are looked at, a header among them
FEW = 3  # rows below the first, at least, to say that it is of another kind than they
TARGETS = ("target", "label", "class")  # names of the column of the classes, in this order
_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)  # the first line by which a spreadsheet is told the delimiter
UNNAMED = ("", "Unnamed: 0")  # the name of an index as pandas writes it, and as it reads it again

Row = tuple[int, list[str]]  # the number of its last line, and its fields


@dataclass(frozen=True)
class Told:
    """Hold what the caller of `load` says about a CSV file; see there."""

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
        """Return what makes a number of a field, or raises ValueError."""
        return with_comma if self.decimal == "," else float

    def is_number(self, text: str) -> bool:
        """Tell whether a field holds a finite number; 1_000, which Python takes, is none."""
        try:
            return math.isfinite(self.number(text)) and "_" not in text
        except ValueError:
            return False

    @cached_property
    def gaps(self) -> frozenset[float]:
        """The numbers that mean a missing value, -999 for one, where the caller says so."""
        return frozenset(self.number(text) for text in self.missing if self.is_number(text))

    def is_missing(self, text: str) -> bool:
        if not text or text.lower() in self.missing:
            return True
        return bool(self.gaps) and self.is_number(text) and self.number(text) in self.gaps

    def is_text(self, text: str) -> bool:
        return not (self.is_number(text) or self.is_missing(text))

    def is_fraction(self, text: str) -> bool:
        return self.is_number(text) and not is_position(text)


class Form(NamedTuple):
    """Say how a file is written, and what its columns are.

    Attributes
    ----------
    delimiter : str
    names : list of str or None
        The first row, where it holds names.
    header_guessed : bool
        Whether only what it holds says if it holds names.
    width : int
        Columns of every row.
    target : int or None
        The column of the classes.
    features : list of int
        The columns of X, in its order.
    unused : tuple of str
        The names of the other columns.
    remarks : tuple of Remark
    """

    delimiter: str
    names: list[str] | None
    header_guessed: bool
    width: int
    target: int | None
    features: list[int]
    unused: tuple[str, ...]
    remarks: tuple[Remark, ...]


def with_comma(text: str) -> float:
    """Return the number of "1,5". A point would separate thousands there, and is refused."""
    if "." in text:
        raise ValueError(text)
    return float(text.replace(",", "."))


def is_position(text: str) -> bool:
    """Tell whether it is a whole number, as a position of a column is."""
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None


def rows_of(file: Path, text: TextIO, delimiter: str, strict: bool = True) -> Iterator[Row]:
    """Give (line number, fields) of every row; none of lines that are blank, but in a file of one column.

    There a blank line may be a missing value: it is given as an empty field where rows follow it. Strict, for a quote
    left open would swallow the rows after it.
    """
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=strict)
    blank: list[int] = []
    width = 0
    try:
        for fields in reader:
            if reader.line_num == 1 and _SEPARATOR.fullmatch(delimiter.join(fields)):  # of spreadsheets, not a row
                continue
            if len(fields) > 1 or "".join(fields).strip() or (fields and width == 1):
                width = width or len(fields)
                yield from ((line, [""]) for line in blank)
                blank = []
                yield reader.line_num, fields
            elif width == 1:
                blank.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{file}: line {reader.line_num}: expected well-formed CSV, got: {error}") from error


def form_of(file: Path, told: Told) -> Form:
    """Find out how a file is written.

    Raises
    ------
    ReadError
        It could be read in two ways.
    ValueError
        What the caller says does not fit, or the file is no CSV.
    """
    delimiter, rows = _delimited(file, told)
    line, first = rows[0]
    where, header = f"{file}: line {line}", told.header
    remarks: list[Remark] = []
    if header is None and _names_are_asked_for(where, first, told):
        header = True
    guessed = header is None
    if header is None:
        header, remarks = _looks_like_names(where, rows, _target(file, None, rows, told), told)
    names = first if header else None
    target = _target(file, names, rows, told)
    features, unused = _features(file, names, len(first), target, told)
    if names is not None:
        _check_distinct(where, names, [*features, *([] if target is None else [target])])
    if names is not None and told.features is None and told.drop != () and names[0] in UNNAMED and 0 in features:
        if _numbers_rows(file, delimiter):
            features.remove(0)
            unused = (names[0], *unused)
            remarks.append(Remark(f"{file}: the first column has no name and only numbers the rows: it was left out",
                                  ({"drop": ()},), "keeps it"))  # fmt: skip
        elif features != [0]:
            remarks.append(Remark(f"{file}: the first column has no name and was taken for a feature",
                                  ({"drop": (0,)},), "leaves it out"))  # fmt: skip
    if not features:
        spaces = ({"delimiter": " "},) if len(first) == 1 and " " in first[0] else ()
        raise ReadError(Remark(f"{file}: expected a feature column beside the target, got "
                               f"{counted(len(first), 'column')} (delimiter {delimiter!r})", spaces,
                               "cuts the lines at spaces"))  # fmt: skip
    return Form(delimiter, names, guessed, len(first), target, features, unused, tuple(remarks))


def _check_distinct(where: str, names: Sequence[str], used: Sequence[int]) -> None:
    """Refuse two columns of one name among those that are used."""
    if twice := repeated(names[i] for i in used):
        called = f"named {twice[0]!r}" if twice[0] else "without a name"
        places = [i for i in used if names[i] == twice[0]]
        raise ReadError(Remark(f"{where}: got {len(places)} columns {called}, expected names that differ",
                               ({"drop": (max(places),)},), "leaves one of them out"))  # fmt: skip


# ---- the delimiter ----


def _delimited(file: Path, told: Told) -> tuple[str, list[Row]]:
    """Return the delimiter, and the first rows as it cuts them.

    `csv.Sniffer` guesses from letter frequencies and will take a digit for a delimiter.
    """
    with opened_text(file) as text:
        start = text.read(4096)
        separator = _SEPARATOR.fullmatch(start.partition("\n")[0].strip().strip('"'))
    candidates = told.delimiter or (separator[1] if separator else DELIMITERS)
    if told.decimal == "," and candidates == DELIMITERS and '"' not in start:
        candidates = candidates.replace(",", "")  # unless numbers are quoted
    samples = {delimiter: rows for delimiter in candidates if (rows := _sample(file, delimiter))}
    if not samples:
        with opened_text(file) as text:
            came = "text that is no CSV" if text.read().strip() else "an empty file"
        raise ValueError(f"{file}: expected rows of numbers, got {came}")
    widths = {delimiter: {len(fields) for _, fields in rows} for delimiter, rows in samples.items()}
    even = [delimiter for delimiter, found in widths.items() if len(found) == 1 and found != {1}]
    readings = {delimiter: decimal for delimiter in even if (decimal := _decimal(samples[delimiter], told))}
    if len(readings) > 1:
        said = " or ".join(f"{len(samples[each][0][1])} columns cut at {each!r}" for each in readings)
        raise ReadError(Remark(f"{file}: expected rows that can be cut in one way, got {said}", tuple(
            {"delimiter": delimiter, "decimal": decimal} for delimiter, decimal in readings.items())))  # fmt: skip
    possible = readings or even or samples
    chosen = max(possible, key=lambda delimiter: len(samples[delimiter][0][1]))  # comma, where they tie
    return chosen, samples[chosen]


def _sample(file: Path, delimiter: str) -> list[Row]:
    """Return the first rows; none where this delimiter makes a field longer than the csv module allows."""
    rows: list[Row] = []
    with opened_text(file) as text:
        try:
            for line, fields in rows_of(file, text, delimiter, strict=False):
                rows.append((line, [field.strip() for field in fields]))
                if len(rows) == SAMPLED:
                    break
        except ValueError as error:
            if isinstance(error.__cause__, csv.Error):
                return []
            raise
    return rows


def _decimal(rows: list[Row], told: Told) -> str | None:
    """Return the decimal mark by which the rows below the first are numbers in all columns but one, if there is one."""
    below = [fields for _, fields in rows[1:] or rows]
    texts = {}
    for decimal in ".,"[told.decimal == "," :]:
        by_mark = Told(decimal=decimal, missing=told.missing)
        texts[decimal] = sum(any(map(by_mark.is_text, column)) for column in zip(*below, strict=True))
    best = min(texts, key=texts.__getitem__)  # the point, where they tie
    return best if texts[best] <= 1 < len(below[0]) else None


# ---- the header ----


EITHER: tuple[dict[str, Any], ...] = ({"header": True}, {"header": False})


def _names_are_asked_for(where: str, first: Sequence[str], told: Told) -> bool:
    """Tell whether what the caller says makes names of the first row."""
    asked = [told.target, *(told.drop or ())]
    if any(isinstance(each, str) and not _is_place(each, len(first)) for each in asked):
        return True
    known = [name for name in told.features or () if name in first]
    if not known or len(known) == len(told.features or ()) or not all(map(told.is_number, known)):
        return bool(known)
    raise ReadError(Remark(f"{where}: expected the names of the model's columns or a row of data, got {known[0]!r}, "
                           "which could be either", EITHER))  # fmt: skip


def _looks_like_names(
    where: str, rows: list[Row], column: int | None, told: Told
) -> tuple[bool, list[Remark]]:  # fmt: skip
    """Judge the first row by the rules in `load`; `column` is the target's, if it holds no names."""
    first, below = rows[0][1], [fields for _, fields in rows[1:] if len(fields) == len(rows[0][1])]
    dropped = {int(each) % len(first) for each in told.drop or ()}  # positions, for names would have told
    at = [i for i in range(len(first)) if i != column and i not in dropped]
    numbers = [i for i in at if _is_any_number(first[i], told)]
    texts = [i for i in at if i not in numbers and told.is_text(first[i])]
    named = [i for i, field in enumerate(first) if field.lower() in TARGETS]  # not y: a class may be called y or n
    others = [i for i in range(len(first)) if i not in named[:1]]
    if named and (not others or _count(first, others) or not all(_is_any_number(first[i], told) for i in others)):
        return True, []
    if first[0] in UNNAMED and _count(first[1:], range(len(first) - 1)):  # an index without a name
        return True, []
    if named or (texts and numbers):
        odd = named[0] if named else texts[0]
        alone = ({"target": odd},) if texts == [odd] and told.target is None else ()
        raise ReadError(Remark(f"{where}, column {odd + 1}: expected column names or a row of numbers, got "
                               f"{first[odd]!r} among numbers", (*EITHER, *alone)))  # fmt: skip
    if texts or not numbers:
        return bool(texts), []

    again = column is not None and first[column] in (fields[column] for fields in below)
    fractions = [i for i in at if below and all(told.is_fraction(fields[i]) for fields in below)]
    numbered = _count(first, at) or _count(first, range(len(first)))
    if numbered and fractions and not again and len(first) > FEW - (column is not None):
        return True, [Remark(f"{where} holds {', '.join(first[:2])}, ...: it was taken for column names, since column "
                             f"{fractions[0] + 1} holds fractions below it", ({"header": False},), "takes it for a row")
                      ]  # fmt: skip
    if numbered and not (again and column is not None and told.is_text(first[column])):
        raise ReadError(Remark(f"{where}: expected column names or a row of data, got {', '.join(first[:3])}"
                               f"{', ...' * (len(first) > 3)}, which could be either", EITHER))  # fmt: skip
    whole = all(is_position(first[i]) for i in at)
    if whole and not again and len(below) >= FEW and fractions == at:  # years over their columns, say
        raise ReadError(Remark(f"{where}: expected column names or a row of data, got whole numbers above fractions, "
                               "which could be either", EITHER))  # fmt: skip
    return False, []


def _is_any_number(text: str, told: Told) -> bool:
    """Tell whether a field is a number by either decimal mark: as the other one has it, it is no name either."""
    return told.is_number(text) or Told(decimal=",").is_number(text)


def _count(first: Sequence[str], at: Sequence[int]) -> bool:
    """Tell whether these fields are 0, 1, 2, ..."""
    return bool(at) and [first[i] for i in at] == [str(i) for i in range(len(at))]


def check_first_class(file: Path, form: Form, labels: Sequence[str]) -> None:
    """Refuse a first row that was taken for data if its class is the only one that never comes again."""
    if form.names is not None or not form.header_guessed:
        return
    counts = Counter(labels)
    if counts[labels[0]] == 1 and len(counts) > 1 and sorted(counts.values())[1] > 1:
        raise ReadError(Remark(f"{file}: expected column names or a row of data first, got {labels[0]!r}, which is a "
                               "name or a class of a single row", EITHER))  # fmt: skip


# ---- the columns ----


def _target(file: Path, names: Sequence[str] | None, rows: list[Row], told: Told) -> int | None:
    """Return the column of the classes: the one asked for, else by its name, else the last."""
    width = len(rows[0][1])
    if told.target is not None:
        return _place("target", told.target, file, names, width)
    if not told.labelled:
        return None
    lowered = [name.lower() for name in names or ()]
    named = next((lowered.index(name) for name in TARGETS if name in lowered), None)
    if named is None and "y" in lowered and _is_target(lowered, rows[1:], told):
        named = lowered.index("y")
    return width - 1 if named is None else named


def _is_target(lowered: list[str], below: list[Row], told: Told) -> bool:
    """Tell whether y means the target: first or last, and no coordinate beside an x, with a text behind them."""
    y = lowered.index("y")
    if y not in (0, len(lowered) - 1):
        return False
    behind = range(y + 1, len(lowered))
    text = any(told.is_text(fields[i]) for _, fields in below for i in behind if i < len(fields))
    return not ("x" in lowered and text)


def _features(
    file: Path, names: Sequence[str] | None, width: int, target: int | None, told: Told
) -> tuple[list[int], tuple[str, ...]]:  # fmt: skip
    """Return the columns of X, and the names of those that are not used."""
    dropped = {_place("drop", each, file, names, width): each for each in told.drop or ()}
    if target in dropped:
        raise ValueError(f"drop: expected other columns of {file} than that of the classes, got {dropped[target]!r}")
    if names is None or told.features is None:
        features = [i for i in range(width) if i != target and i not in dropped]
    else:
        if twice := repeated(name for name in names if name in told.features):
            raise ValueError(f"{file}: got more than one column named {twice[0]!r}, expected names that differ")
        match(told.features, list(dict.fromkeys(names)), str(file))
        features = [names.index(name) for name in told.features]
        for argument, column in (("target", target), *(("drop", each) for each in dropped)):
            if column in features:
                raise ValueError(f"{argument}: expected other columns than the features, got {names[column]!r}")
    unused = () if names is None else tuple(
        name for i, name in enumerate(names) if i != target and i not in features and i not in dropped)  # fmt: skip
    return features, unused


def _numbers_rows(file: Path, delimiter: str) -> bool:
    """Tell whether the first column holds distinct whole numbers below the header, as an index does, shuffled too."""
    found: set[int] = set()
    with opened_text(file) as text:
        for count, (_, fields) in enumerate(rows_of(file, text, delimiter)):
            number = fields[0].strip()
            if count and not (is_position(number) and len(number) < 20):
                return False
            found |= {int(number)} if count else set()
    return len(found) == count


def _place(argument: str, column: str | int, file: Path, names: Sequence[str] | None, width: int) -> int:
    """Return the place of a column that the caller names, or counts from 0 or from the end."""
    if names is not None and column in names:
        return names.index(str(column))
    if isinstance(column, str) and not is_position(column):
        known = "no header" if names is None else "columns " + ", ".join(map(repr, names[:20]))
        raise ValueError(f"{argument}: expected a column of {file} ({known}), got {column!r}")
    if not _is_place(column, width):
        raise ValueError(f"{argument}: expected a position from {-width} to {width - 1} in {file}, got {column!r}")
    return int(column) % width


def _is_place(column: str | int, width: int) -> bool:
    return (not isinstance(column, str) or is_position(column)) and -width <= int(column) < width
