"""The disk cache of compiled code: a hit only where nothing changed, never an error, and nothing that others may write.

Each test works on a copy of the package with a cache folder of its own, and compiles its smallest entry, the gather.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import installed
import pytest
from numba.core import config

import fastbp
from fastbp.kernels import cache
from fastbp.kernels.gather import gather_rows

GATHER = """
    import json, os, sys, warnings
    warnings.simplefilter("error")
    from pathlib import Path
    import numpy as np
    from numba.core import config
    import fastbp
    from fastbp.kernels import cache, jit
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
        for path in (self.source, *self.source.rglob("*")):  # `git archive` lets the group write, and copies keep modes
            path.chmod(path.stat().st_mode & ~0o022)
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
    code = "print(json.dumps([gather('uint8', 'float32', 'float64'), cache.folders()]))"
    counts, ((folder, *how),) = package.run(code)
    assert counts == {"hits": 0, "misses": 3}
    assert how == [True, ""]
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
    for name in ("version.py", "kernels/deeper/__init__.py"):
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
    digests, modules = package.run(
        """
        folder = Path(fastbp.__file__).parent
        digests = [cache.package_stamp().digest]
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            path.write_bytes(content + b" ")
            digests.append(cache.package_stamp().digest)
            path.write_bytes(content)
        path.rename(path.with_name("renamed.py"))
        digests.append(cache.package_stamp().digest)
        path.with_name("renamed.py").rename(path)
        digests.append(cache.package_stamp().digest)
        print(json.dumps([digests, sorted(cache.STAMP.modules)]))
        """
    )
    files = sorted(file.relative_to(package.folder) for file in package.source.rglob("*.py"))
    assert modules == sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)
    assert len(digests) == len(files) + 3
    assert len(set(digests)) == len(digests) - 1
    assert digests[0] == digests[-1]


# ---- ways to be installed ----

INSTALLED = """
import json, os
import numpy as np
from fastbp.kernels import cache
from fastbp.kernels.gather import gather_rows
X, out = np.arange(4, dtype="u1").reshape(2, 2), np.zeros((1, 2), "f4")
gather_rows(X, np.array([1]), np.ones(2, "f4"), np.ones(2, "f4"), out)
print(json.dumps([sum(gather_rows.stats.cache_hits.values()), out.tolist()[0], bool(cache.folders())]))
"""


class Installed:
    """A small package that is installed in one way, and installed again with other sources in the same place."""

    def __init__(self, folder: Path, way: installed.Way):
        self.folder, self.way, self.command = folder, way, [""]
        (folder / "place").mkdir()

    def install(self, formula: str) -> None:
        source = installed.source(self.folder / "source", formula)
        self.command = self.way(source, self.folder / "place", INSTALLED)

    def run(self, seed: int) -> Any:
        """How often it loaded what it runs, the values it computes, whether there is a folder."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
        home = str(self.folder / "home")
        environment |= {"HOME": home, "XDG_CACHE_HOME": home, "PYTHONHASHSEED": str(seed)}
        environment |= {
            "PYTHONDONTWRITEBYTECODE": "1"
        }  # a source of the same second and length would pass for the same
        return finished(subprocess.Popen(self.command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         text=True))  # fmt: skip

    def entries(self) -> list[Path]:
        return list(self.folder.rglob("*.nbc"))


@pytest.mark.parametrize("way", installed.KEPT, ids=lambda way: way.__name__)
def test_an_upgrade_in_place_never_runs_what_was_compiled_before(way: installed.Way, tmp_path: Path) -> None:
    package = Installed(tmp_path, way)
    package.install("x - y")
    assert package.run(seed=1) == [0, [1.0, 2.0], True]
    assert package.run(seed=2) == [1, [1.0, 2.0], True]
    (before,) = package.entries()
    package.install("x + y")
    assert package.run(seed=3) == [0, [3.0, 4.0], True]
    (after,) = package.entries()  # in the place of the other
    assert after.parent == before.parent
    assert after.name != before.name


@pytest.mark.parametrize("way", installed.NOT_KEPT, ids=lambda way: way.__name__)
def test_nothing_is_kept_where_the_code_cannot_be_seen(way: installed.Way, tmp_path: Path) -> None:
    package = Installed(tmp_path, way)
    package.install("x - y")
    assert [package.run(seed=1), package.run(seed=2)] == [[0, [1.0, 2.0], False]] * 2
    assert package.entries() == []


def test_the_code_of_an_import_hook_is_what_counts(package: Copy) -> None:
    """A loader that changes the code of a file on its way is asked for the code."""
    hook = """
    import importlib.machinery, sys

    class Hook(importlib.machinery.SourceFileLoader):
        def source_to_code(self, data, path, *, _optimize=-1):
            return super().source_to_code(data.replace(b"0.1.0", os.environ["VERSION"].encode()), path)

    suffixes = importlib.machinery.SOURCE_SUFFIXES
    sys.path_hooks.insert(0, importlib.machinery.FileFinder.path_hook((Hook, suffixes)))
    sys.path_importer_cache.clear()
    from importlib.util import cache_from_source
    print(json.dumps(cache.package_stamp().digest))
    """
    digests = [package.run(hook, VERSION=version, PYTHONDONTWRITEBYTECODE="1") for version in ("0.1.0", "1", "0.1.0")]
    assert digests[0] == digests[2] != digests[1]


# ---- damage ----

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
    def entry() -> str:
        kept = gather_rows._cache
        return str(kept._entry(kept._key("signature", gather_rows.targetctx.codegen())))

    before = entry()
    assert before == entry()
    monkeypatch.setattr(config, name, not getattr(config, name))
    assert entry() != before


# ---- folders ----


def test_no_folder_that_can_be_written(package: Copy) -> None:
    """Neither the user's folder nor the package's nor the one at home can be made: a file is in their place."""
    blocked = package.folder / "file"
    blocked.write_text("")
    (package.source / "kernels" / "__pycache__").write_text("")
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), str(blocked / "cache"))
    code = "print(json.dumps([gather()['hits'], cache.folders(), cache.stamped()]))"
    assert package.run(code, **nowhere) == [0, [], True]
    assert package.entries() == []


POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="who may write is not known on this system")
READ_ONLY = """
    import builtins, tempfile

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    def reading(file, mode="r", *arguments, **options):
        return refuse() if set(mode) & set("wax+") else writing(file, mode, *arguments, **options)

    # for root every folder can be written, so no chmod: every way to write a file is refused
    if "BEFORE" in os.environ:
        assert cache.folders()[0].writable
    writing, builtins.open, tempfile.TemporaryFile = open, reading, refuse
    print(json.dumps([gather(entry=gather_rows), [folder.writable for folder in cache.folders()]]))
