"""Every benchmark runs once, briefly, so that none rots; the peers compute what fastbp does; the command prints tables.

Peers that are not installed are skipped, as asv skips them.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastbp.kernels.target import LEVELS, TARGET

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "asv_benchmarks"
if not FOLDER.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)

KINDS = ("time_", "track_")
# What starts processes takes 2 to 15 s each: of every module one at the most is in the fast lane.
PROCESSES = ("Against", "Start", "StepOf", "StepOn", "narrow", "ranks", "stream")
FAST = ("inference.InferenceAgainst.track_predict_proba-4-3-2-1-NumPy", "start.Start.track_import-",
        "narrow.NarrowPredict.track_predict_proba-2-50-4-specialised")  # fmt: skip
with pytest.MonkeyPatch.context() as patch:  # they read at import how much to measure
    patch.setenv("FASTBP_BENCHMARKS_BRIEF", "1")
    patch.syspath_prepend(str(FOLDER))
    MODULES = {path.stem: importlib.import_module(f"benchmarks.{path.stem}")
               for path in sorted(FOLDER.glob("benchmarks/*.py"))}  # fmt: skip


def benchmarks() -> Iterator[Any]:
    """Each method of each class with the first of its parameters, and every peer in turn."""
    for name, module in MODULES.items():
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__:
                for method in (method for method in dir(kind) if method.startswith(KINDS)):
                    for chosen in itertools.product(*getattr(kind, "params", [])):
                        identity = "-".join(map(str, chosen))
                        identity = f"{name}.{kind.__name__}.{method}-{identity}"
                        slow = any(word in identity for word in PROCESSES) and identity not in FAST
                        yield pytest.param(kind, method, chosen, id=identity, marks=[pytest.mark.slow] * slow)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTBP_BENCHMARKS_BRIEF", "1")


@pytest.mark.parametrize("kind, method, chosen", list(benchmarks()))
def test_runs(kind: Any, method: str, chosen: tuple[Any, ...]) -> None:
    benchmark = kind()
    try:
        if hasattr(benchmark, "setup"):
            benchmark.setup(*chosen)
    except NotImplementedError as reason:
        pytest.skip(str(reason))
    result = getattr(benchmark, method)(*chosen)
    assert result is None if method.startswith("time_") else isinstance(result, (int, float))


# ---- through asv itself ----


@pytest.fixture
def asv(tmp_path: Path) -> Callable[..., str]:
    """Run asv as its users do, on a copy of the suite, for it writes beside it and into the home folder."""
    suite = shutil.copytree(FOLDER, tmp_path / FOLDER.name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "ASV_PYTHONPATH": str(ROOT)}

    def run(command: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "asv", "--config", str(suite / "asv.conf.json"), command, *arguments],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_asv_accepts_every_benchmark(asv: Callable[..., str]) -> None:
    """It takes any name of a module that reads "setup" or "teardown", whatever the case, for a function to call."""
    assert [line.strip("· ") for line in asv("check", "--python=same").splitlines()] == [
        "Discovering benchmarks", "Checking benchmarks", "No problems found."
    ]  # fmt: skip


@pytest.mark.slow
def test_asv_runs_benchmarks(asv: Callable[..., str]) -> None:
    """Of every way to measure one: in asv's process, in processes in turns, on a file; and with parameters."""
    asv("machine", "--yes")
    chosen = [r"gemm\.Affine", r"stream\..*'uint8'", r"estimators\..*digits.*adam"]
    shown = asv("run", "--python=same", "--quick", "--dry-run", "--show-stderr", "--bench", "|".join(chosen))
    for name in ("Affine.time_forward", "Resident.track_resident", "Streamed.track_speed", "Against.track_fit"):
        assert name in shown
    assert "failed" not in shown


# Layers of odd sizes, few steps, float64: a peer that left out the penalty of the weights, or took it off the biases
# too, would be 1e-4 off; 1e-7 is allowed.
PROBLEM = MODULES["problem"].Problem((5, 17, 9, 3), batch=7, steps=30, dtype="float64", threads=1)
REGRESSION = {"loss": "mean_squared_error", "optimizer": "adam"}
FULL_BATCH = {"steps": 1, "epochs": 30, "activation": "tanh", **REGRESSION}
PROBLEMS = {"step": {"classify": PROBLEM, "Adam": replace(PROBLEM, sizes=(5, 17, 9, 1), **REGRESSION),
                     "full batch": replace(PROBLEM, **FULL_BATCH)},
            "inference": {"one batch": replace(PROBLEM, steps=1)}}  # fmt: skip


