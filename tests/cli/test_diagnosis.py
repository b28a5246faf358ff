"""What `fastbp info` calls slow or unsafe: each condition made true, in a process of its own or by planted files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llvmlite.binding
import pytest

from fastbp import hardware, threads
from fastbp.cli import commands, diagnosis, program
from fastbp.kernels import cache
from fastbp.kernels.target import FAMILY, LEVELS, TARGET
from support.lanes import in_lanes
from support.processes import copied, run_python

PROCESSORS = hardware.affinity()
FINDINGS = "import json; from fastbp.cli import diagnosis; print(json.dumps(diagnosis.findings()))"
# Nothing that this machine or the tests' own environment does may hide or add a finding.
CLEAN = {"NUMBA_NUM_THREADS": str(PROCESSORS), "NUMBA_THREADING_LAYER": "default"}


def found(code: str = FINDINGS, **environment: str) -> list[str]:
    result: list[str] = json.loads(run_python(code, {**CLEAN, **environment}).splitlines()[-1])
    assert all("\n" not in line and len(line) < 400 for line in result)
    return result


def only(lines: list[str], *words: str) -> str:
    """The one line that says the first words; it says the others too."""
    (line,) = [line for line in lines if words[0] in line]
    for word in words:
        assert word in line, line
    return line


# ---- settings ----


@pytest.mark.parametrize(
    ("setting", "value"), in_lanes(
        [("OPT", "0"), ("OPT", "2"), ("BOUNDSCHECK", "1"), ("DEBUGINFO", "1"), ("LOOP_VECTORIZE", "0")],
        fast=[("OPT", "2")],
    ),
)  # fmt: skip
def test_settings_that_slow_down(setting: str, value: str) -> None:
    lines = found(**{f"NUMBA_{setting}": value})
    only(lines, f"NUMBA_{setting}={value} is set: ", "; unset it")
    assert len([line for line in lines if " is set: " in line]) == 1


def test_several_settings_that_slow_down() -> None:
    settings = {"OPT": "2", "BOUNDSCHECK": "1", "DEBUGINFO": "1", "LOOP_VECTORIZE": "0"}
    lines = found(**{f"NUMBA_{setting}": value for setting, value in settings.items()})
    for setting, value in settings.items():
        only(lines, f"NUMBA_{setting}={value} is set: ", "; unset it")
    assert len([line for line in lines if " is set: " in line]) == len(settings)


def test_settings_that_do_no_harm() -> None:
    harmless = {"NUMBA_OPT": "max", "NUMBA_BOUNDSCHECK": "0", "NUMBA_LOOP_VECTORIZE": "1", "NUMBA_DEBUGINFO": "0"}
    assert [line for line in found(**harmless) if " is set: " in line] == []
    for code in (FINDINGS, f"import numba; {FINDINGS}"):  # which is of no matter to fastbp
        assert [line for line in found(code, NUMBA_DISABLE_JIT="1") if " is set: " in line or "TBB" in line] == []


# ---- compile target ----


@pytest.fixture
def compiled_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The findings about a target, on a host with these features, where nobody has set anything."""

    def findings(cpu: str, vector_bytes: int, has_fma: bool, family: str, *features: str) -> list[str]:
        target = TARGET._replace(level="", cpu=cpu, vector_bytes=vector_bytes, has_fma=has_fma)
        monkeypatch.setattr(diagnosis, "TARGET", target)
        monkeypatch.setattr(diagnosis, "FAMILY", family)
        monkeypatch.setattr(diagnosis, "config", lambda: settings)
        monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", lambda: dict.fromkeys(features, True))
        return list(diagnosis._target())

    settings = SimpleNamespace(CPU_NAME=None, CPU_FEATURES=None, ENABLE_AVX=1)
    return findings


INTEL, ARM = "x86_64", "aarch64"


