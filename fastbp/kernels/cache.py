"""The disk cache of compiled code, which never gives stale code and reads no folder that others may write to.

Stock ``cache=True`` leaves out of its key every other file of the package, the decorator's options and the settings
below, and two processes racing on its index can swap entries. Here an entry is one file, named by a hash of all that;
an entry that cannot be read, for whatever reason, is a miss and is written again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import pkgutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple
from zipimport import zipimporter

import llvmlite
import numba
from numba.core import caching, config
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

PACKAGE = __name__.rsplit(".", 2)[0]

# Loaders whose module is the content of one file. A subclass may change the code on its way: it is asked for the code.
FILES = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)

# What changes machine code without being part of Numba's own cache key.
CODEGEN_SETTINGS = ("OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "DEBUGINFO_DEFAULT")
INTERPRETER = (sys.implementation.cache_tag, sys.flags.optimize)


# ---- the stamp: which code this is ----


class Stamp(NamedTuple):
    """A hash of the package's code and of the compiler's versions, and the names of the modules it covers."""

    digest: str
    modules: frozenset[str]


def package_stamp() -> Stamp | None:
    """Hash every module as its loader gives it, wherever it is: in files, an archive or an executable.

    None where a loader gives neither source nor bytecode: this code could then not be told from another version's.
    """
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__)).encode())
    try:
        root = sys.modules[PACKAGE]
        contents = {PACKAGE: _content(root.__spec__.loader, PACKAGE, True)}  # type: ignore[union-attr]
        for name, loader, is_package in _modules(root.__path__, PACKAGE + "."):
            contents[name] = _content(loader, name, is_package)
    except Exception:  # loaders are other people's code: what they raise must not end the import of this package
        return None
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Stamp(digest.hexdigest()[:16], frozenset(contents))


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


STAMP = package_stamp()  # now: an upgrade while the process runs must not take this code for its own


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
    """Look, once a process, at Numba's folders in Numba's order, down to the first that can be written.

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
    """Return the user's folder, the one beside the kernels and the one at home, as Numba names them."""
    if config.CACHE_LOCATOR_CLASSES:  # the user's own choice of them
        with contextlib.suppress(RuntimeError):
            return [caching.CompileResultCacheImpl(package_stamp).locator.get_cache_path()]
        return []
    file = globals().get("__file__")
    if file is None or getattr(sys, "frozen", False):  # where a frozen program unpacks itself changes with each start
        file = os.path.join(sys.executable or "", PACKAGE)
    locators = (
        *((caching.UserProvidedCacheLocator,) if config.CACHE_DIR else ()),
        *((caching.InTreeCacheLocator,) if os.path.isfile(file) else ()),
        caching.UserWideCacheLocator,
    )
    return [os.path.abspath(locator(package_stamp, file).get_cache_path()) for locator in locators]


def _can_be_written(path: str) -> bool:
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
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

    Entries are pickles and machine code: whoever writes one can run anything here. Folders above count too, since the
    folder could be replaced in them, except those whose sticky bit forbids that.
    """
    if not hasattr(os, "geteuid"):
        return "it cannot be written, and this system does not tell who else may"
    path = os.path.realpath(path)
    for folder in (path, *map(str, Path(path).parents)):
        try:
            status = os.stat(folder)
        except OSError:
            return f"{folder} cannot be looked at"
        if status.st_uid not in (0, os.geteuid()):
            return f"{folder} belongs to another user; chown it to root"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (folder != path and status.st_mode & stat.S_ISVTX):
            return f"others may write to {folder}; chmod go-w it"
    return ""


# ---- the entries ----


def _is_entry(name: str) -> bool:
    return name.startswith("fastbp-") and name.endswith(".nbc")


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
    temporary = f"{path}.tmp.{uuid.uuid4().hex[:16]}"
    try:
        with open(temporary, "xb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


class StampedCache(caching.Cache):  # type: ignore[misc]
    """The cached versions of one function, as Numba's dispatchers ask for them.

    ``kind`` tells apart what one function is compiled to.
    """

    def __init__(self, function: Callable[..., Any], kind: str):
        self._py_func = function  # which Numba's key needs
        self._name = f"fastbp-{function.__name__}-{kind}"
        self.enable()

    @property
    def cache_path(self) -> str | None:
        return next((folder.path for folder in reversed(folders())), None)

    def flush(self) -> None:
        """There is no index to flush."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        if not self._enabled:
            return None
        key = self._key(sig, target_context.codegen())
        for folder in folders():
            try:
                saved_key, reduced = pickle.loads(_read(folder, self._entry(key)))
            except Exception:  # missing, truncated, not to be trusted or of another pickle: a miss
                continue
            if saved_key == key:
                return CompileResult._rebuild(target_context, *reduced)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        path = next((folder.path for folder in folders() if folder.writable), None)
        if path is None or not self._enabled:
            return
        key = self._key(sig, data.codegen)
        content = dumps((key, data._reduce()))
        with contextlib.suppress(OSError):  # a full disk costs the next start its time, never this one its result
            os.makedirs(path, exist_ok=True)
            _write(os.path.join(path, self._entry(key)), content)
            _prune(path)

    def _key(self, sig: Any, codegen: Any) -> str:
        settings = [(name, getattr(config, name, None)) for name in CODEGEN_SETTINGS]
        return repr((self._py_func.__module__, self._name, INTERPRETER, settings, self._index_key(sig, codegen)))

    def _entry(self, key: str) -> str:
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        return f"{self._name}.{'' if STAMP is None else STAMP.digest}.{digest}.nbc"


@functools.cache
def _prune(folder: str) -> None:
    """Delete, once a process, what earlier versions of this package left in the folder: no key can match it again."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _is_entry(name) and not _is_current(name):
                with contextlib.suppress(OSError):  # another process was faster
                    os.unlink(os.path.join(folder, name))
