"""Compiling ahead: a process after it compiles nothing, whatever it trains and predicts, on a read-only disk too."""

from __future__ import annotations

import importlib.metadata
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
from fastbp import compile_ahead, threads
from fastbp.inputs import in_memory
from fastbp.kernels import cache, functions, objects
from fastbp.kernels.functions import every
from fastbp.kernels.losses import LOSSES
from fastbp.program import table
from support.processes import becoming_nobody, others_may_read, run_python

# What compiles: layers fused or not, labels of both kinds, rows in place and gathered from every dtype, predictions; a
# network large enough for two threads.
TRAIN = """
    import json, sys
    import numpy as np
    import fastbp
    from fastbp.program import cost_model
    from fastbp.kernels import compiler, functions, objects

    compiled, loaded = [], compiler.compiled
    compiler.compiled = lambda missing: compiled.extend(f.symbol for f in missing) or loaded(missing)
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
    steps = sys.modules["fastbp.kernels.steps"]
    driver = sum(steps.run_by_numbas_threads.stats.cache_misses.values())
    print(json.dumps([sorted(compiled), driver, len(objects._addresses) > 10]))
"""
NOTHING = [[], 0, True]
# The same with Python's threads, where Numba is never imported.
TRAIN_WITHOUT_NUMBA = TRAIN.replace(
    """from fastbp.kernels import compiler, functions, objects

    compiled, loaded = [], compiler.compiled
    compiler.compiled = lambda missing: compiled.extend(f.symbol for f in missing) or loaded(missing)
""",
    """from fastbp.kernels import cache, functions, objects
    from fastbp.program.team import team

""",
).replace(
    """steps = sys.modules["fastbp.kernels.steps"]
    driver = sum(steps.run_by_numbas_threads.stats.cache_misses.values())
    print(json.dumps([sorted(compiled), driver, """,
    """heavy = [name for name in ("numba",) if name in sys.modules]
    print(json.dumps([heavy, team.cache_info().currsize - 1, """,
)