@pytest.mark.skipif(FAMILY != INTEL, reason="names features of x86-64")
def test_a_target_that_the_user_has_set() -> None:
    line = only(found(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=""), "for no processor in particular")
    assert "vectors of 128 bits" in line
    assert "without fused multiply-add" in line
    assert line.endswith("unset NUMBA_CPU_NAME=generic and NUMBA_CPU_FEATURES=")
    if TARGET.vector_bytes > 16:
        assert only(found(NUMBA_ENABLE_AVX="0"), "vectors of 128 bits where the processor has").endswith(
            "unset NUMBA_ENABLE_AVX=0"
        )


def test_targets_of_other_machines(compiled_for: Callable[..., list[str]]) -> None:
    newest, middle = ("avx", "avx2", "fma", "avx512f"), ("avx", "avx2", "fma")
    assert compiled_for("znver4", 64, True, INTEL, *newest) == []
    only(compiled_for("haswell", 32, True, INTEL, *newest), "vectors of 256 bits where the processor has 512", " 2 t")
    assert only(compiled_for("generic", 64, True, INTEL, *newest), "for no processor").count("vectors") == 0
    assert compiled_for("haswell", 32, True, INTEL, *middle) == []
    only(compiled_for("sandybridge", 32, False, INTEL, *middle), "without fused multiply-add", "choose a machine")
    # an old virtual machine: nobody has set anything
    line = only(compiled_for("nehalem", 16, False, INTEL), "in vectors of 128 bits,", "choose a machine")
    assert "4 times" in line
    assert compiled_for("neoverse-n1", 16, True, ARM) == []
    only(compiled_for("generic", 16, True, ARM), "for no processor in particular", "a little slower")


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
def test_a_level_lacks_nothing(level: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although its processor is called generic."""
    monkeypatch.setattr(diagnosis, "TARGET", level)
    assert list(diagnosis._target()) == []


# ---- threads ----


def without(*modules: str) -> str:
    """The findings where Numba's parts for these threading layers cannot be loaded."""
    hide = "".join(f"sys.modules['numba.np.ufunc.{module}'] = None; " for module in modules)
    return f"import sys; {hide}import numba; {FINDINGS}"


def test_layers_do_not_matter_where_numba_is_not_imported() -> None:
    for layer in ("default", "workqueue", "nonsense"):
        assert not [line for line in found(NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") if "threads are" in line]
    code = f"import sys, fastbp; fastbp.threads.layer(); {FINDINGS}; print(json.dumps(['numba' in sys.modules]))"
    assert json.loads(run_python(code, CLEAN).splitlines()[-1]) == [False]


def test_only_workqueue() -> None:
    lines = found(without("tbbpool", "omppool"), NUMBA_NUM_THREADS="2")
    only(lines, "neither TBB nor OpenMP can be loaded", "Python's threads are used", "pip install tbb")
    assert found(without("tbbpool", "omppool"), NUMBA_NUM_THREADS="1") == [
        line for line in found(without(), NUMBA_NUM_THREADS="1") if "TBB" not in line
    ]  # nothing is missed


@pytest.mark.parametrize("asked", ["workqueue", "nonsense"])
def test_a_layer_that_the_user_asks_for_and_that_gives_no_threads(asked: str) -> None:
    only(
        found(without(), NUMBA_THREADING_LAYER=asked, NUMBA_NUM_THREADS="2"),
        f"NUMBA_THREADING_LAYER={asked}",
        "Python's threads are used",
        "unset",
    )


def test_no_tbb() -> None:
    lines = found(without("tbbpool"), NUMBA_NUM_THREADS="2")
    if "neither TBB nor OpenMP" in " ".join(lines):
        pytest.skip("no OpenMP here")
    only(lines, "no TBB library can be loaded", "forked", "pip install tbb")


def test_openmp_that_the_user_asks_for_is_no_finding() -> None:
    assert not [line for line in found(without(), NUMBA_THREADING_LAYER="omp") if "TBB library" in line]


# ---- processors ----


def quota_of(monkeypatch: pytest.MonkeyPatch, folder: Path, membership: str, **files: str) -> float | None:
    """The quota where these files are in the folder of control groups; `__` in a name stands for `/`."""
    monkeypatch.setattr(hardware, "MEMBERSHIP", f"{folder}/membership")
    monkeypatch.setattr(hardware, "CGROUPS", f"{folder}/groups")
    (folder / "membership").write_text(membership)
    for name, text in files.items():
        path = folder / "groups" / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return hardware.cpu_quota()


V1 = "5:cpuset:/\n4:memory:/a\n2:cpu,cpuacct:/docker/1f\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu_max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu_max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu_max": "what?\n"}, None),
        ("", {"cpu_max": "150000 100000\n"}, None),
        ("0::/a/b\n", {"a__cpu_max": "300000 100000", "a__b__cpu_max": "max 100000"}, 3.0),
        ("0::/a/b\n", {"a__cpu_max": "300000 100000", "a__b__cpu_max": "200000 100000"}, 2.0),
        ("0::/a/b\n", {"a__c__cpu_max": "100000 100000"}, None),  # another group's
        ("0::/../../a\n", {"cpu_max": "50000 100000"}, 0.5),
        (V1, {"cpu,cpuacct__cpu_cfs_quota_us": "250000\n", "cpu,cpuacct__cpu_cfs_period_us": "100000\n"}, 2.5),
        (V1, {"cpu__docker__1f__cpu_cfs_quota_us": "100000\n", "cpu__docker__1f__cpu_cfs_period_us": "50000\n"}, 2.0),
        (V1, {"cpu__cpu_cfs_quota_us": "-1\n", "cpu__cpu_cfs_period_us": "100000\n"}, None),
        (V1, {"cpu__cpu_cfs_quota_us": "100000\n"}, None),
        ("0::/größer\n", {"cpu_max": "150000 100000\n"}, 1.5),
        ("3:cpuset:/\n", {"cpu__cpu_cfs_quota_us": "100000\n", "cpu__cpu_cfs_period_us": "100000\n"}, None),
    ],
)
def test_quota_of_a_container(
    membership: str, files: dict[str, str], quota: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quota_of(monkeypatch, tmp_path, membership, **files) == quota


def test_quota_where_there_are_no_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "MEMBERSHIP", f"{tmp_path}/none")
    assert hardware.cpu_quota() is None


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    def findings(used: int, affinity: int, quota: float | None) -> list[str]:
        monkeypatch.setattr(threads, "count", lambda: used)
        monkeypatch.setattr(threads, "configured", lambda: used)
        monkeypatch.setattr(hardware, "affinity", lambda: affinity)
        monkeypatch.setattr(hardware, "cpu_quota", lambda: quota)
        hardware.processors.cache_clear()
        return list(diagnosis._processors())

    yield findings
    monkeypatch.undo()
    hardware.processors.cache_clear()


