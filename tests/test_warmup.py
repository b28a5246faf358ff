"""Compiling ahead: a process after it compiles nothing, whatever it trains and predicts."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import run_python

import fastbp

# What compiles: layers fused or not, labels of both kinds, rows in place and gathered from every dtype, predictions; a
# network large enough for two threads.
TRAIN = """
    import json, sys
    import numpy as np
    import fastbp
    from fastbp import schedule
    from fastbp.kernels import gather, steps

    schedule.POOL_START = 0  # else work as short as this would be done before a pool had started
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


def test_after_it_a_fresh_process_compiles_nothing(tmp_path: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
    warm = "import fastbp, json; print(json.dumps([fastbp.warmup('float32'), fastbp.threads.layer()]))"
    seconds, layer = json.loads(run_python(warm, environment))
    assert list(seconds) == ["float32 kernels", *(["float32 parallel"] if layer else []), "float32 gathering"]
    before = entries(tmp_path)
    # the kernels and the serial pass, the parallel pass, a gather for each dtype of rows
    assert len(before) == 2 + bool(layer) + 3
    train = textwrap.dedent(TRAIN)
    assert json.loads(run_python(train, environment)) == [0, 0, 0]
    assert entries(tmp_path) == before
    assert json.loads(run_python(warm, environment))[0].keys() == seconds.keys()
    assert entries(tmp_path) == before

    (gone, *_) = tmp_path.rglob("fastbp-gather_rows-*.nbc")  # the count sees what is compiled
    gone.unlink()
    assert json.loads(run_python(train, environment)) == [1, 0, 0]
    assert entries(tmp_path).keys() == before.keys()


@pytest.mark.parametrize("why", ["no safe layer", "one thread", "limit"])
def test_without_threads_there_is_no_parallel_part(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def started() -> None:
        raise AssertionError("a pool was started")

    if why == "no safe layer":
        monkeypatch.setattr(fastbp.threads, "layer", lambda: None)
        monkeypatch.setattr(fastbp.threads, "count", lambda: 2)
    else:
        monkeypatch.setattr(fastbp.threads, "layer", started)
        if why == "one thread":
            monkeypatch.setattr(fastbp.threads, "count", lambda: 1)
    with fastbp.threads.limit(1 if why == "limit" else None):
        assert list(fastbp.warmup("float32")) == ["float32 kernels", "float32 gathering"]


def test_both_dtypes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(dtype: Any) -> list[Any]:
        return [(dtype.name, lambda: None)]

    monkeypatch.setattr(fastbp.compiling, "_parts", parts)
    assert list(fastbp.warmup()) == ["float32", "float64"]
    assert list(fastbp.warmup("f8")) == ["float64"]


@pytest.mark.parametrize("dtype", ["float16", "int64", "no dtype"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises((TypeError, ValueError), match="dtype: got .*, expected float32 or float64"):
        fastbp.warmup(dtype)


def test_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastbp.compiling, "_parts", lambda dtype: [(f"{dtype.name} kernels", lambda: None)] * 2)

    def shown(progress: bool | None) -> str:
        fastbp.warmup("float32", progress)
        return capsys.readouterr().err

    assert shown(None) == shown(False) == ""
    assert "float32 kernels" in shown(True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "/2 [" in shown(None)
    assert shown(False) == ""
