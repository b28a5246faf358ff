"""Faults while a checkpoint file is written: it is replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.model.npz_file import read, write
from support.npz_cases import Fault, assert_same, content, posix_only
from support.processes import PACKAGE

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


LOADER = """
import os, signal, sys
import numpy as np
from fastbp.model import npz_file as checkpoint
path = sys.argv[1]
"""


def start(script: str, path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LOADER + textwrap.dedent(script), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


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
