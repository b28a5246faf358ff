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
from fastbp.cli import compiled
from fastbp.kernels import functions, objects, shapes
from fastbp.kernels.target import TARGET
from support.commands import (
    QUICK,
    Run,
    assert_one_line,
    refused,
    start,
    table,
)
from support.processes import PACKAGE, run_python

# ---- information and help ----


def test_info(run: Run) -> None:
    done = run("info")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"fastbp {fastbp.__version__} ")
    rows = table(done.out)
    assert rows["processor target"] == (TARGET.level or TARGET.cpu)
    lanes = TARGET.vector_bytes // 4
    assert rows["vector width"] == f"{32 * lanes} bits: {lanes} float32 or {lanes // 2} float64"
    assert rows["vector registers"] == str(TARGET.registers)
    assert rows["fused multiply-add"] in ("yes", "no")
    assert rows["float32 tiles"].startswith(f"{shapes.MAIN.rows}x{2 * lanes} main, ")
    assert rows["float64 tiles"].startswith(f"{shapes.MAIN.rows}x{lanes} main, ")
    assert "KiB" in rows["caches of a core"]
    assert rows["threading layer"].split(",")[0] == fastbp.threads.layer()
    assert ("Numba's in a process that imports it" in rows["threading layer"]) is (fastbp.threads.layer() == "python")
    assert int(rows["threads"]) >= 1
    assert rows["compiled functions"].startswith("float32 ")
    assert rows["a first fit"].startswith("float32 ")
    assert rows["cache folder"]
    for name in ("numba", "llvmlite", "numpy", "tqdm"):
        assert rows[name] == importlib.metadata.version(name)
    assert rows["tbb"]


def origins(monkeypatch: pytest.MonkeyPatch, **places: str | None) -> None:
    """Have each function of an operation lie at a place, all others in /cache."""
    monkeypatch.setattr(compiled, "origin", lambda function: places.get(function.operation, "/cache"))


def test_what_is_compiled_and_from_where(monkeypatch: pytest.MonkeyPatch) -> None:
    total = len(functions.every(["float32"]))
    activations = sum(function.operation == "activate" for function in functions.every(["float32"]))
    origins(monkeypatch)
    assert compiled.counts() == [f"{dtype} {total} of {total} (shipped 0, in the cache {total})"
                                 for dtype in ("float32", "float64")]  # fmt: skip
    origins(monkeypatch, gemm=objects.SHIPPED, softmax=objects.SHIPPED, activate=None)
    left = total - activations
    assert compiled.counts()[0] == f"float32 {left} of {total} (shipped 2, in the cache {left - 2})"
    monkeypatch.setattr(compiled, "origin", lambda function: None)
    assert compiled.counts() == [f"float32 0 of {total}", f"float64 0 of {total}"]


def test_what_a_first_fit_would_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    origins(monkeypatch, activate=None, drop=None)  # which that fit does not need
    assert compiled.first_fits() == ["float32 loads everything", "float64 loads everything"]
    monkeypatch.setattr(compiled, "_yardstick", lambda: 2 * compiled.YARDSTICK_SECONDS)
    origins(monkeypatch, gemm=None, sum_up=None)
    seconds = 2 * (compiled.NUMBA_SECONDS + compiled.SECONDS["gemm"] + compiled.OTHER_SECONDS)
    assert compiled.first_fits()[0] == f"float32 compiles 2 functions, about {seconds:.0f} s"
    monkeypatch.setattr(compiled, "_yardstick", lambda: 1e-6)
    origins(monkeypatch, fetch=None)
    assert compiled.first_fits()[1] == "float64 compiles 1 function, about 1 s"


