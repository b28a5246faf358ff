"""`fastbp info`, `warmup`, help, signals and pipes, and pictures of the training."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastbp
from fastbp.kernels import tile
from fastbp.kernels.simd import TARGET
from support.commands import (
    QUICK,
    Run,
    assert_one_line,
    refused,
    start,
    table,
)
from support.processes import PACKAGE

# ---- information and help ----


def test_info(run: Run) -> None:
    done = run("info")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"fastbp {fastbp.__version__} ")
    rows = table(done.out)
    assert rows["processor target"] == f"{TARGET.triple}, {TARGET.cpu}"
    lanes = TARGET.vector_bytes // 4
    assert rows["vector width"] == f"{32 * lanes} bits: {lanes} float32 or {lanes // 2} float64"
    assert rows["vector registers"] == str(TARGET.registers)
    assert rows["fused multiply-add"] in ("yes", "no")
    assert rows["float32 tiles"].startswith(f"{tile.MAIN.rows}x{2 * lanes} main, ")
    assert rows["float64 tiles"].startswith(f"{tile.MAIN.rows}x{lanes} main, ")
    assert "KiB" in rows["caches of a core"]
    assert rows["threading layer"] == (fastbp.threads.layer() or "none: all runs on one thread")
    assert int(rows["threads"]) >= 1
    assert rows["cache folder"]
    for name in ("numba", "llvmlite", "numpy", "tqdm"):
        assert rows[name] == importlib.metadata.version(name)
    assert rows["tbb"]


def test_warmup(run: Run) -> None:
    done = run("warmup", "--dtype", "float32")
    assert (done.status, done.err) == (0, "")
    rows = table(done.out)
    parts = {name: float(seconds) for name, seconds in rows.items() if name.startswith("float")}
    assert {"float32 kernels", "float32 gathering"} <= set(parts)
    assert ("float32 parallel" in parts) is (fastbp.threads.layer() is not None and fastbp.threads.count() > 1)
    assert float(rows["all"]) == pytest.approx(sum(parts.values()), abs=0.02)
    assert rows["cache folder"]
    assert {name.split()[0] for name in table(run("warmup").out)} == {"float32", "float64", "all", "cache"}
    refused(run("warmup", "--dtype", "float16"), "--dtype", "float16")


def test_version_and_help(run: Run) -> None:
    assert run("--version") == (0, f"fastbp {fastbp.__version__}\n", "")
    for words in (["--help"], ["train", "--help"], ["predict", "-h"], ["info", "-h"], ["warmup", "-h"]):
        done = run(*words)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("usage: fastbp")
    assert "fastbp train --data quadrants" in run("train", "--help").out
    said = " ".join(run("train", "--help").out.split())
    for default in ("(default: digits)", "(default: fastbp-model.npz)", "60 for digits", "512,256 for IDX pictures"):
        assert default in said


def test_no_command_shows_the_help(run: Run) -> None:
    done = run()
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("usage: fastbp")


# ---- signals and pipes ----


def test_interrupted_training_saves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fastbp.MLP, "fit", fit)
    done = run("train")
    assert (done.status, done.err) == (130, "fastbp train: training was interrupted; nothing was saved\n")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupt_from_outside(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "fastbp-model.npz").unlink()
    # A process started in the background of a script inherits that interrupts are ignored: so it is told not to.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); import fastbp.cli as cli\n"
    code += "sys.exit(cli.main(['train', '--epochs', '1000000000']))"
    with start("-c", code, cwd=tmp_path) as process:
        try:
            heading = list(take_until(process.stdout, "settings"))
            time.sleep(2)  # the kernels are in the cache: in this time it gets to training
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert len(heading) == 6
    assert (process.returncode, out, err) == (130, "", "fastbp train: training was interrupted; nothing was saved\n")
    assert list(tmp_path.iterdir()) == []


def take_until(lines: Any, word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return


def test_a_reader_that_has_seen_enough(trained: Run, tmp_path: Path) -> None:
    words = ("-m", "fastbp", "predict", "fastbp-model.npz", "digits", "--probabilities")  # more than a pipe holds
    with start(*words, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "prediction,0,1,2,3,4,5,6,7,8,9\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk_and_a_closed_output(trained: Run, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fastbp", "predict", "fastbp-model.npz", "digits"]
    path = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    for redirection, said in ((">/dev/full", "No space left"), (">&-", "standard output is closed")):
        done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *words], env=path, stderr=subprocess.PIPE,
                              text=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 2
        assert_one_line(done.stderr, "fastbp predict", said)


def test_as_a_module(tmp_path: Path) -> None:
    with start("-m", "fastbp", "train", "--epochs", "x", cwd=tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert_one_line(err, "fastbp train: error: ", "--epochs")


# ---- pictures ----


def test_train_saves_the_curves(run: Run) -> None:
    done = run("train", "--data", "quadrants", *QUICK, "--plot", "curves.svg")
    assert done.status == 0 and "curves in           curves.svg" in done.out
    assert Path("curves.svg").read_bytes().startswith(b"<?xml")


def test_curves_change_no_bit_of_the_network(run: Run) -> None:
    run("train", "--data", "quadrants", *QUICK, "--plot", "curves.png", "--out", "a.npz")
    run("train", "--data", "quadrants", *QUICK, "--out", "b.npz")
    assert (fastbp.load("a.npz").parameters == fastbp.load("b.npz").parameters).all()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("curves.gif", "got 'curves.gif', expected a file name that ends in .svg, .png or .pdf"),
        ("nowhere/curves.svg", "--plot: got 'nowhere/curves.svg', but there is no folder"),
        ("curves", "expected a file name that ends in"),
    ],
)
def test_curves_that_cannot_be_saved(run: Run, path: str, message: str) -> None:
    """Said before the training."""
    done = run("train", "--data", "quadrants", "--plot", path)
    assert (done.status, done.out) == (2, "") and message in done.err
    assert not Path("fastbp-model.npz").exists()


def test_curves_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib" or name == "fastbp.plotting"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(fastbp, "plotting", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("train", "--data", "quadrants", "--plot", "curves.svg")
    assert done.status == 2 and "--plot: " in done.err and "pip install 'fastbp[plot]'" in done.err