def test_more_threads_than_processors(processors: Callable[..., list[str]]) -> None:
    """Which nobody gets who has not set that number."""
    assert processors(8, 8, None) == processors(8, 8, 8.0) == processors(8, 8, 7.5) == processors(8, 8, 64.0) == []
    only(processors(8, 8, 2.0), "8 threads", "2 processors", "quota of 2 ", "unset it")
    only(processors(8, 8, 2.5), "3 processors", "quota of 2.5 ")
    only(processors(8, 8, 0.1), "the 1 processor that")
    only(processors(8, 4, None), "4 processors that this process is bound to")
    only(processors(8, 4, 2.0), "quota of 2 ")
    only(processors(8, 2, 4.0), "this process is bound to")


def test_fewer_threads_than_processors(processors: Callable[..., list[str]]) -> None:
    only(processors(2, 8, None), "NUMBA_NUM_THREADS=2", "less than the 8 processors", "unset it")
    only(processors(2, 8, 4.0), "NUMBA_NUM_THREADS=2", "less than the 4 processors")
    assert processors(2, 8, 2.0) == processors(2, 2, None) == []


def test_more_threads_than_this_machine_has() -> None:
    for code in (FINDINGS, without()):
        lines = found(code, NUMBA_NUM_THREADS=str(PROCESSORS + 1))
        only(lines, f"{PROCESSORS + 1} threads, as NUMBA_NUM_THREADS", "unset it")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to bind a process here")
