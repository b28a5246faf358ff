"""Decide whether the first row of a CSV file holds column names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .csv_delimiter import Row
from .csv_options import CsvOptions, is_position, is_whole_number
from .dataset import ReadError, Remark, Source

TARGETS = ("target", "label", "class")  # names of the column of the classes, in this order
UNNAMED = ("", "Unnamed: 0")  # the name of an index as pandas writes it, and as pandas reads it
FIRST_YEAR = 1000  # two numbers that follow one another may be anything below it
FEW = 3  # at least this many rows below the first are needed to infer that it is of another kind
EITHER: tuple[dict[str, Any], ...] = ({"header": True}, {"header": False})


def names_are_requested(where: str, first: Sequence[str], options: CsvOptions) -> bool:
    """Return True if the options name columns of the first row."""
    requested = [options.target, *(options.drop or ())]
    if any(isinstance(each, str) and not is_position(each, len(first)) for each in requested):
        return True
    known = [name for name in options.features or () if name in first]
    if not known or len(known) == len(options.features or ()) or not all(map(options.is_number, known)):
        return bool(known)
    expected = "expected the names of the model's columns or a row of data"
    raise ReadError(Remark(f"{where}: {expected}, got {known[0]!r}, which could be either", EITHER))


def looks_like_names(
    where: str, rows: list[Row], column: int | None, options: CsvOptions
) -> tuple[bool, tuple[Remark, ...]]:
    """Judge the first row by the rules in `load`.

    Parameters
    ----------
    where : str
        The file and the line, for messages.
    rows : list of (line number, fields)
    column : int or None
        The column of the classes, if the first row holds no names.
    options : CsvOptions

    Returns
    -------
    bool
        Whether the row holds names.
    remarks : tuple of Remark

    Raises
    ------
    ReadError
        The row could be either.
    """
    first, below = rows[0][1], [fields for _, fields in rows[1:] if len(fields) == len(rows[0][1])]
    dropped = {int(each) % len(first) for each in options.drop or ()}  # positions: names were handled before
    at = [i for i in range(len(first)) if i != column and i not in dropped]
    numbers = [i for i in at if _is_any_number(first[i])]
    texts = [i for i in at if i not in numbers and options.is_text(first[i])]
    named = [i for i, field in enumerate(first) if field.lower() in TARGETS]  # not y: a class may be called y or n
    others = [i for i in range(len(first)) if i not in named[:1]]
    among_numbers = bool(others) and all(_is_any_number(first[i]) for i in others)
    if named and (not among_numbers or _counts_up(first, others)):
        return True, ()
    if first[0] in UNNAMED and _counts_up(first[1:], range(len(first) - 1)):  # an index without a name
        return True, ()
    either = f"{where}: expected column names or a row of data, got"
    if named or (texts and numbers):
        odd = named[0] if named else texts[0]
        alone = ({"target": odd},) if texts == [odd] and options.target is None else ()
        got = f"{where}, column {odd + 1}: expected column names or a row of numbers, got {first[odd]!r} among numbers"
        raise ReadError(Remark(got, (*EITHER, *alone)))
    if texts or not numbers:
        return bool(texts), ()

    again = column is not None and first[column] in (fields[column] for fields in below)
    fractions = [i for i in at if below and all(options.is_fraction(fields[i]) for fields in below)]
    numbered = _counts_up(first, at) or _counts_up(first, range(len(first)))
    if numbered and fractions and not again and len(first) > FEW - (column is not None):
        taken = f"{where} holds {', '.join(first[:2])}, ...: it was taken for column names"
        reason = f"since column {fractions[0] + 1} holds fractions below it"
        return True, (Remark(f"{taken}, {reason}", ({"header": False},), "takes it for a row"),)
    if numbered and not (again and column is not None and options.is_text(first[column])):
        more = ", ..." * (len(first) > 3)
        raise ReadError(Remark(f"{either} {', '.join(first[:3])}{more}, which could be either", EITHER))
    whole = all(is_whole_number(first[i]) for i in at)
    if whole and not again and len(below) >= FEW and fractions == at:  # for instance years above their columns
        raise ReadError(Remark(f"{either} whole numbers above fractions, which could be either", EITHER))
    return False, ()


def table_looks_like_names(
    where: str, rows: list[Row], column: int | None, options: CsvOptions
) -> tuple[bool, tuple[Remark, ...]]:
    """Judge the first row of a table whose columns are numbers or text, with gaps; see `looks_like_names`.

    Text above a column of numbers is a name, and so is text that does not occur in a column of few others. Text that
    occurs below, and a number above numbers, belong to a row.
    """
    first, below = rows[0][1], [fields for _, fields in rows[1:] if len(fields) == len(rows[0][1])]
    dropped = {int(each) % len(first) for each in options.drop or ()}
    at = [i for i in range(len(first)) if i not in dropped]
    columns = {i: [fields[i] for fields in below if not options.is_missing(fields[i])] for i in at}
    numeric = {i for i in at if columns[i] and all(_is_any_number(field) for field in columns[i])}
    if below and all(i in numeric or not columns[i] for i in at if i != column):
        return looks_like_names(where, rows, column, options)
    numbers = [i for i in at if _is_any_number(first[i])]
    texts = [i for i in at if i not in numbers and options.is_text(first[i])]
    if not numbers and (not below or any(first[i].lower() in TARGETS for i in at)):
        return True, ()
    if not below:
        return False, ()
    above_numbers = numeric.intersection(texts)
    recurs = any(first[i] in columns[i] for i in texts)
    among_few = any(2 * len(set(columns[i])) <= len(columns[i]) >= FEW for i in texts)
    measured = [i for i in numbers if i in numeric]
    if not above_numbers:
        fraction = any(options.is_fraction(first[i]) for i in measured)
        if recurs or (measured and (fraction or not among_few) and not _labels(first, measured, columns)):
            return False, ()
    if not (recurs or measured) and (above_numbers or among_few):
        return True, ()
    got = ", ".join(first[:3]) + ", ..." * (len(first) > 3)
    expected = f"{where}: expected column names or a row of data"
    raise ReadError(Remark(f"{expected}, got {got}, which could be either", EITHER))


def _labels(first: Sequence[str], at: Sequence[int], columns: Mapping[int, Sequence[str]]) -> bool:
    """Return True for whole numbers that may be names, such as years: all below are fractions, or they count up."""
    if not all(is_whole_number(first[i]) for i in at):
        return False
    steps = {int(first[after]) - int(first[before]) for before, after in zip(at, at[1:], strict=False)}
    fractions = any(not any(map(is_whole_number, columns[i])) for i in at)
    return fractions or (steps == {1} and (len(at) > 2 or int(first[at[0]]) >= FIRST_YEAR))


def check_first_class(file: Source, labels: Sequence[str]) -> None:
    """Refuse a first row that was taken for data if its class is the only one that occurs once."""
    counts = Counter(labels)
    if counts[labels[0]] == 1 and len(counts) > 1 and sorted(counts.values())[1] > 1:
        expected = f"{file}: expected column names or a row of data first"
        raise ReadError(Remark(f"{expected}, got {labels[0]!r}, which is a name or a class of a single row", EITHER))


def _is_any_number(text: str) -> bool:
    """Return True for a number by either decimal mark, infinity included: none of these is a name."""
    return any(CsvOptions(decimal=mark, infinite=True).is_number(text) for mark in ".,")


def _counts_up(first: Sequence[str], at: Sequence[int]) -> bool:
    """Return True if these fields are 0, 1, 2, ..."""
    return bool(at) and [first[i] for i in at] == [str(i) for i in range(len(at))]
