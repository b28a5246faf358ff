"""Checkpoints: exact to the bit, replaced as a whole or not at all, and no damaged file read without a word."""

from __future__ import annotations

import doctest
import errno
import io
import json
import math
import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastbp.model import npz_file
from fastbp.model.npz_file import CheckpointError, read, write

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions, links and signals")


def content(seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    arrays = {
        "weights_0": rng.standard_normal((3, 5)).astype(np.float32),
        "biases_0": rng.standard_normal(5),
        "steps": np.array(seed, dtype=np.int64),
        "classes": np.array(["ant", "bee", "Käfer", "\N{BUTTERFLY}"]),
    }
    return arrays, {"layers": [3, 5], "activation": "relu", "l2": 0.1, "seed": seed, "shift": None}


def assert_same(got: Any, expected: Any) -> None:
    """The same arrays to the bit, and the same metadata."""
    assert got[1] == expected[1]
    assert sorted(got[0]) == sorted(expected[0])
    for name, array in expected[0].items():
        assert got[0][name].dtype == array.dtype.newbyteorder("=")
        assert got[0][name].shape == array.shape
        assert got[0][name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.npz"


@pytest.fixture
def saved(path: Path) -> Path:
    write(path, *content())
    return path


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


# Faults while writing


class Fault:
    """Stands in for a function, does what it does, or not, and raises."""

    def __init__(self, function: Callable[..., Any], error: BaseException, calls: int = 1) -> None:
        self.function, self.error, self.calls = function, error, calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls -= 1
        if self.calls == 0:
            raise self.error
        return self.function(*args, **kwargs)


ERRORS = [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError(), SystemExit(1)]


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        (os, "replace", 1),
        (os, "fsync", 1),
        (os, "chmod", 1),
        (np.lib.format, "write_array", 1),
        (np.lib.format, "write_array", 4),
        (zipfile.ZipFile, "writestr", 2),
        (zipfile.ZipFile, "_write_end_record", 1),
    ],
)
def test_after_any_fault_the_old_file_is_there_and_no_other(
    path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, calls: int, error: BaseException, exists: bool
) -> None:
    if exists:
        write(path, *content())
    elif name == "chmod":
        pytest.skip("a new file needs no chmod")
    if name == "_write_end_record" and not hasattr(zipfile.ZipFile, name):
        pytest.skip("a private name of zipfile that this Python lacks")
    original = getattr(owner, name)
    fault = Fault(original, error, calls)
    monkeypatch.setattr(owner, name, fault if owner is not zipfile.ZipFile else lambda *a, **k: fault(*a, **k))
    with pytest.raises(type(error)):
        write(path, *content(1))
    monkeypatch.undo()
    assert fault.calls == 0
    assert os.listdir(path.parent) == (["model.npz"] if exists else [])
    if exists:
        assert_same(read(path), content())
    write(path, *content(1))
    assert_same(read(path), content(1))


@posix_only
@pytest.mark.parametrize("room", [0, 100, 2000, 8_000, 20_000])
def test_no_room_left(saved: Path, room: int) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))  # any file of this process, from now on
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(saved, {"x": np.zeros(1000), "y": np.zeros((20, 100))}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert any("model.npz" in note for note in caught.value.__notes__)
    assert os.listdir(saved.parent) == ["model.npz"]
    assert_same(read(saved), content())


def test_synced_before_it_is_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        events.append(("fsync", os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        fsync(descriptor)

    def note_replace(source: Any, target: Any) -> None:
        events.append(("replace", os.stat(source).st_ino, os.stat(source).st_size))
        assert Path(source).parent == Path(target).parent
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write(path, *content())
    assert [event[0] for event in events] == ["fsync", "replace"]
    assert events[0][1:] == events[1][1:]  # of the same file, and all of it


@posix_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written(saved: Path) -> None:
    saved.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError) as caught:
            write(saved, *content(1))
    finally:
        saved.parent.chmod(0o700)
    assert any("model.npz" in note for note in caught.value.__notes__)
    assert_same(read(saved), content())


# Loads the module by its path: a process that imports no Numba starts faster.
LOADER = f"""
import importlib.util, os, signal, sys
import numpy as np
spec = importlib.util.spec_from_file_location("checkpoint", {str(npz_file.__file__)!r})
checkpoint = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checkpoint)
path = sys.argv[1]
"""


def start(script: str, path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LOADER + textwrap.dedent(script), str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


@posix_only
@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "np.lib.format.write_array", "os.chmod"])
def test_killed_at_this_very_point(saved: Path, where: str) -> None:
    owner, _, name = where.rpartition(".")
    script = f"""
    {owner}.{name} = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
    checkpoint.write(path, {{"x": np.zeros(1000)}}, {{}})
    """
    process = start(script, saved)
    assert process.communicate(timeout=30)[0] == b""
    assert process.returncode == -signal.SIGKILL
    assert len(os.listdir(saved.parent)) == 2  # it got as far as the temporary file
    assert_same(read(saved), content())
    write(saved, *content(1))
    assert_same(read(saved), content(1))


@posix_only
def test_killed_at_any_time(tmp_path: Path) -> None:
    script = """
    arrays = [{"x": np.full(1_000_000, k), "y": np.full(1_000_000, k)} for k in range(2)]
    for k in range(100000):
        checkpoint.write(path, arrays[k % 2], {"k": k})
        if k == 1:
            print("go", flush=True)
    """
    # Some of these fall into a write of 16 MB, which takes tens of milliseconds: a writer in place would be caught.
    for number, delay in enumerate([0.0, 0.013, 0.031, 0.055, 0.08]):
        path = tmp_path / f"{number}.npz"
        process = start(script, path)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"go\n"
            time.sleep(delay)
        finally:
            process.kill()
            process.communicate(timeout=30)
        arrays, metadata = read(path)
        for name in ("x", "y"):
            assert (arrays[name] == metadata["k"] % 2).all()
            assert arrays[name].shape == (1_000_000,)
        for name in os.listdir(tmp_path):
            os.unlink(tmp_path / name)


def test_readers_and_writers_at_once(path: Path) -> None:
    write(path, *content(0))
    stop = threading.Event()
    failures: list[BaseException] = []

    def keep(action: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                action()
        except BaseException as error:
            failures.append(error)

    def check() -> None:
        arrays, metadata = read(path)
        assert_same((arrays, metadata), content(metadata["seed"]))

    actions: list[Callable[[], object]] = [lambda k=k: write(path, *content(k)) for k in range(2)]  # type: ignore[misc]
    threads = [threading.Thread(target=keep, args=(action,)) for action in [*actions, check]]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(path.parent) == ["model.npz"]


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
