"""The disk cache of compiled code: a hit only where nothing changed, and never an error.

Each test works on a copy of the package with a cache folder of its own, and compiles its smallest entry, the gather.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from numba.core import config

import fastbp
from fastbp.kernels.gather import gather_rows

GATHER = """
    import json, os, sys, warnings
    warnings.simplefilter("error")
    from pathlib import Path
    import numpy as np
    from numba.core import config
    import fastbp
    from fastbp.kernels import jit
    from fastbp.kernels.gather import gather_rows
    assert fastbp.__file__.startswith(os.environ["PYTHONPATH"]), fastbp.__file__

    def gather(*kinds, entry=None):
        \"\"\"Call an entry with these dtypes, by default one that has compiled nothing; says what the cache gave.\"\"\"
        entry = entry or jit.serial_entry(gather_rows.py_func)
        for kind in kinds or ("uint8",):
            X, out = np.arange(12, dtype=kind).reshape(4, 3), np.zeros((2, 3), "f4")
            assert entry(X, np.array([3, 1]), np.ones(3, "f4"), np.full(3, 2, "f4"), out) == -1
            assert out.tolist() == [[16, 18, 20], [4, 6, 8]]
        stats = entry.stats
        return {"hits": sum(stats.cache_hits.values()), "misses": sum(stats.cache_misses.values())}
"""
HIT, MISS = {"hits": 1, "misses": 0}, {"hits": 0, "misses": 1}


class Copy:
    """A copy of the package: its folder, its cache, and processes that use them."""

    def __init__(self, folder: Path):
        self.folder, self.source, self.cache = folder, folder / "fastbp", folder / "cache"
        shutil.copytree(Path(fastbp.__file__).parent, self.source, ignore=shutil.ignore_patterns("__pycache__", "data"))
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))
        } | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(self.cache)}

    def start(self, code: str = "print(json.dumps(gather()))", **environment: str) -> subprocess.Popen[str]:
        script = textwrap.dedent(GATHER) + textwrap.dedent(code)
        return subprocess.Popen([sys.executable, "-P", "-c", script], env={**self.environment, **environment},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip

    def run(self, code: str = "print(json.dumps(gather()))", **environment: str) -> Any:
        return finished(self.start(code, **environment))

    def entries(self) -> list[Path]:
        return sorted(self.cache.rglob("fastbp-*.nbc"))

    def entry(self) -> Path:
        (entry,) = self.entries()
        return entry


def finished(process: subprocess.Popen[str]) -> Any:
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
    return json.loads(out.splitlines()[-1])


@pytest.fixture
def package(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_the_second_process_loads_what_the_first_compiled(package: Copy) -> None:
    code = "print(json.dumps([gather('uint8', 'float32', 'float64'), jit.cache_folder()]))"
    counts, folder = package.run(code)
    assert counts == {"hits": 0, "misses": 3}
    assert {entry.parent for entry in package.entries()} == {Path(folder)}
    before = {entry: (entry.stat().st_mtime_ns, entry.read_bytes()) for entry in package.entries()}
    assert len(before) == 3
    assert package.run(code)[0] == {"hits": 3, "misses": 0}
    assert {entry: (entry.stat().st_mtime_ns, entry.read_bytes()) for entry in package.entries()} == before
    assert [path for path in package.cache.rglob("*") if path.is_file() and path not in before] == []  # no index


def test_a_change_in_another_file_is_a_miss_and_old_entries_go(package: Copy) -> None:
    assert package.run() == MISS
    seen = {package.entry().name}
    others = [package.entry().parent / name for name in ("other-f.py311.1.nbc", "fastbp-notes.txt", "gather.nbi")]
    for other in others:
        other.write_text("not ours")
    for name in ("version.py", "kernels/deeper/new.py"):
        changed = package.source / name
        changed.parent.mkdir(exist_ok=True)
        with changed.open("a", encoding="utf-8") as file:
            file.write("# another line\n")
        assert package.run() == MISS, name
        seen.add(package.entry().name)  # there is but one: the old stamp's is pruned
    assert len(seen) == 3
    assert package.run() == HIT
    assert all(other.read_text() == "not ours" for other in others)


def test_sources_changed_while_a_process_runs_are_no_stale_entry(package: Copy) -> None:
    """What a process compiles from the sources it imported must not pass for the compiled form of newer ones."""
    code = """
    version = Path(fastbp.__file__).parent / "version.py"
    version.write_text(version.read_text() + "# an upgrade while this runs\\n")
    print(json.dumps(gather()))
    """
    assert package.run(code) == MISS
    assert package.run() == MISS


def test_every_source_file_counts(package: Copy) -> None:
    stamps = package.run(
        """
        stamps = [jit.package_stamp()]
        for path in sorted(jit.PACKAGE.rglob("*.py")):
            content = path.read_bytes()
            path.write_bytes(content + b" ")
            stamps.append(jit.package_stamp())
            path.write_bytes(content)
        path.rename(path.with_name("renamed.py"))
        stamps.append(jit.package_stamp())
        path.with_name("renamed.py").rename(path)
        print(json.dumps([*stamps, jit.package_stamp()]))
        """
    )
    assert len(stamps) > 20
    assert len(set(stamps)) == len(stamps) - 1
    assert stamps[0] == stamps[-1]


ENTRY = """
    first = gather()
    (entry,) = Path(os.environ["NUMBA_CACHE_DIR"]).rglob("fastbp-*.nbc")
    content = entry.read_bytes()
    results = {}
