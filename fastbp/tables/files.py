"""Tables in CSV files as columns of numbers or text, with gaps; `datasets.load` reads finite numbers alone."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..datasets import readers
from ..datasets.csv_delimiter import iter_rows
from ..datasets.csv_form import Form, form_of
from ..datasets.csv_header import check_first_class, table_looks_like_names
from ..datasets.csv_options import CsvOptions, checked_options
from ..datasets.csv_reader import target_missing
from ..datasets.csv_rows_apart import remarks_on_numbers, remarks_on_texts
from ..datasets.dataset import Content, ReadError, Remark, Source, opened_text
from ..names import counted
from .columns import Columns

Array = NDArray[Any]

ROWS_AT_ONCE = 4096
MOSTLY_NUMBERS = 0.9  # of the rows of a column of text, which a few odd ones make text
MOST_ODD = 3  # texts among numbers that a remark names
TRUTHS = {"true": "True", "false": "False"}  # as bools of frames are read


class TableData(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    columns : Columns
        The features.
    target : array (n,) or None
        float64 if all are numbers, else of dtype object with str.
    target_name : str or None
    unused : tuple of str
        The names of the other columns.
    remarks : tuple of Remark
    """

    columns: Columns
    target: Array | None
    target_name: str | None
    unused: tuple[str, ...]
    remarks: tuple[Remark, ...]


def read_table(
    path: str | os.PathLike[str] | Content,
    target: str | int | None = None,
    *,
    labelled: bool = True,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    missing: Sequence[str] | None = None,
    drop: Sequence[str | int] | None = None,
    features: Sequence[str] | None = None,
    text: Collection[int] = (),
    numeric: Collection[int] = (),
) -> TableData:
    """Read a table from a CSV file.

    A column is of numbers if all of its values are, infinities included, and of text otherwise. true and false, in any
    case, are the texts "True" and "False".

    Parameters
    ----------
    path : str, path or Content
    target, labelled, header, delimiter, decimal, missing, drop, features
        As in `datasets.load`; missing values are gaps in features, and refused in the target.
    text, numeric : collection of int
        Columns that a model takes for text, whatever they hold, or for numbers: text there is refused. Each is a
        position among the features.

    Raises
    ------
    ReadError, TypeError, ValueError, FileNotFoundError
        As `datasets.load` does, but for gaps, text and infinities.

    Examples
    --------
    >>> lines = b"age,town,member", b"30,Rome,yes", b",Paris,no", b"41.5,,no", b"33,Rome,yes"
    >>> found = read_table(Content("people", bytes([10]).join(lines)))
    >>> found.columns.names, found.columns.arrays
    (('age', 'town'), (array([30. ,  nan, 41.5, 33. ]), array(['Rome', 'Paris', None, 'Rome'], dtype=object)))
    >>> found.target_name, found.target.tolist()
    ('member', ['yes', 'no', 'no', 'yes'])
    """
    options = checked_options(target, labelled, header, delimiter, decimal, missing, drop, features)
    options = replace(options, infinite=True)
    file: Source = path if isinstance(path, Content) else Path(path)
    if isinstance(file, Path):
        if not file.exists():
            raise FileNotFoundError(f"path: expected a CSV file; there is nothing at {str(path)!r}")
        if file.name.lower().endswith(readers.TABS) and options.delimiter is None:
            options = replace(options, delimiter="\t")
    form = form_of(file, options, table_looks_like_names)
    gaps: set[str] = set()
    columns = [
        _Column(file, form, options, at, place in text, place in numeric, gaps)
        for place, at in enumerate(form.features)
    ]
    wanted = None if form.target is None else _Column(file, form, options, form.target, False, False, gaps)
    _read(file, form, columns if wanted is None else [*columns, wanted])
    arrays = tuple(column.array() for column in columns)
    remarks = [*form.remarks]
    if options.labelled and options.features is None:
        for column in columns:
            remarks.extend(column.remarks())
        remarks += [*remarks_on_numbers(file, arrays, form), *remarks_on_texts(file, arrays, form)]
    names = None if form.names is None else tuple(form.names[at] for at in form.features)
    if wanted is None or form.target is None:
        return TableData(Columns(names, arrays), None, None, form.unused, tuple(remarks))
    targets = wanted.array()
    if form.header_guessed and form.names is None and targets.dtype == object:
        check_first_class(file, targets.tolist())
    target_name = None if form.names is None else form.names[form.target]
    return TableData(Columns(names, arrays), targets, target_name, form.unused, tuple(remarks))


def _read(file: Source, form: Form, columns: Sequence[_Column]) -> None:
    """Read all columns; once more those that turn out to be text after some rows, whose texts were not kept."""
    rows = 0
    for lines, fields in _blocks(file, form):
        for column in columns:
            column.add(lines, fields[column.at])
        rows += len(lines)
    if not rows:
        got = f"{file}: expected rows of data under the header, got none"
        raise ReadError(Remark(got, ({"header": False},) if form.header_guessed else (), "takes it for a row"))
    if late := [column for column in columns if column.late]:
        for _, fields in _blocks(file, form):
            for column in late:
                column.add_texts(fields[column.at])


def _blocks(file: Source, form: Form) -> Iterator[tuple[list[int], list[tuple[str, ...]]]]:
    """Give the numbers of lines, and the fields of each column, of some rows after the other."""
    with opened_text(file) as text:
        rows = itertools.islice(iter_rows(file, text, form.delimiter), form.names is not None, None)
        while block := list(itertools.islice(rows, ROWS_AT_ONCE)):
            for line, fields in block:
                if len(fields) != form.width:
                    expected = f"{file}: line {line}: expected {counted(form.width, 'column')}"
                    raise ValueError(f"{expected}, got {len(fields)}")
            yield [line for line, _ in block], list(zip(*(fields for _, fields in block), strict=True))


