"""Every threading layer with every way to be many at once: the bits of one thread, no abort, no hang.

The ways are in `process_cells`, each run in processes of its own, for what goes wrong there kills a process or stops
it for good. Short, a layer's ways share a process; long (FASTBP_LONG=1), each has several to itself, and more rounds.
"""

from __future__ import annotations

import ctypes.util
import functools
import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fastbp
from support import process_cells
from support.processes import PACKAGE, TESTS

SCRIPT = Path(process_cells.__file__)
LIMIT = 100.0  # seconds: a layer's ways take 7 on two cores, a way's long form 20
LONG_ROUNDS, LONG_PROCESSES = 25, 3

NUMBA = {"FASTBP_TEST_NUMBA": "1"}  # import it, and use its threads
LAYERS = {
    "python": {},  # Numba is never imported
    "tbb": {**NUMBA, "NUMBA_THREADING_LAYER": "tbb"},
    "omp": {**NUMBA, "NUMBA_THREADING_LAYER": "omp"},
    "workqueue": {**NUMBA, "NUMBA_THREADING_LAYER": "workqueue"},
    "none": {**NUMBA, "NUMBA_THREADING_LAYER": "tbb", "FASTBP_TEST_MISSING": "tbb"},  # what is asked for is not there
}
MORE_LAYERS = {  # what Numba chooses by itself where libraries are missing: OpenMP, then workqueue
    "omp by default": {**NUMBA, "FASTBP_TEST_MISSING": "tbb"},
    "workqueue by default": {**NUMBA, "FASTBP_TEST_MISSING": "all"},
}
NUMBAS = {"tbb": "tbb", "omp": "omp", "omp by default": "omp"}  # where Numba's threads are used, else Python's

FORKS = ("fork_predict", "fork_fit", "grandchild", "fork_among_threads", "fork_from_a_thread", "fork_among_short_fits",
         "pool")  # fmt: skip
WAYS = tuple(way for way in process_cells.WAYS if way != "alone")
SLOW = ("forkserver", "loky", "pool")  # with python and tbb, the defaults; of the other layers two ways are fast
FAST = {
    (layer, way)
    for layer in LAYERS
    for way in WAYS
    if (way not in SLOW if layer in ("python", "tbb") else way in ("threads_apart", "fork_fit"))
}


def why_not(layer: str, way: str) -> str | None:
    """Why a cell cannot be tried here."""
    if way in FORKS and not hasattr(os, "fork"):
        return "no fork on this system"
    if way == "forkserver" and way not in multiprocessing.get_all_start_methods():
        return "no forkserver on this system"
    if way == "loky" and importlib.util.find_spec("joblib") is None:
        return "joblib is not installed"
    if NUMBAS.get(layer) == "omp" and ctypes.util.find_library("gomp") is None:
        return "no libgomp here"
    if layer == "tbb" and not fastbp.threads.load_tbb():
        return "no TBB here"
    return None


def run(ways: list[str], rounds: int, environment: dict[str, str]) -> tuple[dict[str, Any], str]:
    """The lines of the ways that came to their end, and what there is to say if some did not."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_THREADING_LAYER"}
    inherited |= {"PYTHONPATH": f"{PACKAGE.parent}{os.pathsep}{TESTS}", "NUMBA_NUM_THREADS": "2"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-W", "error", str(SCRIPT), str(rounds), *ways], env=inherited | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    trouble = ""
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)  # it writes where its threads are
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        trouble = f"hung for {LIMIT:g} s, "
    lines = [line.removeprefix(process_cells.MARK) for line in out.splitlines() if line.startswith(process_cells.MARK)]
    done = {line["way"]: line for line in map(json.loads, lines)}
    return done, f"{trouble}exit {process.returncode}\n{out[-2000:]}\n{err[-8000:]}"


@functools.cache
def short(layer: str, fast: bool) -> dict[str, Any]:
    """A layer's ways, by one process as far as it comes; by another one from behind the way that it died of."""
    results: dict[str, Any] = {}
    left = [way for way in WAYS if ((layer, way) in FAST) is fast and not why_not(layer, way)]
    while left:
        done, trouble = run(left, 1, LAYERS[layer])
        results |= done
        left = [way for way in left if way not in done]
        if left:
            results[left.pop(0)] = trouble
    return results


@functools.cache
def serial() -> dict[int, Any]:
    """What one thread computes, by the network's seed: what everyone else must compute too."""
    done, trouble = run(["alone"], 1, {"NUMBA_NUM_THREADS": "1"})
    assert "alone" in done, trouble
    assert done["alone"]["parent_entered"] == [False, False]
    return {answer["seed"]: answer for answer in done["alone"]["answers"]}


def check(line: Any, layer: str) -> None:
    assert not isinstance(line, str), line
    entered = [layer in NUMBAS, layer not in NUMBAS]
    assert line["layer"] == NUMBAS.get(layer, "python")
    assert line["parent_threads"] == 2  # forks leave the parent what it is
    assert line["parent_entered"] == entered
    for answer in line["answers"]:
        expected = serial()[answer["seed"]]
        assert {name: answer[name] for name in ("predict", "fit") if name in answer}.items() <= expected.items()
        if "pid" not in answer:
            continue
        assert answer.get("numba", layer != "python") is (layer != "python")
        if answer["pid"] != line["pid"] and line["way"] in FORKS:
            assert answer["threads"] == 1
        elif line["way"] != "forkserver":  # whose server may have imported fastbp before it forked
            assert answer["threads"] == 2
            assert answer["entered"] == entered


def test_one_thread_computes_what_numpy_does() -> None:
    answers = serial()
    assert len(answers) == process_cells.THREADS
    assert len({answer["fit"] for answer in answers.values()}) == process_cells.THREADS
    assert all(answer["error"] < 1e-5 for answer in answers.values())  # of probabilities, in float32


@pytest.mark.parametrize("layer, way", [
    pytest.param(layer, way, marks=[pytest.mark.slow] * ((layer, way) not in FAST)) for layer in LAYERS for way in WAYS
])  # fmt: skip
def test_the_bits_of_one_thread(layer: str, way: str) -> None:
    if reason := why_not(layer, way):
        pytest.skip(reason)
    serial()  # compiles what the layer without Numba only loads
    check(short(layer, (layer, way) in FAST)[way], layer)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layer", LAYERS | MORE_LAYERS)
def test_the_bits_of_one_thread_for_long(layer: str, way: str) -> None:
    if reason := why_not(layer, way):
        pytest.skip(reason)
    serial()
    for _ in range(LONG_PROCESSES):
        done, trouble = run([way], LONG_ROUNDS, (LAYERS | MORE_LAYERS)[layer])
        check(done.get(way, trouble), layer)
