"""Cut a CSV file into rows of fields, and find the delimiter that does so."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import TextIO

from .csv_options import CsvOptions
from .dataset import ReadError, Remark, Source, opened_text

DELIMITERS = ",;\t|"
SAMPLE_ROWS = 21  # rows from which a file's form is inferred, a header included
_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)  # a first line that states the delimiter, written by spreadsheets

Row = tuple[int, list[str]]  # the number of its last line, and its fields


def iter_rows(file: Source, text: TextIO, delimiter: str, strict: bool = True) -> Iterator[Row]:
    """Yield (line number, fields) of every row.

    Blank lines are skipped, except in a file of one column: there a blank line may be a missing value, and is yielded
    as an empty field if rows follow it. `strict`, because a quote that is never closed would swallow the rows after it.
    """
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=strict)
    blank: list[int] = []
    width = 0
    try:
        for fields in reader:
            if reader.line_num == 1 and _SEPARATOR.fullmatch(delimiter.join(fields)):
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


def find_delimiter(file: Source, options: CsvOptions) -> tuple[str, list[Row]]:
    """Return the delimiter, and the first rows as it cuts them.

    Not by `csv.Sniffer`, which infers from letter frequencies and may take a digit for a delimiter.

    Raises
    ------
    ReadError
        Several delimiters cut the rows evenly into numbers.
    ValueError
        The file is empty or no CSV.
    """
    with opened_text(file) as text:
        start = text.read(4096)
        separator = _SEPARATOR.fullmatch(start.partition("\n")[0].strip().strip('"'))
    candidates = options.delimiter or (separator[1] if separator else DELIMITERS)
    if options.decimal == "," and candidates == DELIMITERS and '"' not in start:
        candidates = candidates.replace(",", "")  # a comma cuts numbers with a decimal comma, unless they are quoted
    samples = {delimiter: rows for delimiter in candidates if (rows := _sample(file, delimiter))}
    if not samples:
        with opened_text(file) as text:
            got = "text that is no CSV" if text.read().strip() else "an empty file"
        raise ValueError(f"{file}: expected rows of numbers, got {got}")
    widths = {delimiter: {len(fields) for _, fields in rows} for delimiter, rows in samples.items()}
    even = [delimiter for delimiter, found in widths.items() if len(found) == 1 and found != {1}]
    readings = {delimiter: decimal for delimiter in even if (decimal := _decimal_mark(samples[delimiter], options))}
    if len(readings) > 1:
        found = " or ".join(f"{len(samples[each][0][1])} columns cut at {each!r}" for each in readings)
        choices = tuple({"delimiter": delimiter, "decimal": decimal} for delimiter, decimal in readings.items())
        raise ReadError(Remark(f"{file}: expected rows that can be cut in one way, got {found}", choices))
    possible = readings or even or samples
    chosen = max(possible, key=lambda delimiter: len(samples[delimiter][0][1]))  # the comma, in a tie
    return chosen, samples[chosen]


def _sample(file: Source, delimiter: str) -> list[Row]:
    """Return the first rows; none if this delimiter makes a field longer than the csv module allows."""
    rows: list[Row] = []
    with opened_text(file) as text:
        try:
            for line, fields in iter_rows(file, text, delimiter, strict=False):
                rows.append((line, [field.strip() for field in fields]))
                if len(rows) == SAMPLE_ROWS:
                    break
        except ValueError as error:
            if isinstance(error.__cause__, csv.Error):
                return []
            raise
    return rows


def _decimal_mark(rows: list[Row], options: CsvOptions) -> str | None:
    """Return the decimal mark that makes numbers of all columns but one, below the first row; None if neither does."""
    below = [fields for _, fields in rows[1:] or rows]
    texts = {}
    for decimal in ".,"[options.decimal == "," :]:
        by_mark = CsvOptions(decimal=decimal, missing=options.missing)
        texts[decimal] = sum(any(map(by_mark.is_text, column)) for column in zip(*below, strict=True))
    best = min(texts, key=texts.__getitem__)  # the point, in a tie
    return best if texts[best] <= 1 < len(below[0]) else None
