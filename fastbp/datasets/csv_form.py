"""Find out how a CSV file is written and what its columns are: from the options, else from its first rows.

A file that could be read in two ways is refused, with both readings named. A guess that is all but certain is remarked
on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..names import counted, match, repeated
from .csv_delimiter import Row, find_delimiter, iter_rows
from .csv_header import TARGETS, UNNAMED, looks_like_names, names_are_requested
from .csv_options import CsvOptions, is_position, is_whole_number
from .dataset import ReadError, Remark, Source, opened_text


class Form(NamedTuple):
    """How a file is written, and what its columns are.

    Attributes
    ----------
    delimiter : str
    names : list of str or None
        The first row, if it holds names.
    header_guessed : bool
        Whether `names` was inferred from the rows alone.
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

    def place(self, file: Source, line: int, column: int) -> str:
        """Return in words where a field is."""
        return f"{file}: line {line}, column {column + 1}" + (f" ({self.names[column]!r})" if self.names else "")


HoldsNames = Callable[[str, list[Row], int | None, CsvOptions], tuple[bool, tuple[Remark, ...]]]


def form_of(file: Source, options: CsvOptions, holds_names: HoldsNames = looks_like_names) -> Form:
    """Return the form of a file; `holds_names` judges its first row where the options leave that open.

    Raises
    ------
    ReadError
        It could be read in two ways.
    ValueError
        The options do not fit the file, or it is no CSV.
    """
    delimiter, rows = find_delimiter(file, options)
    line, first = rows[0]
    where, header = f"{file}: line {line}", options.header
    remarks: tuple[Remark, ...] = ()
    if header is None and names_are_requested(where, first, options):
        header = True
    guessed = header is None
    if header is None:
        header, remarks = holds_names(where, rows, _target(file, None, rows, options), options)
    names = first if header else None
    target = _target(file, names, rows, options)
    features, unused = _features(file, names, len(first), target, options)
    if names is not None:
        _check_distinct(where, names, [*features, *([] if target is None else [target])])
        if options.features is None and options.drop != () and names[0] in UNNAMED and 0 in features:
            found = f"{file}: the first column has no name and"
            if _is_index(file, delimiter):
                features.remove(0)
                unused = (names[0], *unused)
                left_out = f"{found} only numbers the rows: it was left out"
                remarks = (*remarks, Remark(left_out, ({"drop": ()},), "keeps it"))
            elif features != [0]:
                remarks = (*remarks, Remark(f"{found} was taken for a feature", ({"drop": (0,)},), "leaves it out"))
    if not features:
        got = f"got {counted(len(first), 'column')} (delimiter {delimiter!r})"
        spaces = ({"delimiter": " "},) if len(first) == 1 and " " in first[0] else ()
        expected = f"{file}: expected a feature column beside the target"
        raise ReadError(Remark(f"{expected}, {got}", spaces, "cuts the lines at spaces"))
    return Form(delimiter, names, guessed, len(first), target, features, unused, remarks)


def _check_distinct(where: str, names: Sequence[str], used: Sequence[int]) -> None:
    """Refuse two columns of the same name among those that are used."""
    if twice := repeated(names[i] for i in used):
        called = f"named {twice[0]!r}" if twice[0] else "without a name"
        places = [i for i in used if names[i] == twice[0]]
        got = f"{where}: got {len(places)} columns {called}, expected names that differ"
        raise ReadError(Remark(got, ({"drop": (max(places),)},), "leaves one of them out"))


def _target(file: Source, names: Sequence[str] | None, rows: list[Row], options: CsvOptions) -> int | None:
    """Return the column of the classes: the one requested, else by its name, else the last."""
    width = len(rows[0][1])
    if options.target is not None:
        return _column("target", options.target, file, names, width)
    if not options.labelled:
        return None
    lowered = [name.lower() for name in names or ()]
    named = next((lowered.index(name) for name in TARGETS if name in lowered), None)
    if named is None and "y" in lowered and _y_is_target(lowered, rows[1:], options):
        named = lowered.index("y")
    return width - 1 if named is None else named


def _y_is_target(lowered: list[str], below: list[Row], options: CsvOptions) -> bool:
    """Return True if y is the first or last column, and no coordinate beside an x with a text column after them."""
    y = lowered.index("y")
    if y not in (0, len(lowered) - 1):
        return False
    after = range(y + 1, len(lowered))
    text = any(options.is_text(fields[i]) for _, fields in below for i in after if i < len(fields))
    return not ("x" in lowered and text)


def _features(
    file: Source, names: Sequence[str] | None, width: int, target: int | None, options: CsvOptions
) -> tuple[list[int], tuple[str, ...]]:
    """Return the columns of X, and the names of those that are not used."""
    dropped = {_column("drop", each, file, names, width): each for each in options.drop or ()}
    if target in dropped:
        raise ValueError(f"drop: expected other columns of {file} than that of the classes, got {dropped[target]!r}")
    if names is None or options.features is None:
        features = [i for i in range(width) if i != target and i not in dropped]
    else:
        if twice := repeated(name for name in names if name in options.features):
            raise ValueError(f"{file}: got more than one column named {twice[0]!r}, expected names that differ")
        match(options.features, list(dict.fromkeys(names)), str(file))
        features = [names.index(name) for name in options.features]
        for argument, column in (("target", target), *(("drop", each) for each in dropped)):
            if column in features:
                raise ValueError(f"{argument}: expected other columns than the features, got {names[column]!r}")
    used = {target, *features, *dropped}
    return features, tuple(name for i, name in enumerate(names or ()) if i not in used)


def _is_index(file: Source, delimiter: str) -> bool:
    """Return True if the first column holds distinct whole numbers below the header, in any order."""
    found: set[int] = set()
    with opened_text(file) as text:
        for count, (_, fields) in enumerate(iter_rows(file, text, delimiter)):
            number = fields[0].strip()
            if count and not (is_whole_number(number) and len(number) < 20):
                return False
            found |= {int(number)} if count else set()
    return len(found) == count


def _column(argument: str, column: str | int, file: Source, names: Sequence[str] | None, width: int) -> int:
    """Return the position of a column given by its name, or by its position from 0 or from the end."""
    if names is not None and column in names:
        return names.index(str(column))
    if isinstance(column, str) and not is_whole_number(column):
        known = "no header" if names is None else "columns " + ", ".join(map(repr, names[:20]))
        raise ValueError(f"{argument}: expected a column of {file} ({known}), got {column!r}")
    if not is_position(column, width):
        raise ValueError(f"{argument}: expected a position from {-width} to {width - 1} in {file}, got {column!r}")
    return int(column) % width
