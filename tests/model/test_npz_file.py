"""Checkpoint files: exact to the bit, and written where they are told."""

from __future__ import annotations

import doctest
import errno
import json
import math
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastbp.model import npz_file
from fastbp.model.npz_file import CheckpointError, read, write
from support.npz_cases import assert_same, content, posix_only


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(npz_file)
    assert result.attempted >= 5
    assert result.failed == 0


# Round trips
ARRAYS = {
    "float32": np.array([[0.1, -0.0], [math.inf, 1e-45]], np.float32),
    "float64": np.array([5e-324, -math.inf, 1e308]),
    "float16": np.arange(4, dtype=np.float16),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "uint8": np.arange(256, dtype=np.uint8).reshape(2, 8, 16),
    "bool": np.array([True, False]),
    "complex64": np.array([1 + 2j], np.complex64),
    "unicode": np.array([["", "é"], ["\N{SNOWMAN}\N{BUTTERFLY}", "a b"]]),
    "bytes": np.array([b"", b"\xff\x01"]),
    "scalar": np.array(-0.0),
    "scalar text": np.array("text"),
    "empty": np.zeros((3, 0, 2), np.float32),
    "empty text": np.array([], dtype="U"),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(60.0).reshape(6, 10)[::-2, 1::3],
    "broadcast": np.broadcast_to(np.float32(2), (3, 4)),
    "big-endian": np.arange(5, dtype=">f8"),
    "big-endian text": np.array(["ab", "c"]).astype(">U2"),
    "nan payloads": np.array([0x7FF0000000000001, 0x7FF8DEADBEEF0000, 0xFFFFFFFFFFFFFFFF], np.uint64).view(float),
    "signalling nan": np.array([0x7F800001, 0xFFC12345], np.uint32).view(np.float32),
    "big-endian nan": np.array([0x7FF0000000000001], ">u8").view(">f8"),
    "read-only": np.frombuffer(b"12345678", dtype=np.int32),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_round_trip_is_exact(path: Path, name: str) -> None:
    array = ARRAYS[name]
    before = array.tobytes()
    write(path, {"x": array}, {})
    back = read(path)
    assert_same(back, ({"x": array}, {}))
    x = back[0]["x"]
    assert type(x) is np.ndarray
    assert x.flags.c_contiguous and x.flags.writeable and x.flags.owndata and x.dtype.isnative
    assert array.tobytes() == before


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_round_trip_of_anything(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    dtypes = hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufcSU" and dtype.char not in "gG")
    shapes = hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
    names = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}\Z").filter(lambda name: name != "metadata")
    arrays = data.draw(st.dictionaries(names, hnp.arrays(dtypes, shapes), max_size=3))
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    nested = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
    metadata = data.draw(st.dictionaries(st.text(), nested, max_size=3))
    path = tmp_path_factory.mktemp("any") / "model"
    write(path, arrays, metadata)
    assert_same(read(path), (arrays, metadata))


def test_metadata_of_all_kinds(path: Path) -> None:
    metadata = {"a": [1, 2.5, None, True, {"b": []}], "format": "mine", "sha256": 0, "ü\ud800": "\0", "inf": math.inf}
    write(path, {}, {**metadata, "nan": math.nan, "tuple": (1, 2), "large": 2**80})
    arrays, back = read(str(path))
    assert arrays == {}
    assert math.isnan(back.pop("nan"))
    assert back == {**metadata, "tuple": [1, 2], "large": 2**80}


def test_numpy_opens_it_too(saved: Path) -> None:
    with np.load(saved, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["weights_0"], content()[0]["weights_0"])
        header = json.loads(file["metadata"].item())
    assert header["format"] == "fastbp"
    assert header["format_version"] == 1
    assert header["metadata"] == content()[1]


def test_same_content_same_bytes(tmp_path: Path) -> None:
    arrays, metadata = content()
    write(tmp_path / "a", arrays, metadata)
    other = {name: np.array(array, order="F") for name, array in reversed(arrays.items())}
    other["weights_0"] = other["weights_0"].astype(">f4")
    write(tmp_path / "b", other, dict(reversed(metadata.items())))
    same = (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert same  # apart: pytest takes minutes to show where binary files differ
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    write(tmp_path / "b", other, {**metadata, "seed": 1})
    same = (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not same


# The file's place
@pytest.mark.parametrize("name", ["model", "model.npz", "model.fastbp", ".hidden", "mödel\N{SNOWMAN}", "x" * 255])
def test_name_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, *content())
    assert os.listdir(tmp_path) == [name]
    assert_same(read(tmp_path / name), content())


def test_relative_path_and_str(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("model.npz", *content())
    assert_same(read("model.npz"), content())


@posix_only
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_any_new_file(path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write(path, *content())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix_only
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_replaced_file_keeps_its_permissions(saved: Path, mode: int) -> None:
    saved.chmod(mode)
    write(saved, *content(1))
    assert stat.S_IMODE(saved.stat().st_mode) == mode
    assert_same(read(saved), content(1))


@posix_only
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_symlink_is_written_through(tmp_path: Path, relative: bool, exists: bool) -> None:
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "real.npz"
    if exists:
        write(real, *content())
    link = tmp_path / "link"
    link.symlink_to("far/real.npz" if relative else real)
    write(link, *content(1))
    assert link.is_symlink()
    assert not real.is_symlink()
    assert_same(read(real), content(1))
    assert_same(read(link), content(1))
    assert sorted(os.listdir(tmp_path)) == ["far", "link"]
    assert os.listdir(tmp_path / "far") == ["real.npz"]


@posix_only
def test_symlink_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop") as caught:
        write(tmp_path / "loop", *content())
    assert caught.value.errno == errno.ELOOP
    assert os.listdir(tmp_path) == ["loop"]


@posix_only
def test_pipe_is_neither_replaced_nor_read(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="model.npz: not a regular file"):
        write(path, *content())
    with pytest.raises(CheckpointError, match="model.npz: not a regular file"):
        read(path)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="got a folder.*" + tmp_path.name):
        write(tmp_path, *content())
    with pytest.raises(IsADirectoryError, match="got a folder.*" + tmp_path.name):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing.npz"):
        read(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match="folder does not exist.*nowhere"):
        write(tmp_path / "nowhere" / "model.npz", *content())
    assert os.listdir(tmp_path) == []