def test_a_process_bound_to_one_processor() -> None:
    bound = f"import os, fastbp; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {FINDINGS}"
    only(found(bound, NUMBA_NUM_THREADS="2"), "the 1 processor that this process is bound to", "unset it")
    lines = found(f"import os; os.environ.pop('NUMBA_NUM_THREADS'); {bound}")
    assert [line for line in lines if "processor" in line] == []


def test_a_quota_is_kept_to_and_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "cpu_quota", lambda: 1.5)
    monkeypatch.setattr(threads, "count", lambda: 2)
    monkeypatch.setattr(threads, "layer", lambda: "tbb")
    monkeypatch.setattr(diagnosis, "findings", list)
    assert program.main(["info"]) == 0
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["processors", f"{PROCESSORS}, 1.5 by the quota of the container"] in rows
    assert ["threads", "2"] in rows


# ---- cache ----


def test_no_folder_for_compiled_code(tmp_path: Path) -> None:
    """Neither the user's folder nor the package's nor the one at home can be made: a file is in their place."""
    environment = copied(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "fastbp" / "kernels" / "__pycache__").write_text("")
    blocked = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), str(tmp_path / "file" / "cache"))
    code = f"import fastbp; assert fastbp.__file__.startswith({str(tmp_path)!r}); {FINDINGS}"
    # PYTHONDONTWRITEBYTECODE: the interpreter would like to write where the file is
    lines = found(code, **{**environment, **blocked, "PYTHONDONTWRITEBYTECODE": "1"})
    only(lines, "no folder for compiled code can be written", "every process compiles again", "set NUMBA_CACHE_DIR")
    assert not [line for line in found(code, **environment) if "compiled code can be" in line]


def cache_findings(monkeypatch: pytest.MonkeyPatch, *folders: cache.Folder, stamped: bool = True) -> list[str]:
    monkeypatch.setattr(cache, "surveyed", lambda: folders)
    monkeypatch.setattr(cache, "stamped", lambda: stamped)
    return list(diagnosis._cache())


def test_folders_that_are_used_and_not(monkeypatch: pytest.MonkeyPatch) -> None:
    used, written = cache.Folder("/image", False), cache.Folder("/home", True)
    others = cache.Folder("/shared", False, "others may write to /shared; chmod go-w it")
    for folders, row in (
        ([used], "/image (read only, used)"),
        ([written], "/home"),
        ([used, written], "/image (read only, used), /home"),
    ):
        assert cache_findings(monkeypatch, *folders) == []
        assert diagnosis.cache_folders() == row
    line = "compiled code in /shared is not used: others may write to /shared; chmod go-w it"
    assert cache_findings(monkeypatch, others, written) == [line]
    assert diagnosis.cache_folders() == "/home"
    assert cache_findings(monkeypatch, others)[0] == line
    only(cache_findings(monkeypatch, others), "no folder for compiled code can be written")
    assert diagnosis.cache_folders() == "none can be used: each process compiles again"
    (line,) = cache_findings(monkeypatch, stamped=False)
    only([line], "neither source nor bytecode", "every process compiles again", "install fastbp as files")


# ---- the command ----


def test_info_shows_the_findings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "findings", lambda: ["one; do this", "two; do that"])
    assert program.main(["info"]) == 0
    assert capsys.readouterr().out.endswith("\n\nSlow or unsafe here\n- one; do this\n- two; do that\n")
    monkeypatch.setattr(diagnosis, "findings", list)
    assert program.main(["info"]) == 0
    assert capsys.readouterr().out.endswith("\n\nNothing is slow or unsafe here\n")


def test_all_is_well_here_but_for_what_the_machine_lacks() -> None:
    allowed = ("TBB", "quota", "processor")  # of the machine, and none of Numba's settings or folders
    assert [line for line in found() if not any(word in line for word in allowed)] == []
