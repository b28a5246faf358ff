"""The disk cache of compiled code, which never gives stale code and reads no folder that others may write to.

An entry is one file, named by a hash of all that its content follows from: the code of this package, the compilers'
versions, their settings, the target. Numba's own cache leaves most of that out, and two processes racing on its index
can swap entries. An entry that cannot be read, for whatever reason, is a miss and is written again. No compiler is
imported here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import pkgutil
import stat
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from types import CodeType
from typing import Any, NamedTuple
from zipimport import zipimporter

from .target import TARGET, settings

PACKAGE = __name__.rpartition(".")[0]  # nothing outside it is compiled
COMPILERS = ("numba", "llvmlite")
VERSION_LINES = (' "version": "', "version_version = '")  # how a release of either states its version in _version.py

# Loaders whose module is the content of one file. A subclass may change the code on its way: it is asked for the code.
FILES = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)


# ---- the stamp: which code this is ----


class Stamp(NamedTuple):
    """A hash of the package's code and of the compiler's versions, and the names of the modules it covers."""

    digest: str
    modules: frozenset[str]


def package_stamp() -> Stamp | None:
    """Hash every module as its loader gives it, wherever it is: in files, an archive or an executable.

    None where a loader gives neither source nor bytecode: this code could then not be told from another version's.
    """
    digest = hashlib.sha256()
    try:
        digest.update(repr(versions()).encode())
        root = sys.modules[PACKAGE]
        contents = {PACKAGE: _content(root.__spec__.loader, PACKAGE, True)}  # type: ignore[union-attr]
        for name, loader, is_package in _modules(root.__path__, PACKAGE + "."):
            contents[name] = _content(loader, name, is_package)
    except Exception:  # loaders are other people's code: what they raise must not end the import of this package
        return None
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Stamp(digest.hexdigest()[:16], frozenset(contents))


def versions() -> tuple[str, ...]:
    """Return the versions of the compilers, which are not imported for that where they are releases in files."""
    return tuple(map(_version, COMPILERS))


def _version(package: str) -> str:
    """Return the same text whether the package is imported already or not."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is not None and type(spec.loader) is SourceFileLoader:
        with contextlib.suppress(OSError):
            text = spec.loader.get_data(os.path.join(os.path.dirname(spec.loader.path), "_version.py")).decode()
            for line in text.splitlines():
                for begin in VERSION_LINES:
                    if line.startswith(begin):
                        return line[len(begin) :].rstrip("\"'")
    return str(importlib.import_module(package).__version__)


def _modules(path: Sequence[str], prefix: str) -> Iterator[tuple[str, Any, bool]]:
    """Yield each module under `path`: its name, its loader and whether it is a package. Imports none of them."""
    for finder, name, is_package in pkgutil.iter_modules(path, prefix):
        if isinstance(finder, zipimporter):  # its find_spec compiles the module: 0.5 s for all
            loader: Any = finder
            inner: Any = [os.path.join(finder.archive, finder.prefix, name.rpartition(".")[2])]
        else:
            spec: Any = finder.find_spec(name, None)
            loader, inner = spec.loader, spec.submodule_search_locations
        yield name, loader, is_package
        if is_package:
            yield from _modules(inner, name + ".")


def _content(loader: Any, name: str, is_package: bool) -> bytes:
    """Return what a module consists of: the bytes of its file, or else its code."""
    if type(loader) in FILES:
        content: bytes = loader.get_data(loader.path)
        return content
    if type(loader) is zipimporter:
        stem = os.path.join(loader.archive, loader.prefix, name.rpartition(".")[2], *["__init__"] * is_package)
        found = []
        for suffix in (".pyc", ".py"):  # where there are both, dates decide which of them runs
            with contextlib.suppress(OSError):
                found.append(loader.get_data(stem + suffix))
        if found:
            return b"\0".join(found)
    code = loader.get_code(name)
    if not isinstance(code, CodeType):
        raise ImportError(f"{name}: its loader gives no code")
    return repr(_plain(code)).encode()


def _plain(constant: Any) -> Any:
    """Give a constant of a code object a `repr` that is the same in every process: no addresses, no order of sets."""
    if isinstance(constant, CodeType):
        names = (constant.co_names, constant.co_varnames, constant.co_freevars, constant.co_cellvars)
        counts = (constant.co_argcount, constant.co_posonlyargcount, constant.co_kwonlyargcount, constant.co_flags)
        code = (constant.co_code.hex(), constant.co_exceptiontable.hex())  # whose repr would take longer than all else
        return constant.co_name, code, names, counts, _plain(constant.co_consts)
    if isinstance(constant, tuple):
        return tuple(map(_plain, constant))
    if isinstance(constant, frozenset):
        return frozenset, sorted(repr(_plain(element)) for element in constant)
    return constant


# Now: an upgrade while the process runs must not take this code for its own.
STAMP = package_stamp()


@functools.cache
def stamped() -> bool:
    """Return whether the stamp covers all that may be compiled: a finder need not list every module that it finds."""
    loaded = {name for name in list(sys.modules) if name == PACKAGE or name.startswith(PACKAGE + ".")}
    return STAMP is not None and loaded <= STAMP.modules


# ---- the folders ----


class Folder(NamedTuple):
    """A folder of compiled code; `objection` says why what it holds is not used, and is empty where it is."""

    path: str
    writable: bool
    objection: str = ""


def folders() -> list[Folder]:
    """Return the folders that compiled code is read from, in order; only the last may be writable."""
    return [folder for folder in surveyed() if not folder.objection]


