"""Names of columns and classes: checked, and matched to the names that a network was trained on.

`MLP` and the command line match columns by the same function, which handles neither frames nor files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .validation import as_list

MAX_LISTED = 10  # names in an error message


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first `MAX_LISTED` if there are more.

    Examples
    --------
    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(map(repr, names[:MAX_LISTED])) + more


def counted(number: int, what: str) -> str:
    """Return a number with a noun in the singular or plural.

    Examples
    --------
    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def repeated(names: Iterable[str]) -> list[str]:
    """Return the distinct names that occur more than once."""
    seen: set[str] = set()
    return list(dict.fromkeys(name for name in names if name in seen or seen.add(name)))  # type: ignore[func-returns-value]


def match(expected: Sequence[str], given: Sequence[str], argument: str = "X") -> tuple[list[int], list[str]]:
    """Find the columns that a network was trained on among those given.

    Parameters
    ----------
    expected : sequence of str
        The network's `feature_names`.
    given : sequence of str
        The names of the columns given, without repetition.
    argument : str, default "X"
        The name of the argument in error messages.

    Returns
    -------
    order : list of int
        For each expected name its position in `given`.
    extra : list of str
        The names in `given` that are not expected, in their order.

    Raises
    ------
    ValueError
        Names are missing, or one is given twice; the message lists them.

    Examples
    --------
    >>> match(["a", "b"], ["b", "id", "a"])
    ([2, 0], ['id'])
    >>> match(["a", "b"], ["b", "id"])
    Traceback (most recent call last):
    ...
    ValueError: X: got no column named 'a', expected all that the network was trained on: 'a', 'b'
    """
    if twice := repeated(given):
        raise ValueError(f"{argument}: got more than one column named {listed(twice)}, expected names that differ")
    places = {name: i for i, name in enumerate(given)}
    if missing := [name for name in expected if name not in places]:
        needed = f"all that the network was trained on: {listed(expected)}"
        raise ValueError(f"{argument}: got no column named {listed(missing)}, expected {needed}")
    known = set(expected)
    return [places[name] for name in expected], [name for name in given if name not in known]


def match_exactly(expected: Sequence[str], given: Sequence[str], argument: str) -> list[int]:
    """Return the order of `match`; raise ValueError for names that are not expected."""
    order, extra = match(expected, given, argument)
    if extra:
        allowed = f"only those that it was trained on: {listed(expected)}"
        raise ValueError(f"{argument}: got columns that the network does not know, {listed(extra)}, expected {allowed}")
    return order


def of_classes(value: Any, count: int) -> tuple[str, ...] | None:
    """Return `MLP.class_names` as a tuple of str, from a sequence with one text or number for each class."""
    if value is None:
        return None
    names = _as_sequence("class_names", value)
    if len(names) != count:
        raise ValueError(f"class_names: got {len(names)} names, expected {count}, one for each class")
    found = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    if twice := repeated(found):
        raise ValueError(f"class_names: got {listed(twice)} more than once, expected names that differ")
    for name in found:  # arrays of NumPy drop the one, and no file can hold the other
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"class_names: got {name!r}, expected text without NUL and lone surrogates")
    return found


def of_features(value: Any, count: int) -> tuple[str, ...] | None:
    """Return `MLP.feature_names` as a tuple of str, from a sequence with one text for each feature."""
    if value is None:
        return None
    names = _as_sequence("feature_names", value)
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"feature_names[{i}]: got {name!r}, expected str")
    if len(names) != count:
        raise ValueError(f"feature_names: got {len(names)} names, expected {count}, one for each feature")
    if twice := repeated(names):
        raise ValueError(f"feature_names: got {listed(twice)} more than once, expected names that differ")
    return tuple(map(str, names))


def of_target(value: Any) -> str | None:
    """Return `MLP.target_name` as str or None."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"target_name: got {value!r}, expected str or None")
    return None if value is None else str(value)


def _as_sequence(argument: str, value: Any) -> list[Any]:
    unordered = isinstance(value, (set, frozenset))  # the order of a set differs from process to process
    names = None if unordered or isinstance(value, (str, bytes)) else as_list(value)
    if names is None:
        raise TypeError(f"{argument}: got {value!r}, expected a sequence of str")
    return names
