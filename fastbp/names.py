"""Names of columns and classes: what a network may be given as such, and which columns that came are the ones it knows.

`MLP` and the command line match columns by the same function; it knows of neither frames nor files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .validation import as_list

MOST_LISTED = 10  # names in an error


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first few of many.

    Examples
    --------
    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(map(repr, names[:MOST_LISTED])) + more


def counted(number: int, what: str) -> str:
    """Return "1 row", "2 rows".

    Examples
    --------
    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, each once."""
    seen: set[str] = set()
    return list(dict.fromkeys(name for name in names if name in seen or seen.add(name)))  # type: ignore[func-returns-value]


def match(expected: Sequence[str], came: Sequence[str], argument: str = "X") -> tuple[list[int], list[str]]:
    """Find the columns that a network knows among those that came.

    Parameters
    ----------
    expected : sequence of str
        The network's `feature_names`.
    came : sequence of str
        The names that came, of which no two may be the same.
    argument : str, default "X"
        What errors call that which came.

    Returns
    -------
    order : list of int
        For each name expected, its place among those that came.
    extra : list of str
        The names that were not expected, in their order.

    Raises
    ------
    ValueError
        Names are missing, all of which it lists, or one came twice.

    Examples
    --------
    >>> match(["a", "b"], ["b", "id", "a"])
    ([2, 0], ['id'])
    >>> match(["a", "b"], ["b", "id"])
    Traceback (most recent call last):
    ...
    ValueError: X: got no column named 'a', expected all that the network was trained on: 'a', 'b'
    """
    if twice := repeated(came):
        raise ValueError(f"{argument}: got more than one column named {listed(twice)}, expected names that differ")
    places = {name: i for i, name in enumerate(came)}
    if missing := [name for name in expected if name not in places]:
        raise ValueError(f"{argument}: got no column named {listed(missing)}, expected all that the network was "
                         f"trained on: {listed(expected)}")  # fmt: skip
    known = set(expected)
    return [places[name] for name in expected], [name for name in came if name not in known]


def match_exactly(known: Sequence[str], came: Sequence[str], argument: str) -> list[int]:
    """Do what `match` does, and refuse names that are not known."""
    order, extra = match(known, came, argument)
    if extra:
        raise ValueError(f"{argument}: got columns that the network does not know, {listed(extra)}, expected only "
                         f"those that it was trained on: {listed(known)}")  # fmt: skip
    return order


def of_classes(value: Any, count: int) -> tuple[str, ...] | None:
    """Return `MLP.class_names` as a tuple of str: of any sequence of text or numbers, NumPy's too, one a class."""
    if value is None:
        return None
    names = _several("class_names", value)
    if len(names) != count:
        raise ValueError(f"class_names: got {len(names)} names, expected {count}, one a class")
    found = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    if twice := repeated(found):
        raise ValueError(f"class_names: got {listed(twice)} more than once, expected names that differ")
    return found


def of_features(value: Any, count: int) -> tuple[str, ...] | None:
    """Return `MLP.feature_names` as a tuple of str: of any sequence of text, NumPy's too, one a feature."""
    if value is None:
        return None
    names = _several("feature_names", value)
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"feature_names[{i}]: got {name!r}, expected str")
    if len(names) != count:
        raise ValueError(f"feature_names: got {len(names)} names, expected {count}, one a feature")
    if twice := repeated(names):
        raise ValueError(f"feature_names: got {listed(twice)} more than once, expected names that differ")
    return tuple(map(str, names))


def of_target(value: Any) -> str | None:
    """Return `MLP.target_name` as str."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"target_name: got {value!r}, expected str or None")
    return None if value is None else str(value)


def _several(argument: str, value: Any) -> list[Any]:
    unordered = isinstance(value, (set, frozenset))  # whose order differs from process to process
    names = None if unordered or isinstance(value, (str, bytes)) else as_list(value)
    if names is None:
        raise TypeError(f"{argument}: got {value!r}, expected a sequence of str")
    return names