"""


def test_a_damaged_entry_is_a_miss_and_written_again(package: Copy) -> None:
    results = package.run(
        ENTRY
        + """
    middle = len(content) // 2
    damages = {
        "empty": b"", "cut in the middle": content[:middle], "cut at the end": content[:-1],
        "cut at the start": content[1:], "garbage": b"\\x93garbage" * 99, "zeros": bytes(len(content)),
        "text": b"hello", "another pickle": b"\\x80\\x04K\\x05.", "pickle of nothing": b"cno_such_module\\nthing\\n.",
    }
    for name, damaged in damages.items():
        entry.write_bytes(damaged)
        results[name] = gather()
        assert entry.read_bytes() != damaged, name
    results["again"] = gather()
    print(json.dumps(results))
    """
    )
    assert results.pop("again") == HIT
    assert len(results) == 9
    assert results == dict.fromkeys(results, MISS)


@pytest.mark.parametrize("block", [1 << 9, 1 << 12])
def test_an_entry_damaged_inside_its_machine_code_is_a_miss(package: Copy, block: int) -> None:
    """Of the right length and a readable pickle, as a disk that lost a block leaves it."""
    results = package.run(
        ENTRY
        + f"""
    for part in range(2, 10):
        begin = len(content) * part // 10
        entry.write_bytes(content[:begin] + bytes({block}) + content[begin + {block} :])
        results[part] = gather()
    print(json.dumps(results))
    """
    )
    assert results == dict.fromkeys(results, MISS)


def test_entries_do_not_swap(package: Copy) -> None:
    result = package.run(
        ENTRY
        + """
    gather("float64")
    (other,) = set(entry.parent.iterdir()) - {entry}
    entry.write_bytes(other.read_bytes())
    other.write_bytes(content)
    print(json.dumps([gather("uint8", "float64"), gather("uint8", "float64")]))
    """
    )
    assert result == [{"hits": 0, "misses": 2}, {"hits": 2, "misses": 0}]


def test_a_changed_setting_is_another_entry(package: Copy) -> None:
    assert package.run() == MISS
    for number, setting in enumerate(({"NUMBA_OPT": "1"}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""})):
        assert package.run(**setting) == MISS, setting
        assert len(package.entries()) == number + 2
    assert package.run(NUMBA_OPT="1") == HIT


@pytest.mark.parametrize("name", ["OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT"])
def test_settings_are_part_of_an_entrys_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_file = gather_rows._cache._cache_file
    before = cache_file._entry("key")
    monkeypatch.setattr(config, name, not getattr(config, name))
    assert cache_file._entry("key") != before


def test_no_folder_that_can_be_written(package: Copy) -> None:
    """Neither the user's folder nor the package's nor the one at home can be made: a file is in their place."""
    blocked = package.folder / "file"
    blocked.write_text("")
    (package.source / "kernels" / "__pycache__").write_text("")
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), str(blocked / "cache"))
    code = "print(json.dumps([gather()['hits'], jit.cache_folder()]))"
    assert package.run(code, **nowhere) == [0, None]
    assert package.entries() == []


READ_ONLY = """
    import builtins, tempfile

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    def reading(file, mode="r", *arguments, **options):
        return refuse() if set(mode) & set("wax+") else writing(file, mode, *arguments, **options)

    # for root every folder can be written, so no chmod: every way to write a file is refused
    writing, builtins.open, tempfile.TemporaryFile = open, reading, refuse
    print(json.dumps(gather(entry=gather_rows)))  # made at import, when the folder could be written
"""


def test_a_folder_that_became_read_only(package: Copy) -> None:
    """Found writable at import, and not when compiled code is to be saved."""
    assert package.run(READ_ONLY) == MISS
    assert package.entries() == []
    assert package.run() == MISS
    assert package.run(READ_ONLY) == HIT  # it is still read


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(package: Copy) -> None:
    package.cache.mkdir()
    package.cache.chmod(0o555)
    (package.source / "kernels" / "__pycache__").write_text("")
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "HOME"), str(package.source / "version.py"))
    assert package.run("gather(); print(json.dumps('done'))", **nowhere) == "done"
    assert package.entries() == []


def test_a_folder_that_vanished(package: Copy) -> None:
    code = """
    import shutil
    shutil.rmtree(os.environ["NUMBA_CACHE_DIR"])
    open(os.environ["NUMBA_CACHE_DIR"], "w").close()
    print(json.dumps(gather(entry=gather_rows)))
    """
    assert package.run(code) == MISS


def test_processes_that_race_all_get_their_result(package: Copy) -> None:
    code = """
    import time
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)
    print(json.dumps(gather("uint8", "float64")))
    """
    go = package.folder / "go"
    processes = [package.start(code, GO=str(go)) for _ in range(3)]
    go.write_text("")
    for result in [finished(process) for process in processes]:
        assert result["hits"] + result["misses"] == 2
    assert len(package.entries()) == 2
    assert package.run("print(json.dumps(gather('uint8', 'float64')))") == {"hits": 2, "misses": 0}
    assert not [path for path in package.cache.rglob("*") if ".tmp." in path.name]