def test_the_origin_of_functions_and_a_first_fit(tmp_path: Path) -> None:
    """In a cache that is empty, after that very fit, and with a damaged entry."""
    ask = "import sys; from fastbp.cli import compiled; c, f = compiled.counts(), compiled.first_fits();"
    said = f"{ask} print(c[0], f[0], 'numba' in sys.modules, sep='|')"
    fit = "import fastbp, numpy as np; n = fastbp.MLP((64, 100, 10), seed=0); X = np.ones((300, 64), 'f4'); "
    fit += "n.fit(X, np.arange(300) % 10, epochs=1, batch_size=32, l2=0.01); n.predict(X); "
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    needed = len(compiled.of_a_first_fit("float32"))
    total = len(functions.every(["float32"]))
    counts, first, numba = run_python(said, cache).strip().split("|")
    assert counts == f"float32 0 of {total}"
    assert first.startswith(f"float32 compiles {needed} functions, about ")
    assert int(first.split()[-2]) >= 1
    assert numba == "False"
    counts, first, numba = run_python(fit + said, cache).strip().split("|")
    kept = int(counts.split()[1])
    assert kept == needed
    assert counts == f"float32 {kept} of {total} (shipped 0, in the cache {kept})"
    assert (first, numba) == ("float32 loads everything", "True")
    (entry,) = tmp_path.rglob("fastbp_gemm_float32.*.nbc")
    entry.write_bytes(entry.read_bytes()[:-1])
    counts, first, numba = run_python(said, cache).strip().split("|")
    assert counts.startswith(f"float32 {kept - 1} of {total} ")
    assert first.startswith("float32 compiles 1 function, about ")
    assert numba == "False"


def test_warmup(run: Run) -> None:
    done = run("warmup", "--dtype", "float32")
    assert (done.status, done.err) == (0, "")
    rows = table(done.out)
    parts = {name: float(seconds) for name, seconds in rows.items() if name not in ("all", "cache folder")}
    names = ["pass", *(f"float32 {part}" for part in ("products", "activation", "loss", "optimizer", "gathering"))]
    numbas = fastbp.threads.layer() != "python" and fastbp.threads.several_allowed()
    assert list(parts) == [*names, *(["Numba's threads"] if numbas else [])]
    assert float(rows["all"]) == pytest.approx(sum(parts.values()), abs=0.01 * len(parts))
    assert rows["cache folder"]
    assert {name.split()[0] for name in table(run("warmup").out)} >= {"pass", "float32", "float64", "all", "cache"}
    refused(run("warmup", "--dtype", "float16"), "--dtype", "float16")


def test_warmup_for_some_networks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def warmup(dtype: Any, **names: Any) -> dict[str, float]:
        asked.append((dtype, names))
        return {"pass": 0.5}

    monkeypatch.setattr(fastbp.compile_ahead, "warmup", warmup)
    assert table(run("warmup").out)["pass"] == "0.50"
    words = "--activation relu --loss huber --activation tanh --optimizer adam --dtype float64"
    assert run("warmup", *words.split()).status == 0
    assert asked == [
        (None, {"activations": None, "losses": None, "optimizers": None}),
        ("float64", {"activations": ["relu", "tanh"], "losses": ["huber"], "optimizers": ["adam"]}),
    ]
    refused(run("warmup", "--activation", "rellu"), "--activation", "rellu", "did you mean relu?")
    refused(run("warmup", "--loss", "exp"), "--loss", "'exp'", "huber")
    refused(run("warmup", "--optimizer", "sdg"), "--optimizer", "sdg")


def test_no_command_imports_a_compiler_that_needs_none(trained: Run, tmp_path: Path) -> None:
    """Each starts as soon as Python has imported what it needs."""
    commands = (["--help"], ["--version"], ["warmup", "--help"], ["info"], ["learn"],
                ["predict", "fastbp-model.npz", "digits", "--out", "out.csv"])  # fmt: skip
    for words in commands:
        code = f"""if True:
            import sys
            from fastbp.cli import main
            try:
                sys.exit(main({words}))
            finally:
                print([name for name in ("numba", "llvmlite", "matplotlib", "sklearn") if name in sys.modules])
        """
        with start("-c", code, cwd=tmp_path) as process:
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        loaded = ["llvmlite"] if words[0] == "predict" else []  # which links what the cache keeps
        assert out.endswith(f"{loaded}\n"), words


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