@pytest.mark.parametrize("task, which, peer", [
    pytest.param(task, which, peer, marks=[pytest.mark.slow] * (peer != "NumPy"))
    for task, known in MODULES["problem"].PEERS.items() for which in PROBLEMS[task] for peer in known
    if peer != "fastbp"
])  # fmt: skip
def test_a_peer_computes_the_same(task: str, which: str, peer: str) -> None:
    if reason := MODULES["problem"].why_absent(peer):
        pytest.skip(reason)
    problem = PROBLEMS[task][which]
    check = problem.check_training if task == "step" else problem.check_probabilities
    outcome = MODULES["duel"].duel(problem.sides(["fastbp", peer], task), 1, check)
    if peer == "torch.compile" and peer in outcome.missing:  # needs a C++ compiler
        pytest.skip(outcome.missing[peer])
    assert set(outcome.seconds) == {"fastbp", peer}


@pytest.mark.parametrize("fault", [pytest.param("it.l2 = 0", marks=pytest.mark.slow), "it.b[0][0] += 1e-5"])
def test_a_peer_that_computes_something_else_is_an_error(fault: str) -> None:
    sides = PROBLEM.sides(["fastbp", "NumPy"], "step")
    sides["NumPy"] = replace(sides["NumPy"], setup=sides["NumPy"].setup + fault)
    with pytest.raises(AssertionError, match="NumPy"):
        MODULES["duel"].duel(sides, 1, PROBLEM.check_training)


def test_a_missing_peer_is_noted_and_a_broken_one_is_an_error() -> None:
    duel, Side = MODULES["duel"].duel, MODULES["duel"].Side
    outcome = duel(
        {"here": Side("pass", "pass", threads=1), "not here": Side("import no_such_peer", "pass", threads=1)}
    )
    assert list(outcome.seconds) == ["here"]
    assert outcome.missing == {"not here": "No module named 'no_such_peer'"}
    broken, crashed = Side("1 / 0", "pass", threads=1), Side("import os; os.abort()", "pass", threads=1)
    for side, words in ((broken, "^the timed process ended before"), (crashed, "^signal 6 ended")):
        with pytest.raises(RuntimeError, match=words):
            duel({"first": side})
    with pytest.raises(RuntimeError, match="ended before"):
        duel({"here": Side("pass", "pass", threads=1), "broken": broken})
    outcome = duel({"here": Side("pass", "pass", threads=1), "crashed": crashed})
    assert list(outcome.seconds) == ["here"]
    assert outcome.missing == {"crashed": "signal 6 ended its process"}


@pytest.mark.parametrize("named", [None, "no-such-interpreter", sys.executable])
def test_older_jax_needs_an_interpreter_of_its_own(named: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is missing, with words on what to do, where there is none; and where that has another JAX, or none."""
    problem = MODULES["problem"]
    monkeypatch.delenv(problem.VARIABLE, raising=False)
    if named:
        monkeypatch.setenv(problem.VARIABLE, named)
    outcome = MODULES["duel"].duel(PROBLEM.sides(["NumPy", problem.OLDER_JAX], "step"), 1)
    assert list(outcome.seconds) == ["NumPy"]
    reason = outcome.missing[problem.OLDER_JAX]
    if named == sys.executable:
        assert "No module named 'jax'" in reason or "expected 0.6.2" in reason
    else:
        assert problem.VARIABLE in reason and "pip install jax==0.6.2" in reason


def test_a_side_of_another_interpreter_needs_numpy_alone() -> None:
    code = "import sys; sys.modules |= dict.fromkeys(['fastbp', 'numba', 'llvmlite'])\n"
    code += "import benchmarks.worker, benchmarks.problem, benchmarks.peers.numpy_network"
    subprocess.run([sys.executable, "-c", code], cwd=FOLDER, check=True)


# ---- the command ----


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module of the command by its name."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"asv_benchmarks.{name}")


@pytest.mark.parametrize(
    "parts",
    [pytest.param(("step", "memory"), id="some"), pytest.param(None, id="all", marks=pytest.mark.slow)],
)
def test_the_command(
    parts: tuple[str, ...] | None,
    command: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    peers, start = command("peers"), command("parts").start
    for _, name, _ in start.RATIOS:  # these are run above
        monkeypatch.setattr(start.Start, f"track_{name}", lambda benchmark: 1.0)
    monkeypatch.setattr(start, "seconds_of", lambda commands, *rest: [1.0] * len(commands))
    parts = parts or tuple(peers.PARTS)
    chart, figures = tmp_path / "chart.svg", tmp_path / "figures.json"
    peers.main([*parts, "--networks", "5-17-9-3:7", "--peers", "NumPy", "--threads", "1", "--rounds", "1",
                "--chart", str(chart), "--json", str(figures)])  # fmt: skip
    shown = capsys.readouterr().out
    assert "5-17-9-3" in shown and "nan" not in shown
    assert "This takes about" in shown and "\nOf these, step takes 10 seconds" in shown
    for part in parts:
        assert re.search(rf"^{part} took \d+ seconds\.$", shown, re.MULTILINE), part
    assert "threads: 1; microseconds\n" in shown and "threads: 1; MB\n" in shown
    records = json.loads(figures.read_text(encoding="utf-8"))
    assert set(parts) < set(records)
    assert records["about"]["target"] == command("target").name_of()
    assert records["step"][0]["seconds"].keys() == {"fastbp", "NumPy"}
    assert chart.read_text(encoding="utf-8").startswith("<?xml")
    again = tmp_path / "again.svg"
    command("chart").draw(records["step"], str(again))
    assert again.read_bytes() == chart.read_bytes()


@pytest.mark.slow
def test_narrow_networks_are_a_table_of_their_own(
    command: Callable[[str], Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Steps, and unless networks are named, whole fits."""
    peers, fits, figures = command("peers"), command("fits"), tmp_path / "figures.json"
    peers.main(["narrow", "--peers", "NumPy", "--threads", "1", "--rounds", "1", "--json", str(figures)])
    records = json.loads(figures.read_text(encoding="utf-8"))["narrow"]
    names = ["network"] * 2 + ["curves"] * len(fits.curves.DATA) + ["batch"]
    assert [next(iter(record)) for record in records] == names
    assert [record["batch"] for record in records if "network" in record] == [32, 10_000]
    assert all(record["seconds"]["fastbp"] > 0 for record in records)
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("4-32-16-4", "iris", "digits", "search"))


