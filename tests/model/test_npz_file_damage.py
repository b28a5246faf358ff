"""Damaged and foreign checkpoint files, none of which is read without a word, and wrong arguments."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.model.npz_file import CheckpointError, read, write
from support.npz_cases import Fault, assert_same, content


# Files that are no whole checkpoint
@pytest.mark.parametrize("twentieth", range(20))
def test_cut_short(saved: Path, twentieth: int) -> None:
    whole = saved.read_bytes()
    for length in {len(whole) * twentieth // 20, max(0, len(whole) * (twentieth + 1) // 20 - 1)}:
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.npz: cut short"):
            read(saved)


def test_a_changed_byte_is_noticed_wherever_it_means_something(saved: Path) -> None:
    whole = saved.read_bytes()
    generator = random.Random(5)
    noticed = 0
    positions = {*range(60), *range(len(whole) - 400, len(whole)), *generator.sample(range(len(whole)), 400)}
    for position in sorted(positions):
        changed = bytearray(whole)
        changed[position] ^= generator.choice([1, 0x80, 0xFF, generator.randrange(1, 256)])
        saved.write_bytes(changed)
        try:
            back = read(saved)
        except CheckpointError as error:
            assert str(error).startswith(f"{saved}: ")
            noticed += 1
        else:
            assert_same(back, content())  # a date, a permission: nothing that is read
    assert noticed > len(positions) / 2


def repack(path: Path, change: Callable[[dict[str, bytes]], object], compression: int = zipfile.ZIP_STORED) -> None:
    """Write the zip anew with changed entries, so that its checksums fit."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def npy(array: Any, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def changed_header(entries: dict[str, bytes], **changes: Any) -> None:
    header = json.loads(np.load(io.BytesIO(entries["metadata.npy"])).item())
    entries["metadata.npy"] = npy(np.array(json.dumps({**header, **changes})))


def test_repacking_alone_changes_nothing(saved: Path) -> None:
    repack(saved, lambda entries: None)
    assert_same(read(saved), content())


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update({"biases_0.npy": npy(content()[0]["biases_0"] + 1e-12)}),
        lambda e: e.update({"biases_0.npy": npy(content()[0]["biases_0"].view(np.int64))}),
        lambda e: e.update({"weights_0.npy": npy(content()[0]["weights_0"].reshape(5, 3))}),
        lambda e: e.update({"weights_0.npy": npy(np.asfortranarray(content()[0]["weights_0"]))}),
        lambda e: e.update({"weights_1.npy": e.pop("weights_0.npy")}),
        lambda e: e.pop("weights_0.npy"),
        lambda e: e.update({"more.npy": npy(np.zeros(1))}),
        lambda e: changed_header(e, metadata={**content()[1], "l2": 0.2}),
        lambda e: changed_header(e, sha256="0" * 64),
        lambda e: changed_header(e, sha256=None),
        lambda e: changed_header(e, extra=1),
    ],
)
def test_altered_with_fitting_checksums(saved: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    repack(saved, change)
    with pytest.raises(CheckpointError, match=r"model\.npz: altered or damaged: .* digest"):
        read(saved)


@pytest.mark.parametrize("version", [2, 1000])
def test_newer_format(saved: Path, version: int) -> None:
    repack(saved, lambda entries: changed_header(entries, format_version=version))
    with pytest.raises(CheckpointError, match=f"model.npz: written by a newer fastbp: its format_version is {version}"):
        read(saved)


@pytest.mark.parametrize("version", [0, -1, "1", None, 1.0])
def test_format_version_that_never_was(saved: Path, version: Any) -> None:
    repack(saved, lambda entries: changed_header(entries, format_version=version))
    with pytest.raises(CheckpointError, match="altered: its format_version is"):
        read(saved)


class Bomb:
    """Unpickling it would show."""

    exploded = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Bomb, "exploded", True)


@pytest.mark.parametrize("entry", ["weights_0.npy", "metadata.npy"])
def test_objects_are_never_unpickled(saved: Path, entry: str) -> None:
    data = npy(np.array([Bomb()], dtype=object), allow_pickle=True)
    pickle.loads(pickle.dumps(Bomb()))
    assert Bomb.exploded  # it works
    Bomb.exploded = False
    repack(saved, lambda entries: entries.update({entry: data}))
    expected = "holds Python objects" if entry == "weights_0.npy" else "not a fastbp checkpoint"
    with pytest.raises(CheckpointError, match=f"model.npz: .*{expected}"):
        read(saved)
    assert not Bomb.exploded