def entries(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


WARM = "import fastbp, json; print(json.dumps([fastbp.warmup('float32'), fastbp.threads.layer()]))"
PARTS = ["products", "activation", "loss", "optimizer", "gathering"]
FLOAT32 = ["pass", *(f"float32 {part}" for part in PARTS)]
NUMBAS = "Numba's threads"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may look into, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def warmed(place: Path) -> tuple[dict[str, str], dict[str, float], str]:
    """The environment of what was compiled ahead, the seconds that took, the layer."""
    environment = {"NUMBA_CACHE_DIR": str(place), "NUMBA_NUM_THREADS": "2"}
    seconds, layer = json.loads(run_python(f"import numba; {WARM}", environment))
    return environment, seconds, layer


@pytest.mark.slow
def test_after_it_a_fresh_process_compiles_nothing(place: Path, warmed: Any) -> None:
    environment, seconds, layer = warmed
    numbas = [NUMBAS] if layer != "python" else []
    assert list(seconds) == [*FLOAT32, *numbas]
    before = entries(place)
    assert len(before) == len(every(["float32"])) + len(numbas)
    train, without_numba = textwrap.dedent(TRAIN), textwrap.dedent(TRAIN_WITHOUT_NUMBA)
    assert json.loads(run_python(train, environment)) == NOTHING
    assert json.loads(run_python(without_numba, environment)) == NOTHING
    assert entries(place) == before
    assert list(json.loads(run_python(WARM, environment))[0]) == FLOAT32  # now without Numba
    assert list(json.loads(run_python(f"import numba; {WARM}", environment))[0]) == list(seconds)
    assert entries(place) == before

    (gone, *_) = place.rglob("fastbp_gather_uint8_float32.*.nbc")  # the count sees what is compiled
    gone.unlink()
    assert json.loads(run_python(train, environment)) == [["fastbp_gather_uint8_float32"], 0, True]
    assert entries(place).keys() == before.keys()


def test_in_the_cache_of_this_run_a_process_after_it_compiles_nothing() -> None:
    run_python(f"import numba; {WARM}")
    assert json.loads(run_python(textwrap.dedent(TRAIN))) == NOTHING
    environment = {"NUMBA_NUM_THREADS": "2"}
    assert json.loads(run_python(textwrap.dedent(TRAIN_WITHOUT_NUMBA), environment)) == NOTHING


def test_a_process_that_has_imported_numba_uses_the_same_cache() -> None:
    code = (
        "from fastbp.kernels import cache; print(cache.STAMP.digest, cache.entry_name('fastbp_run'), cache.versions())"
    )
    assert run_python(code) == run_python(f"import numba; {code}") == run_python(f"import llvmlite.binding; {code}")
    versions = tuple(map(importlib.metadata.version, cache.COMPILERS))
    assert run_python(code).endswith(f" {versions}\n")


ASKED = """
    from fastbp import cli
    from fastbp.cli import diagnosis
    from fastbp.kernels import cache, objects
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
    assert json.loads(misses) == NOTHING
    used, objections = json.loads(kept)
    assert used == [str(folder), False, ""]
    assert not any(str(folder) in objection for objection in objections)  # one beside the package may not be trusted
    (row,) = [line for line in info if line.startswith("  cache folder")]
    assert f"{folder} (read only, used)" in row
    assert entries(place) == before


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that a warm-up asks for, none of which is loaded."""
    symbols: list[str] = []
    monkeypatch.setattr(
        compile_ahead, "addresses", lambda functions: symbols.extend(function.symbol for function in functions) or []
    )
    monkeypatch.setattr(compile_ahead, "_numbas_threads", lambda: None)
    return symbols


@pytest.mark.parametrize("why", ["no safe layer", "one thread", "limit", "Numba not imported"])
def test_without_numbas_threads_there_is_no_part_for_them(
    why: str, monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    def started() -> None:
        raise AssertionError("a pool was started")

    monkeypatch.undo()
    monkeypatch.setattr(compile_ahead, "addresses", list)
    monkeypatch.setattr(compile_ahead, "run_by_numbas_threads", started)
    monkeypatch.setattr(threads, "layer", started)
    monkeypatch.setattr(threads, "by_numba", lambda: why != "Numba not imported")
    monkeypatch.setattr(threads, "several_allowed", lambda: why not in ("one thread", "limit"))
    if why == "no safe layer":
        monkeypatch.setattr(threads, "layer", lambda: "python")
    if why == "limit":
        monkeypatch.undo()
    with threads.limit(1 if why == "limit" else None):
        assert list(fastbp.warmup("float32")) == FLOAT32


def test_a_quota_of_one_processor_leaves_no_part_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is built in one container and run in another."""

    class Driver:
        def compile(self, signature: str) -> str:
            return signature

    monkeypatch.setattr(compile_ahead, "addresses", list)
    monkeypatch.setattr(compile_ahead, "run_by_numbas_threads", Driver)
    monkeypatch.setattr(threads, "_default", lambda: 1)
    monkeypatch.setattr(threads, "_set_in_numba", lambda: 4)
    monkeypatch.setattr(threads, "_numbas", lambda name: 4)
    monkeypatch.setattr(threads, "by_numba", lambda: True)
    monkeypatch.setattr(threads, "layer", lambda: "tbb")
    assert threads.count() == 1
    assert list(fastbp.warmup("float32")) == [*FLOAT32, NUMBAS]


# ---- what is compiled ----


def test_everything_by_default(made: list[str]) -> None:
    assert list(fastbp.warmup()) == ["pass", *(f"{dtype} {part}" for dtype in ("float32", "float64") for part in PARTS)]
    assert sorted(made) == sorted(function.symbol for function in every())
    assert len(made) == len(set(made))
    made.clear()
    assert list(fastbp.warmup("f8")) == ["pass", *(f"float64 {part}" for part in PARTS)]
    assert sorted(made) == sorted(function.symbol for function in every(["float64"]))


def kinds(symbols: list[str], operation: str) -> set[str]:
    found = [symbol.removeprefix(f"fastbp_{operation}_") for symbol in symbols if f"fastbp_{operation}_" in symbol]
    return {kind.removesuffix("_float32") for kind in found}


@pytest.mark.parametrize(
    ("activations", "losses", "optimizers", "values", "derivatives", "formulas", "forms"),
    [
        ("gelu", "softmax_cross_entropy", "sgd", {"gelu"}, {"gelu"}, set(), {"sgd"}),
        (["tanh", "elu"], ["huber"], ("adam",), {"tanh", "elu"}, {"tanh", "elu"}, {"huber"}, {"adaptive"}),
        ("identity", "poisson_deviance", "lion", {"exp"}, set(), {"half_poisson_deviance"}, {"lion"}),
        ([], ["binary_cross_entropy_sum", "mean_squared_error"], ["adamw", "nesterov", "rmsprop"], {"logistic"}, set(),
         {"binary_cross_entropy", "squared_error"}, {"adaptive", "momentum"}),
    ],
)  # fmt: skip
def test_only_what_is_named(
    activations: Any, losses: Any, optimizers: Any, values: set[str], derivatives: set[str], formulas: set[str],
    forms: set[str], made: list[str],
) -> None:  # fmt: skip
    fastbp.warmup("float32", activations=activations, losses=losses, optimizers=optimizers)
    backward = kinds(made, "activate_backward")
    assert {kind for kind in kinds(made, "activate") if not kind.startswith("backward_")} == values
    assert backward == derivatives
    assert kinds(made, "elementwise_loss") == formulas
    assert kinds(made, "update") == forms
    softmax = "softmax_cross_entropy" in losses
    for operation in ("softmax", "cross_entropy_of_labels", "cross_entropy_of_probabilities"):
        assert (f"fastbp_{operation}_float32" in made) is softmax
    for operation in ("gemm", "gemm_by_rows", "column_sums", "drop", "clip_factor", "add_l2_gradient", "weigh_rows"):
        assert f"fastbp_{operation}_float32" in made
    assert not [symbol for symbol in made if symbol.endswith("float64") and "gather" not in symbol]


NETWORKS = [
    ("relu", "softmax_cross_entropy", "sgd"),
    (("tanh", "silu"), "binary_cross_entropy", "adam"),
    ("mish", "quantile", "lion"),
    ("identity", "half_poisson_deviance_sum", "momentum"),
    ("leaky_relu", "mean_absolute_error", "adagrad"),
]


@pytest.mark.parametrize(("activation", "loss", "optimizer"), NETWORKS)
def test_a_network_of_what_is_named_needs_nothing_else(
    activation: str | tuple[str, ...], loss: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does: dropout, clipping, weights, predictions, gradients, rows of any dtype."""
    named = set(compile_ahead.needed(["float32"], {activation} if isinstance(activation, str) else activation,
                                     [LOSSES[loss]], [optimizer]))  # fmt: skip
    asked: set[functions.Function] = set()
    look_up = objects.addresses

    def addresses(wanted: Any) -> list[int]:
        asked.update(wanted)
        return look_up(wanted)

    for module in (objects, table):
        monkeypatch.setattr(module, "addresses", addresses)
    monkeypatch.setattr(in_memory, "_gather", in_memory._gather.__wrapped__)
    rng = np.random.default_rng(0)
    for targets, sizes in (("labels", (7, 6, 5, 3)), ("shares", (7, 6, 5, 1))):
        net = fastbp.MLP(sizes, seed=0, activation=activation, loss=loss)
        for kind in ("uint8", "float32", "float64"):
            X = rng.integers(0, 3, (40, 7)).astype(kind)
            y: Any = rng.integers(0, 2, (40, sizes[-1]))
            if loss == "softmax_cross_entropy":
                y = rng.integers(0, sizes[-1], 40) if targets == "labels" else np.eye(sizes[-1])[[0] * 40]
            for options in ({}, {"dropout": 0.3, "max_grad_norm": 1.0, "sample_weight": np.ones(40)}):
                net.fit(X, y, epochs=1, batch_size=16, l2=0.01, learning_rate=1e-3, optimizer=optimizer, **options)
            net.fit(X[:, ::-1], y, epochs=1, shuffle=False, learning_rate=1e-3, optimizer=optimizer)
            net.predict(X), net.predict(X[:1]), net.gradient(X, y, l2=0.1), net.loss(X, y)
    assert asked - named == set()
    assert functions.Function("gemm", "", "float32") in asked


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("activations", "rellu", ValueError, "activations: got 'rellu', expected 'identity' or "),
        ("activations", ["relu", "exp"], ValueError, r"activations\[1\]: got 'exp', expected 'identity' or "),
        ("losses", ("mse",), ValueError, r"losses\[0\]: got 'mse', expected 'softmax_cross_entropy' or "),
        ("optimizers", [None], ValueError, r"optimizers\[0\]: got None, expected 'sgd' or "),
        ("optimizers", 3, TypeError, "optimizers: got 3, expected a name, a sequence of names, or None"),
    ],
)
def test_names_that_are_unknown(argument: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastbp.warmup("float32", **{argument: value})


@pytest.mark.parametrize("network", ["float16", "int64", "no dtype", 3, [fastbp.MLP((2, 3))], fastbp.MLP], ids=str)
def test_what_is_neither_network_nor_dtype_is_refused(network: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="network: got .*, expected an MLP, float32 or float64"):
        fastbp.warmup(network)


def test_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_ahead, "_parts", lambda functions: {"one": lambda: 1, "float32 two": lambda: 2})

    def shown(progress: bool | None) -> str:
        fastbp.warmup("float32", progress)
        return capsys.readouterr().err

    assert shown(None) == shown(False) == ""
    assert "float32 two" in shown(True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "/2 [" in shown(None)
    assert shown(False) == ""