class _Column:
    """A column that is read in blocks of rows: numbers until a text comes.

    Attributes
    ----------
    at : int
        Its position in the file.
    late : bool
        Whether the texts of rows before the first one that is no number are still to be read.
    """

    def __init__(
        self, file: Source, form: Form, options: CsvOptions, at: int, text: bool, numeric: bool, gaps: set[str]
    ):
        self.at, self.late = at, False
        self._file, self._form, self._options = file, form, options
        self._other = CsvOptions(decimal="." if options.decimal == "," else ",")
        self._is_target, self._numeric = at == form.target, numeric
        self._numbers: list[NDArray[np.float64]] | None = None if text else []
        self._texts: list[str | None] = []
        self._cell = _Cells(options, gaps)
        self._gaps = gaps
        self._place = ""  # of the first text

    def add(self, lines: Sequence[int], fields: Sequence[str]) -> None:
        """Take the fields of some rows, the numbers of whose lines are for messages."""
        if self._is_target:
            self._check_gaps(lines, fields)
        if self._numbers is not None:
            try:
                values = _numbers(fields, self._options, self._gaps)
            except ValueError:
                self._found_text(lines, fields)
            else:
                if self._is_target and not np.isfinite(values).all():
                    row = int(np.isinf(values).argmax())
                    place = self._form.place(self._file, lines[row], self.at)
                    raise ReadError(f"{place}: expected a finite number as the target, got {fields[row].strip()!r}")
                self._numbers.append(values)
        if self._numbers is None and not self.late:
            self.add_texts(fields)

    def add_texts(self, fields: Sequence[str]) -> None:
        """Take the fields of some rows for texts."""
        self._texts.extend(map(self._cell.__getitem__, fields))

    def _found_text(self, lines: Sequence[int], fields: Sequence[str]) -> None:
        """Go over from numbers to text, or refuse it."""
        row = next(i for i, field in enumerate(fields) if self._options.is_text(field.strip()))
        found = fields[row].strip()
        self._place = self._form.place(self._file, lines[row], self.at)
        if self._numeric:
            got = f"{self._place}: expected a number, as the model takes this column for, got {found!r}"
            if self._other.is_number(found):
                raise ReadError(Remark(got, *self._by_other_mark(found)))
            raise ReadError(Remark(got, ({"missing": (found,)},), "takes it for a missing value"))
        self.late, self._numbers = bool(self._numbers), None

    def _check_gaps(self, lines: Sequence[int], fields: Sequence[str]) -> None:
        for line, field in zip(lines, fields, strict=True):
            if self._options.is_missing(field.strip()):
                raise target_missing(self._form.place(self._file, line, self.at), field.strip())

    def array(self) -> Array:
        """Return the column; refuse one whose texts are numbers by the other decimal mark."""
        if self._numbers is not None:
            return np.concatenate(self._numbers)
        if self._place:
            self._check_decimal_mark()
        texts = np.empty(len(self._texts), object)
        texts[:] = self._texts
        return texts

    def _check_decimal_mark(self) -> None:
        texts = {text for text in self._texts if text is not None}
        if all(map(self._other.is_number, texts)):
            found = next(text for text in self._texts if text is not None and not self._options.is_number(text))
            expected = f"{self._place}: expected a number with the decimal mark {self._options.decimal!r}"
            raise ReadError(Remark(f"{expected}, got {found!r}", *self._by_other_mark(found)))

    def _by_other_mark(self, found: str) -> tuple[tuple[dict[str, Any], ...], str]:
        """Return the choice and the effect of a remark on a number with the other decimal mark."""
        return ({"decimal": self._other.decimal},), f"reads it as {self._other.number(found)!r}"

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark if few texts among numbers make a column text."""
        if self._numbers is not None or not self._place:
            return
        counts = Counter(text for text in self._texts if text is not None)
        odd = [text for text in counts if not self._options.is_number(text)]
        if sum(counts[text] for text in odd) <= (1 - MOSTLY_NUMBERS) * counts.total():
            told = f"{self._place}: got {odd[0]!r} in a column of numbers, which was therefore taken for text"
            choices = ({"missing": (*odd, *sorted(self._gaps))},) if len(odd) <= MOST_ODD else ()
            yield Remark(told, choices, f"takes {'it' if len(odd) == 1 else 'such texts'} for missing")


class _Cells(dict[str, "str | None"]):
    """The text of each field that occurs in a column of text: equal ones are one object."""

    def __init__(self, options: CsvOptions, gaps: set[str]):
        self._options, self._gaps = options, gaps

    def __missing__(self, field: str) -> str | None:
        text = field.strip()
        value: str | None = TRUTHS.get(text.lower(), text)
        if self._options.is_missing(text):
            value = None
            self._gaps.update(filter(None, [text]))
        self[field] = value
        return value


def _numbers(fields: Sequence[str], options: CsvOptions, gaps: set[str]) -> NDArray[np.float64]:
    """Return fields as numbers, NaN for gaps, whose texts are added to `gaps`; raise ValueError for text."""
    convert: Callable[[str], float] = options.number
    if not options.missing_numbers:
        try:
            values = np.array(list(map(convert, fields)))
        except ValueError:  # text or a gap
            pass
        else:
            if np.isfinite(values).all() and "_" not in "".join(fields):
                return values
    known: dict[str, float] = {}
    for field in set(fields):
        text = field.strip()
        if options.is_missing(text):
            known[field] = np.nan
            gaps.update(filter(None, [text]))
        elif options.is_number(text):
            known[field] = convert(text)
        else:
            raise ValueError(text)
    return np.array([known[field] for field in fields])