"""


def test_a_folder_that_became_read_only(package: Copy) -> None:
    """Found writable when it was first looked at, and not when compiled code is to be saved."""
    assert package.run(READ_ONLY, BEFORE="") == [MISS, [True]]
    assert package.entries() == []
    assert package.run() == MISS
    assert package.run(READ_ONLY, BEFORE="") == [HIT, [True]]  # it is still read


@POSIX
def test_a_disk_that_is_read_only(package: Copy) -> None:
    assert package.run(READ_ONLY) == [MISS, []]
    assert package.run() == MISS
    assert package.run(READ_ONLY) == [HIT, [False]]
    package.entry().parent.chmod(0o775)
    assert package.run(READ_ONLY) == [MISS, []]
    package.entry().parent.chmod(0o755)
    package.entry().chmod(0o666)
    assert package.run(READ_ONLY) == [MISS, [False]]


@POSIX
def test_a_folder_that_is_only_read_comes_before_one_that_is_written(package: Copy) -> None:
    """The folder beside the package, filled by root in an image; then its user, who may write at home."""
    home = package.folder / "home"
    at_home = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": str(home), "HOME": str(home)}
    assert package.run(**at_home) == MISS
    assert not home.exists()
    code = """
    import tempfile
    real, beside = tempfile.TemporaryFile, str(Path(fastbp.__file__).parent)

    def only_at_home(*arguments, dir, **options):
        if dir.startswith(beside):
            raise PermissionError(13, "Permission denied")
        return real(*arguments, dir=dir, **options)

    tempfile.TemporaryFile = only_at_home
    print(json.dumps([gather("uint8", "float32"), [folder.writable for folder in cache.folders()]]))
    """
    assert package.run(code, **at_home) == [{"hits": 1, "misses": 1}, [False, True]]
    assert len(list(home.rglob("*.nbc"))) == len(list(package.source.rglob("*.nbc"))) == 1
    assert package.run(code, **at_home) == [{"hits": 2, "misses": 0}, [False, True]]
    assert package.run(code, **{**at_home, "NUMBA_CACHE_DIR": str(package.cache)})[0]["hits"] == 0  # that one is filled
    assert len(package.entries()) == 2


@POSIX
def test_what_is_only_read_must_be_written_by_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "folder"
    folder.mkdir(parents=True)
    assert not cache.objection_to(str(folder))
    for mode in (0o775, 0o757, 0o1777):
        folder.chmod(mode)
        assert f"others may write to {folder}; chmod go-w it" in cache.objection_to(str(folder))
    folder.chmod(0o555)
    assert not cache.objection_to(str(folder))
    for mode, allowed in ((0o775, False), (0o757, False), (0o777, False), (0o1777, True), (0o755, True)):
        folder.parent.chmod(mode)
        assert cache.objection_to(str(folder)) == (
            "" if allowed else f"others may write to {folder.parent}; chmod go-w it"
        )
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert not cache.objection_to(str(link))
    folder.chmod(0o775)
    assert cache.objection_to(str(link))
    assert "cannot be looked at" in cache.objection_to(str(tmp_path / "none"))


@POSIX
def test_what_is_only_read_belongs_to_root_or_to_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4321)
    entry, folder = tmp_path / "entry", cache.Folder(str(tmp_path), False)
    entry.write_bytes(hashlib.sha256(b"code").digest() + b"code")
    if os.getuid() == 0:  # what is root's is trusted, whoever this is
        assert not cache.objection_to(str(tmp_path))
        assert cache._read(folder, "entry") == b"code"
        os.chown(tmp_path, 4320, -1)
        os.chown(entry, 4320, -1)
    assert f"{tmp_path} belongs to another user" in cache.objection_to(str(tmp_path))
    with pytest.raises(PermissionError):
        cache._read(folder, "entry")
    assert cache._read(folder._replace(writable=True), "entry") == b"code"  # a folder that is the user's own choice


def test_who_may_write_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "geteuid", raising=False)  # as on Windows
    assert "does not tell" in cache.objection_to(str(tmp_path))


def test_a_folder_that_vanished(package: Copy) -> None:
    code = """
    import shutil
    assert cache.folders()[0].writable
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
