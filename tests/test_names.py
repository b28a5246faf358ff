"""Names of columns and classes: what is taken as such, and which columns that came are the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, CheckpointError
from fastbp.model import npz_file
from fastbp.names import listed, match, repeated


@pytest.mark.parametrize("expected", ["", "a", "ab", "abcde"])
def test_match_finds_every_column_wherever_it_lies(expected: str) -> None:
    rng = np.random.default_rng(len(expected))
    for _ in range(20):
        came = list(expected + "xyz")
        rng.shuffle(came)
        order, extra = match(expected, came)
        assert [came[i] for i in order] == list(expected)
        assert extra == [name for name in came if name in "xyz"]


def test_match_lists_all_that_is_missing() -> None:
    with pytest.raises(ValueError, match="^the file: got no column named 'b', 'd', expected all .*'a', 'b', 'c', 'd'$"):
        match("abcd", "cxa", "the file")
    many = [f"column {i}" for i in range(1000)]
    with pytest.raises(ValueError, match="'column 9' and 990 more, expected .* and 990 more$") as error:
        match(many, ["x"])
    assert len(str(error.value)) < 500


def test_names_that_came_twice_are_refused() -> None:
    assert repeated("abcbdaa") == ["b", "a"]
    assert listed(["a"]) == "'a'"
    for came in ("aab", "abxx"):
        with pytest.raises(ValueError, match=f"^X: got more than one column named '{'a' if came == 'aab' else 'x'}'"):
            match("ab", came)


CLASS_NAMES: dict[str, Any] = {
    "tuple": ("a", "b", "5"), "list": ["a", "b", "5"], "array": np.array(["a", "b", "5"]),
    "texts of NumPy": [np.str_("a"), np.str_("b"), np.str_("5")], "objects": np.array(["a", "b", 5], object),
    "bytes": np.array([b"a", b"b", b"5"]), "numbers": ["a", "b", np.int64(5)], "generator": iter(["a", "b", 5]),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLASS_NAMES)
def test_class_names_become_a_tuple_of_str(kind: str, tmp_path: Path) -> None:
    net = MLP((2, 3), seed=0)
    net.class_names = CLASS_NAMES[kind]
    net.save(tmp_path / "net.npz")
    for one in (net, fastbp.load(tmp_path / "net.npz")):
        assert one.class_names == ("a", "b", "5")
        assert {type(name) for name in one.class_names} == {str}


def test_names_go_through_a_file(tmp_path: Path) -> None:
    net = MLP((2, 3), seed=0)
    assert (net.class_names, net.feature_names, net.target_name) == (None, None, None)
    net.save(tmp_path / "net.npz")
    none = fastbp.load(tmp_path / "net.npz")
    assert (none.class_names, none.feature_names, none.target_name) == (None, None, None)
    net.feature_names, net.target_name = np.array(["größe, cm", ""]), np.str_("Art")
    net.save(tmp_path / "net.npz")
    back = fastbp.load(tmp_path / "net.npz")
    assert (back.feature_names, back.target_name) == (("größe, cm", ""), "Art")
    assert [type(name) for name in (*back.feature_names, back.target_name)] == [str] * 3


def test_a_file_of_before_names_has_none(tmp_path: Path) -> None:
    net = MLP((2, 3), seed=0)
    net.save(tmp_path / "net.npz")
    arrays, metadata = npz_file.read(tmp_path / "net.npz")
    del metadata["feature_names"], metadata["target_name"]
    npz_file.write(tmp_path / "old.npz", arrays, metadata)
    assert fastbp.load(tmp_path / "old.npz").feature_names is None


WRONG: dict[str, tuple[str, Any]] = {
    "a text": ("feature_names", "ab"), "too few": ("feature_names", ["a"]), "too many": ("feature_names", list("abc")),
    "numbers": ("feature_names", [0, 1]), "one twice": ("feature_names", ["a", "a"]), "a number": ("feature_names", 2),
    "a target of several": ("target_name", ["a"]), "a target's number": ("target_name", 5),
    "classes in a text": ("class_names", "abc"), "a number of classes": ("class_names", 3),
    "too few classes": ("class_names", ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_can_be_no_name_is_refused(what: str, tmp_path: Path) -> None:
    name, value = WRONG[what]
    net = MLP((2, 3), seed=0)
    with pytest.raises((TypeError, ValueError), match=f"^{name}"):
        setattr(net, name, value)
    assert getattr(net, name) is None
    net.save(tmp_path / "net.npz")
    arrays, metadata = npz_file.read(tmp_path / "net.npz")
    npz_file.write(tmp_path / "net.npz", arrays, metadata | {name: value})
    with pytest.raises(CheckpointError, match=f"not a network that fastbp can read: {name}"):
        fastbp.load(tmp_path / "net.npz")


def test_a_generator_is_one() -> None:
    net = MLP((2, 3), seed=0)
    for wrong in (5, None, np.random.RandomState(0)):
        with pytest.raises(TypeError, match=r"^rng: got .*, expected a numpy\.random\.Generator"):
            net.rng = wrong  # type: ignore[assignment]
    net.rng = np.random.default_rng(3)


@pytest.mark.parametrize("name", ["a\0", "\ud800", "b\udfffc"])
def test_class_names_that_no_file_or_array_can_hold_are_refused(name: str) -> None:
    net = MLP((2, 2))
    with pytest.raises(ValueError, match="class_names: got .*expected text without NUL and lone surrogates"):
        net.class_names = ["a", name]