@functools.cache
def surveyed() -> tuple[Folder, ...]:
    """Look, once a process, at the folders in order, down to the first that can be written.

    Of those before it the ones that hold compiled code of this very package. None behind it: who names a folder wants
    that one filled.
    """
    found: list[Folder] = []
    for path in _candidates() if stamped() else ():
        if _can_be_written(path):
            return *found, Folder(path, True)
        if _has_entries(path):
            found.append(Folder(path, False, objection_to(path)))
    return tuple(found)


def _candidates() -> list[str]:
    """Return the folder that the user names for Numba's cache, or the one beside the kernels and the one at home."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return [os.path.abspath(os.path.join(os.environ["NUMBA_CACHE_DIR"], "fastbp"))]
    here = str(globals().get("__file__", ""))
    beside = os.path.isfile(here) and not getattr(sys, "frozen", False)  # frozen: unpacked anew
    return [*([os.path.join(os.path.dirname(os.path.abspath(here)), "__pycache__")] if beside else []), _at_home()]


def _at_home() -> str:
    """Return this system's folder for what programs of this user keep to be quicker."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.path.join(base, "fastbp"))


def _can_be_written(path: str) -> bool:
    try:
        os.makedirs(path, exist_ok=True)
        attempt = os.path.join(path, f"fastbp-{os.urandom(8).hex()}.tmp")
        os.close(os.open(attempt, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.unlink(attempt)
    except OSError:
        return False
    return True


def _has_entries(path: str) -> bool:
    try:
        return any(_is_entry(name) and _is_current(name) for name in os.listdir(path))
    except OSError:
        return False


def objection_to(path: str) -> str:
    """Return why entries of a folder that is only read are not trusted; "" where only root or this user may write.

    Entries are machine code: whoever writes one can run anything here. Folders above count too, since the
    folder could be replaced in them, except those whose sticky bit forbids that.
    """
    if not hasattr(os, "geteuid"):
        return "it cannot be written, and this system does not tell who else may"
    path = os.path.realpath(path)
    for folder in _with_parents(path):
        try:
            status = os.stat(folder)
        except OSError:
            return f"{folder} cannot be looked at"
        if status.st_uid not in (0, os.geteuid()):
            return f"{folder} belongs to another user; chown it to root"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (folder != path and status.st_mode & stat.S_ISVTX):
            return f"others may write to {folder}; chmod go-w it"
    return ""


def _with_parents(path: str) -> Iterator[str]:
    yield path
    while os.path.dirname(path) != path:
        path = os.path.dirname(path)
        yield path


# ---- the entries ----


def read(symbol: str, more: str = "") -> bytes | None:
    """Return the code of a function, or None where no folder has it whole."""
    found = _found(symbol, more)
    return None if found is None else found[1]


def keeper(symbol: str) -> Folder | None:
    """Return the folder that `read` takes the code of a function from, or None."""
    found = _found(symbol, "")
    return None if found is None else found[0]


def _found(symbol: str, more: str) -> tuple[Folder, bytes] | None:
    name = entry_name(symbol, more)
    for folder in folders():
        with contextlib.suppress(OSError, ValueError):
            return folder, _read(folder, name)
    return None


def sizes(prefix: str) -> list[int]:
    """Return the bytes of each entry of this code whose function's name begins so, in the folder that comes first."""
    found: dict[str, int] = {}
    for folder in reversed(folders()):
        with contextlib.suppress(OSError), os.scandir(folder.path) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and _is_entry(entry.name) and _is_current(entry.name):
                    found[entry.name] = entry.stat().st_size
    return list(found.values())


def write(symbol: str, content: bytes, more: str = "") -> None:
    """Keep the code of a function, where a folder can be written."""
    path = next((folder.path for folder in folders() if folder.writable), None)
    if path is None:
        return
    with contextlib.suppress(OSError):  # a full disk costs the next start its time, never this one its result
        os.makedirs(path, exist_ok=True)
        _write(os.path.join(path, entry_name(symbol, more)), content)
        _prune(path)


def entry_name(symbol: str, more: str = "") -> str:
    """Return the file name of a function's entry; `more` is what else its content follows from."""
    key = hashlib.sha256(repr((symbol, TARGET, settings(), more)).encode()).hexdigest()[:32]
    return f"{symbol}.{'' if STAMP is None else STAMP.digest}.{key}.nbc"


def _is_entry(name: str) -> bool:
    return name.startswith("fastbp") and name.endswith(".nbc")


def _is_current(name: str) -> bool:
    return STAMP is not None and f".{STAMP.digest}." in name


def _read(folder: Folder, name: str) -> bytes:
    """The content of an entry; an OSError or ValueError where there is none, none that is whole, or none to trust."""
    with open(os.path.join(folder.path, name), "rb") as file:
        if not folder.writable:
            status = os.fstat(file.fileno())
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise PermissionError(f"{name}: others may write to it")
        digest, content = file.read(32), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(f"{name}: damaged")
    return content


def _write(path: str, content: bytes) -> None:
    """Write a file so that others see all of it or nothing."""
    temporary = f"{path}.tmp.{os.urandom(8).hex()}"
    try:
        with open(temporary, "xb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@functools.cache
def _prune(folder: str) -> None:
    """Delete, once a process, what earlier versions of this package left in the folder: no key can match it again."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _is_entry(name) and not _is_current(name):
                with contextlib.suppress(OSError):  # another process was faster
                    os.unlink(os.path.join(folder, name))
