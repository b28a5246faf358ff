"""Damaged entries and folders of the cache: never an error, and nothing that others may write."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from numba.core import config

from fastbp.kernels import cache, steps
from fastbp.kernels.target import DEFAULTS, SETTINGS
from support.cached_package import HIT, MISS, Copy, finished
from support.processes import run_python

# ---- damage ----
ENTRY = """
    first = gather()
    (entry,) = Path(os.environ["NUMBA_CACHE_DIR"]).rglob("fastbp_*.nbc")
    content = entry.read_bytes()
    results = {}
"""


@pytest.mark.parametrize("number", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_a_damaged_entry_is_a_miss_and_written_again(number: int, package: Copy) -> None:
    results = package.run(
        ENTRY
        + """
    middle = len(content) // 2
    damages = {
        "cut at the end": content[:-1], "garbage": b"\\x93garbage" * 99, "empty": b"",
        "cut in the middle": content[:middle], "cut at the start": content[1:], "zeros": bytes(len(content)),
        "text": b"hello", "an object without its digest": content[32:],
    }
    for name, damaged in list(damages.items())[:NUMBER]:
        entry.write_bytes(damaged)
        results[name] = gather()
        assert entry.read_bytes() != damaged, name
    results["again"] = gather()
    print(json.dumps(results))
    """.replace("NUMBER", str(number))
    )
    assert results.pop("again") == HIT
    assert len(results) == number
    assert results == dict.fromkeys(results, MISS)


@pytest.mark.slow
@pytest.mark.parametrize("block", [1 << 9, 1 << 12])
def test_an_entry_damaged_inside_its_machine_code_is_a_miss(package: Copy, block: int) -> None:
    """Of the right length and an object that can be read, as a disk that lost a block leaves it."""
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


@pytest.mark.parametrize("number", [2, pytest.param(7, marks=pytest.mark.slow)])
def test_an_entry_that_is_no_object_of_its_function_is_a_miss(number: int, package: Copy) -> None:
    """Whole, by its digest, and yet nothing that can be linked: the function is compiled, and written again."""
    results = package.run(
        ENTRY
        + """
    import hashlib
    gather("float64")
    (other,) = set(entry.parent.iterdir()) - {entry}
    code, another = content[32:], other.read_bytes()[32:]
    wrongs = {
        "garbage": b"\\x93garbage" * 99, "another function": another, "nothing": b"", "zeros": bytes(len(code)),
        "half an object": code[: len(code) // 2], "its header": code[:64], "all but the end": code[:-1],
    }
    for name, wrong in list(wrongs.items())[:NUMBER]:
        entry.write_bytes(hashlib.sha256(wrong).digest() + wrong)
        results[name] = gather()
        assert entry.read_bytes() == content, name
    results["again"] = gather()
    print(json.dumps(results))
    """.replace("NUMBER", str(number))
    )
    assert results.pop("again") == HIT
    assert len(results) == number
    assert results == dict.fromkeys(results, MISS)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_changed_setting_is_another_entry(package: Copy) -> None:
    assert package.run() == MISS
    for number, setting in enumerate(({"NUMBA_OPT": "1"}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""})):
        assert package.run(**setting) == MISS, setting
        assert len(package.entries()) == number + 2
    assert package.run(NUMBA_OPT="1") == HIT


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_part_of_an_entrys_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [cache.entry_name("fastbp_run")]
    for value in ("0", "1", ""):
        monkeypatch.setenv(f"NUMBA_{name}", value)
        names.append(cache.entry_name("fastbp_run"))
    assert len(set(names)) == 4
    monkeypatch.delenv(f"NUMBA_{name}")
    assert cache.entry_name("fastbp_run") == names[0]


def test_settings_within_a_program_are_part_of_an_entrys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [cache.entry_name("fastbp_run")]
    for name, value in DEFAULTS.items():
        with monkeypatch.context() as patch:
            patch.setattr(config, name, int(not value))
            names.append(cache.entry_name("fastbp_run"))
    assert len(set(names)) == len(names) == 1 + len(DEFAULTS)


def test_numbas_own_settings_are_the_defaults() -> None:
    """Else an entry would have another name where Numba is imported already."""
    code = "import numba; from fastbp.kernels import target; print(target.settings(), target.TARGET.level)"
    said = run_python(code)
    assert said.startswith("() ")
    assert run_python(code.replace("import numba; ", "")) == said


def test_numbas_file_of_settings_is_part_of_an_entrys_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [cache.entry_name("fastbp_run")]
    Path(".numba_config.yaml").write_text("opt: 1\n", encoding="utf-8")
    names.append(cache.entry_name("fastbp_run"))
    monkeypatch.setattr(config, "OPT", 1)
    names.append(cache.entry_name("fastbp_run"))
    assert len(set(names)) == 3


def test_function_and_target_are_part_of_an_entrys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [cache.entry_name(symbol) for symbol in ("fastbp_gather_uint8_float32", "fastbp_gather_uint8_float64")]
    for field in cache.TARGET._fields:
        with monkeypatch.context() as patch:
            patch.setattr(cache, "TARGET", cache.TARGET._replace(**{field: "another"}))
            names.append(cache.entry_name("fastbp_gather_uint8_float32"))
    assert len(set(names)) == len(names) == 2 + len(cache.TARGET)


@pytest.mark.parametrize("name", ["OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT"])
def test_settings_are_part_of_a_dispatchers_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def entry() -> str:
        dispatcher = steps.run_by_numbas_threads
        return str(dispatcher._cache._key("signature", dispatcher.targetctx.codegen()))

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
    import builtins

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    def reading(file, mode="r", *arguments, **options):
        return refuse() if set(mode) & set("wax+") else opened(file, mode, *arguments, **options)

    def made(path, flags, *arguments, **options):
        return refuse() if flags & (os.O_WRONLY | os.O_RDWR) else opened_raw(path, flags, *arguments, **options)

    # for root every folder can be written, so no chmod: every way to write a file is refused
    if "BEFORE" in os.environ:
        assert cache.folders()[0].writable
    opened, builtins.open, opened_raw, os.open = open, reading, os.open, made
    print(json.dumps([gather(), [folder.writable for folder in cache.folders()]]))
"""


@pytest.mark.slow
def test_a_folder_that_became_read_only(package: Copy) -> None:
    """Found writable when it was first looked at, and not when compiled code is to be saved."""
    assert package.run(READ_ONLY, BEFORE="") == [MISS, [True]]
    assert package.entries() == []
    assert package.run() == MISS
    assert package.run(READ_ONLY, BEFORE="") == [HIT, [True]]  # it is still read


@pytest.mark.slow
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


@pytest.mark.slow
@POSIX
def test_a_folder_that_is_only_read_comes_before_one_that_is_written(package: Copy) -> None:
    """The folder beside the package, filled by root in an image; then its user, who may write at home."""
    home = package.folder / "home"
    at_home = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": str(home), "HOME": str(home)}
    assert package.run(**at_home) == MISS
    assert not home.exists()
    code = """
    real, beside = os.open, str(Path(fastbp.__file__).parent)

    def only_at_home(path, flags, *arguments, **options):
        if str(path).startswith(beside) and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *arguments, **options)

    os.open = only_at_home
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
    print(json.dumps(gather()))
    """
    assert package.run(code) == MISS


@pytest.mark.slow
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
