"""Compiling ahead: a process after it compiles nothing, whatever it trains and predicts, on a read-only disk too."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from support.processes import becoming_nobody, others_may_read, run_python

# What compiles: layers fused or not, labels of both kinds, rows in place and gathered from every dtype, predictions; a
# network large enough for two threads.
TRAIN = """
    import json, sys
    import numpy as np
    import fastbp
    from fastbp.program import cost_model
    from fastbp.kernels import gather, steps

    cost_model.POOL_START = 0  # else work as short as this would be done before a pool had started
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    for kind in sys.argv[1:] or ["uint8", "float32", "float64", "float16", "int64", ">f4"]:
        X = rng.integers(0, 3, (300, 120)).astype(kind)
        for y in (labels, np.eye(10)[labels]):
            net = fastbp.MLP((120, 200, 90, 10), seed=0, input_scale=0.5)
            net.fit(X, y, epochs=1, l2=0.01, validation_data=(X, y))
            net.predict(X), net.predict_proba(X[:1]), net.gradient(X, y)
            fastbp.MLP((120, 10), seed=0).fit(X[:, ::-1], y, epochs=1, shuffle=False)
    entries = (gather.gather_rows, steps.run_serial, steps.run_parallel)
    print(json.dumps([sum(entry.stats.cache_misses.values()) for entry in entries]))
"""


def entries(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


WARM = "import fastbp, json; print(json.dumps([fastbp.warmup('float32'), fastbp.threads.layer()]))"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may look into, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def warmed(place: Path) -> tuple[dict[str, str], dict[str, float], str | None]:
    """The environment of what was compiled ahead, the seconds that took, the layer."""
    environment = {"NUMBA_CACHE_DIR": str(place), "NUMBA_NUM_THREADS": "2"}
    seconds, layer = json.loads(run_python(WARM, environment))
    return environment, seconds, layer


@pytest.mark.slow
def test_after_it_a_fresh_process_compiles_nothing(place: Path, warmed: Any) -> None:
    environment, seconds, layer = warmed
    assert list(seconds) == ["float32 kernels", *(["float32 parallel"] if layer else []), "float32 gathering"]
    before = entries(place)
    # the kernels and the serial pass, the parallel pass, a gather for each dtype of rows
    assert len(before) == 2 + bool(layer) + 3
    train = textwrap.dedent(TRAIN)
    assert json.loads(run_python(train, environment)) == [0, 0, 0]
    assert entries(place) == before
    assert json.loads(run_python(WARM, environment))[0].keys() == seconds.keys()
    assert entries(place) == before

    (gone, *_) = place.rglob("fastbp-gather_rows-*.nbc")  # the count sees what is compiled
    gone.unlink()
    assert json.loads(run_python(train, environment)) == [1, 0, 0]
    assert entries(place).keys() == before.keys()


def test_in_the_cache_of_this_run_a_process_after_it_compiles_nothing() -> None:
    run_python(WARM)
    assert json.loads(run_python(textwrap.dedent(TRAIN))) == [0, 0, 0]


ASKED = """
    from fastbp import cli
    from fastbp.cli import diagnosis
    from fastbp.kernels import cache
    cli.main(["info"])
    print(json.dumps([cache.folders()[0], list(diagnosis._cache())]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "setuid"), reason="who may write is not known on this system")
@pytest.mark.skipif(not others_may_read(sys.prefix, fastbp.__path__[0]), reason="nobody may not read this environment")
def test_what_another_user_compiled_is_used_where_nothing_can_be_written(place: Path, warmed: Any) -> None:
    """As an image that its root warmed runs for nobody: root's folder, which others may read."""
    environment = warmed[0] | dict.fromkeys(("HOME", "XDG_CACHE_HOME"), "/nonexistent/home")
    code, asked = textwrap.dedent(TRAIN), textwrap.dedent(ASKED)
    loaded = run_python(f"{code}{asked}print(json.dumps(sorted(sys.modules)))", environment).splitlines()[-1]
    (folder,) = place.iterdir()
    before = entries(place)
    if os.getuid() != 0:
        folder.chmod(0o555)
    dropped = becoming_nobody(json.loads(loaded))
    misses, *info, kept = run_python(f"{dropped}{code}{asked}", environment).splitlines()
    folder.chmod(0o755)
    assert json.loads(misses) == [0, 0, 0]
    used, objections = json.loads(kept)
    assert used == [str(folder), False, ""]
    assert not any(str(folder) in objection for objection in objections)  # one beside the package may not be trusted
    (row,) = [line for line in info if line.startswith("  cache folder")]
    assert f"{folder} (read only, used)" in row
    assert entries(place) == before


@pytest.mark.parametrize("why", ["no safe layer", "one thread", "limit"])
def test_without_threads_there_is_no_parallel_part(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def started() -> None:
        raise AssertionError("a pool was started")

    if why == "no safe layer":
        monkeypatch.setattr(fastbp.threads, "layer", lambda: None)
        monkeypatch.setattr(fastbp.threads, "several_allowed", lambda: True)
    else:
        monkeypatch.setattr(fastbp.threads, "layer", started)
        if why == "one thread":
            monkeypatch.setattr(fastbp.threads, "several_allowed", lambda: False)
    with fastbp.threads.limit(1 if why == "limit" else None):
        assert list(fastbp.warmup("float32")) == ["float32 kernels", "float32 gathering"]


def test_a_quota_of_one_processor_leaves_no_part_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is built in one container and run in another."""
    monkeypatch.setattr(fastbp.threads, "_default", lambda: 1)
    monkeypatch.setattr(fastbp.threads, "_set_in_numba", lambda: fastbp.threads.config.NUMBA_DEFAULT_NUM_THREADS)
    monkeypatch.setattr(fastbp.threads.config, "NUMBA_DEFAULT_NUM_THREADS", 4)
    monkeypatch.setattr(fastbp.threads, "layer", lambda: "tbb")
    assert fastbp.threads.count() == 1
    parts = [name for name, _ in fastbp.compile_ahead._parts(np.dtype("f4"))]
    assert parts == ["float32 kernels", "float32 parallel", "float32 gathering"]


def test_both_dtypes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(dtype: Any) -> list[Any]:
        return [(dtype.name, lambda: None)]

    monkeypatch.setattr(fastbp.compile_ahead, "_parts", parts)
    assert list(fastbp.warmup()) == ["float32", "float64"]
    assert list(fastbp.warmup("f8")) == ["float64"]


@pytest.mark.parametrize("dtype", ["float16", "int64", "no dtype"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises((TypeError, ValueError), match="dtype: got .*, expected float32 or float64"):
        fastbp.warmup(dtype)


def test_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastbp.compile_ahead, "_parts", lambda dtype: [(f"{dtype.name} kernels", lambda: None)] * 2)

    def shown(progress: bool | None) -> str:
        fastbp.warmup("float32", progress)
        return capsys.readouterr().err

    assert shown(None) == shown(False) == ""
    assert "float32 kernels" in shown(True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "/2 [" in shown(None)
    assert shown(False) == ""