def save_zip(path: Path, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"Dear Sir or Madam"),
        lambda path: path.write_bytes(npy(np.zeros(3))),
        lambda path: path.write_bytes(pickle.dumps({"w": 1})),
        lambda path: path.write_bytes(bytes(1000)),
        lambda path: np.savez(path, w=np.zeros(3)),
        lambda path: np.savez_compressed(path, w=np.zeros(3)),
        lambda path: np.savez(path, metadata=np.zeros(3)),
        lambda path: np.savez(path, metadata=np.array("{}")),
        lambda path: np.savez(path, metadata=np.array('{"format": "other"}')),
        lambda path: np.savez(path, metadata=np.array('["fastbp"]')),
        lambda path: np.savez(path, metadata=np.array("[" * 100_000)),
        lambda path: np.savez(path, metadata=np.array({"format": "fastbp"}, dtype=object)),
        lambda path: save_zip(path, {}),
        lambda path: save_zip(path, {"metadata": b"{}"}),
        lambda path: save_zip(path, {"word/document.xml": b"<xml/>"}),
    ],
)
def test_file_of_another_program(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    with pytest.raises(CheckpointError, match=r"model\.npz: not a fastbp checkpoint"):
        read(path)


def test_compressed_bomb_takes_no_memory(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = npy(np.zeros(10_000_000, np.uint8))
    repack(saved, lambda entries: entries.update({"weights_0.npy": bomb}), zipfile.ZIP_DEFLATED)
    assert saved.stat().st_size < 100_000
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(CheckpointError, match=r"model\.npz: not written by fastbp, or a zip bomb.*compressed"):
        read(saved)


def test_overlapping_entries_take_no_memory(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        for k in range(50):  # fifty names for the same bytes
            info = zipfile.ZipInfo(f"copy_{k}.npy")
            original = archive.getinfo("classes.npy")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(info, field, getattr(original, field))
            archive.filelist.append(info)
        archive._didModify = True  # type: ignore[attr-defined]
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(CheckpointError, match=r"model\.npz: damaged, or a zip bomb: its entries claim"):
        read(saved)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(3, 4)", "()", "(-1,)", "(-2, -4)", "(0, 1000000000000000000)"])
def test_array_header_that_claims_another_size(saved: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    data = b"\x93NUMPY\x01\x00" + len(header + "\n").to_bytes(2, "little") + header.encode() + b"\n" + bytes(64)
    repack(saved, lambda entries: entries.update({"biases_0.npy": data}))
    with pytest.raises(CheckpointError, match=r"model\.npz: damaged"):
        read(saved)


@pytest.mark.parametrize(("descr", "size"), [("|V8", 8), ("<U0", 0), ("<M8[s]", 8), ("<f16", 16), ("nonsense", 8)])
def test_array_of_a_dtype_that_is_never_written(saved: Path, descr: str, size: int) -> None:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (1,), }}\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(size)
    repack(saved, lambda entries: entries.update({"biases_0.npy": data}))
    with pytest.raises(CheckpointError, match=r"model\.npz: (not written by fastbp|damaged)"):
        read(saved)


def test_two_entries_of_one_name(saved: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(saved, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("steps.npy", archive.read("steps.npy"))
    with pytest.raises(CheckpointError, match="two entries of one name"):
        read(saved)


def test_trouble_of_the_disk_is_no_damage(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile.ZipFile, "read", Fault(print, OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error") as caught:
        read(saved)
    assert not isinstance(caught.value, CheckpointError)


# Arguments
@pytest.mark.parametrize(
    ("error", "message", "arrays", "metadata"),
    [
        (TypeError, "arrays: got list", [], {}),
        (TypeError, "arrays: got list for 'x'", {"x": [1.0]}, {}),
        (TypeError, "arrays: got MaskedArray for 'x'", {"x": np.ma.masked_array([1.0], [True])}, {}),
        (TypeError, "arrays: got the name 3", {3: np.zeros(1)}, {}),
        (ValueError, "arrays: got the name ''", {"": np.zeros(1)}, {}),
        (ValueError, "arrays: got the name 'a/b'", {"a/b": np.zeros(1)}, {}),
        (ValueError, "arrays: got the name '..'", {"..": np.zeros(1)}, {}),
        (ValueError, "arrays: got the name 'metadata'", {"metadata": np.zeros(1)}, {}),
        (TypeError, "arrays: got dtype object for 'x'", {"x": np.array([None])}, {}),
        (TypeError, "arrays: got dtype .* for 'x'", {"x": np.zeros(1, [("a", float)])}, {}),
        (TypeError, "arrays: got dtype datetime64.* for 'x'", {"x": np.zeros(1, "M8[s]")}, {}),
        (TypeError, "metadata: got list", {}, []),
        (TypeError, "metadata: .*float32", {}, {"x": np.float32(1)}),
        (TypeError, "metadata: .*ndarray", {}, {"x": np.zeros(1)}),
        (TypeError, "metadata: .*the key 1", {}, {"x": [{1: 2}]}),
        (TypeError, "metadata: .*the key None", {}, {None: 2}),
        (TypeError, "metadata: .*set", {}, {"x": set()}),
    ],
)
def test_errors_name_the_argument_and_leave_the_file(
    saved: Path, error: type[Exception], message: str, arrays: Any, metadata: Any
) -> None:
    with pytest.raises(error, match=message):
        write(saved, arrays, metadata)
    assert os.listdir(saved.parent) == ["model.npz"]
    assert_same(read(saved), content())


def test_metadata_that_holds_itself(saved: Path) -> None:
    metadata: dict[str, Any] = {}
    metadata["me"] = metadata
    with pytest.raises(TypeError, match="metadata: got something that JSON cannot hold"):
        write(saved, {}, metadata)


@pytest.mark.parametrize("bad", [3, None, b"model.npz", io.BytesIO()])
def test_path_of_the_wrong_type(bad: Any) -> None:
    with pytest.raises(TypeError, match="path: got"):
        write(bad, {}, {})
    with pytest.raises(TypeError, match="path: got"):
        read(bad)