def test_networks_are_named_with_the_batch_of_their_table_or_another(command: Callable[[str], Any]) -> None:
    options = command("peers").parse(["step", "--networks", "2-50-4", "4-32-16-4:50"])
    assert [case.batch for _, case in options.networks] == [32, 50]
    assert options.networks[1][1].how["optimizer"] == "adam"


@pytest.mark.parametrize(
    "wrong", [["speed"], ["--networks", "3-2"], ["--threads", "0"], ["memory", "--chart", "x.svg"], ["--target", "mmx"]]
)
def test_the_command_refuses(wrong: list[str], command: Callable[[str], Any]) -> None:
    with pytest.raises(SystemExit):
        command("peers").main(wrong)


@pytest.mark.parametrize("levels, arguments, words", [
    (LEVELS[1:2], ["--target", "avx512"], "this processor has avx2"),
    (LEVELS[:2], ["start", "--target", "avx2"], "leave out --target"),
])  # fmt: skip
def test_the_command_refuses_a_target(
    levels: tuple[Any, ...],
    arguments: list[str],
    words: str,
    command: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command("target"), "levels_of_this_machine", lambda: list(levels))
    with pytest.raises(SystemExit):
        command("peers").main(arguments)
    assert words in capsys.readouterr().err


def test_a_narrower_target_holds_for_a_new_process(
    command: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command starts itself once more, with variables that its sides inherit."""
    if not TARGET.has_fma or "x86" not in TARGET.cpu + TARGET.level:
        pytest.skip("needs AVX2")
    peers, target = command("peers"), command("target")
    monkeypatch.setattr(target, "levels_of_this_machine", lambda: list(LEVELS[:2]))
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag")
    started = []

    def run(arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        started.append((arguments, env))
        return subprocess.CompletedProcess(arguments, 3)

    monkeypatch.setattr(peers, "subprocess", SimpleNamespace(run=run))
    with pytest.raises(SystemExit) as ended:
        peers.main(["scale", "--target", "avx2"])
    assert ended.value.code == 3
    [(arguments, environment)] = started
    assert arguments[1:] == ["-m", "asv_benchmarks", "scale", "--target", "avx2"]
    assert environment["XLA_FLAGS"] == "--xla_some_flag --xla_cpu_max_isa=AVX2"
    ask = "from asv_benchmarks import target; print(target.name_of())"
    shown = subprocess.run([sys.executable, "-c", ask], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert shown.stdout.split() == [b"avx2"]
    for name, value in environment.items():  # which does not start itself again
        monkeypatch.setenv(name, value)
    assert target.environment("avx2").items() <= environment.items()


def test_more_rounds_are_said_to_take_longer(command: Callable[[str], Any]) -> None:
    peers, parts, words = command("peers"), command("parts").PARTS, command("duration").words
    once, often = (peers.parse(["--rounds", rounds]) for rounds in ("1", "9"))
    for name, part in parts.items():
        assert 0 < part.seconds(once) <= part.seconds(often), name
        same = name in ("start", "memory", "ranks")  # these have rounds of their own
        assert (part.seconds(once) == part.seconds(often)) is same, name
    assert [words(seconds) for seconds in (1, 34, 150)] == ["10 seconds", "30 seconds", "2 minutes"]


def test_busy_processors_are_noticed_where_the_system_counts(
    command: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    busy = command("busy")
    first, second = "cpu  9 9 9 9 9 9 9 9 9 9", "cpu0 100 0 20 500 30 0 0 5 0 0\ncpu2 7 0 0 7 0 0 0 0 0 0"
    assert busy.ticks(f"{first}\n{second}\nintr 5", {0, 1}) == (530, 655)
    monkeypatch.setattr(busy, "STATISTICS", tmp_path / "stat")
    assert math.isnan(busy.busy_share(0))
    busy.STATISTICS.write_text("")
    assert math.isnan(busy.busy_share(0))
