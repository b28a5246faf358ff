"""Compile C functions in a child process while this one goes on, and have them in memory when they are ready.

A thread would want the GIL (a fit of 2-50-4 stood still for 0.9 to 2.7 s while one compiled products, and for 0.03 s
beside a child), and a fork would wait for it. Whatever goes wrong (no child can be started, it is killed, its answer is
damaged) leaves a function not ready, and does nothing else.
"""

from __future__ import annotations

import marshal
import os
import pickle
import queue
import sys
import threading
import time
from _thread import start_new_thread
from typing import Any, NamedTuple

from . import cache, objects, own
from .compile_server import Identity, identity, read_answer
from .functions import Compiled

IDLE = 10.0  # seconds without a request after which the child is ended: it takes 140 to 160 MB
NICE = 5  # the lower priority of the child; at 10 it got a twentieth of two processors that others kept busy
# What the child runs; whatever it does it never gets to the prompt that PYTHONINSPECT asks for.
START = f"""
import marshal, os, sys
try:
    if hasattr(os, "nice"):
        os.nice({NICE})
    requests = open(0, "rb", closefd=False)
    sys.path[:], sys.dont_write_bytecode, sys.pycache_prefix = marshal.load(requests)
    from {cache.PACKAGE}.compile_server import serve
    serve(requests)
finally:
    os._exit(1)
"""
FLAGS = {"isolated": "-I", "ignore_environment": "-E", "no_user_site": "-s", "no_site": "-S", "optimize": "-O"}


class Answer(NamedTuple):
    """A function that the child has compiled: the seconds from request to answer, and the bytes of its object."""

    symbol: str
    seconds: float
    size: int


class _State:
    """Holds what this process has asked for and received; a forked child begins with a new one."""

    def __init__(self) -> None:
        self.looked: set[Compiled] = set()  # for in the library and in the cache
        self.asked: set[Compiled] = set()
        self.failed: set[Compiled] = set()
        self.codes: dict[Compiled, bytes] = {}  # received, and not linked yet
        self.compiled: list[Answer] = []
        self.requests: queue.SimpleQueue[tuple[Compiled, Identity]] = queue.SimpleQueue()
        self.working = False  # whether there is a thread
        self.child: _Child | None = None
        self.hopeless = False  # no child of this process says hello


_state = _State()
_asking = threading.RLock()  # held while a thread is started, or decides to end
_starting = threading.RLock()  # held while a child is started; a fork waits for both


# ---- what the program calls ----


def ask(function: Compiled) -> None:
    """Have a function compiled in the background, unless it is there, asked for already, or has failed."""
    state = _state
    if function in state.asked or address(function) is not None:
        return
    mine = identity()
    with _asking:
        if function in state.asked:
            return
        state.asked.add(function)
        if state.hopeless or not _can_start():
            state.failed.add(function)
            return
        state.requests.put((function, mine))
        if not state.working:
            try:
                # A `threading.Thread` would have its starter wait until it runs, and then for the GIL: 5 ms and more.
                start_new_thread(_work, (state,))
                state.working = True
            except RuntimeError:  # the system's limit, or the interpreter ends
                state.failed.add(function)


def address(function: Compiled) -> int | None:
    """Return where a function lies, linking it if its code has come or is kept; None while it is not there.

    The library and the cache are looked at once for each function. None too while another thread loads or compiles.
    """
    where = objects.in_memory(function)
    state = _state
    if where is not None or (function in state.looked and function not in state.codes):
        return where
    if not objects.lock.acquire(blocking=False):
        return None
    try:
        if function not in state.looked:
            state.looked.add(function)
            where = objects.load(function)
        if where is None and function in state.codes:
            where = objects.link(function, state.codes[function])
            state.codes.pop(function)
    except Exception:  # no object of this function
        state.codes.pop(function, None)
        state.failed.add(function)
    finally:
        objects.lock.release()
    return where


def wait(function: Compiled, seconds: float) -> bool:
    """Wait until a function that was asked for is in memory, and return whether it is."""
    end = time.monotonic() + seconds
    while address(function) is None:
        if function not in _state.asked or function in _state.failed or time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def told() -> list[Answer]:
    """Return what was compiled in the background of this process."""
    return list(_state.compiled)


# ---- the thread that talks to the child ----


def _can_start() -> bool:
    """Return whether `sys.executable` is a Python, not a program that embeds one, and the code can be told apart."""
    name = os.path.basename(sys.executable or "").lower()
    is_python = name.startswith("python") and name != "pythonservice.exe"
    return is_python and not getattr(sys, "frozen", False) and cache.stamped()


def _work(state: _State) -> None:
    while True:
        try:
            function, expected = state.requests.get(timeout=IDLE)
        except queue.Empty:
            _end(state)
            with _asking:
                if state.requests.empty():
                    state.working = False
                    return
            continue
        try:
            _compile(state, function, expected)
        except Exception:
            state.failed.add(function)
            _end(state)


def _compile(state: _State, function: Compiled, expected: Identity) -> None:
    if state.child is not None and not state.child.alive():
        _end(state)
    if state.child is None:
        state.child = _started(state, expected)
    start = time.perf_counter()
    state.child.send(pickle.dumps((function, own.definitions(function))))
    objects.import_linker()
    symbol, code = state.child.receive(expected)
    if symbol != function.symbol:
        raise ValueError(f"got {symbol}, expected {function.symbol}")
    if code:
        state.compiled.append(Answer(symbol, time.perf_counter() - start, len(code)))
        state.codes[function] = code
    else:
        state.failed.add(function)


def _started(state: _State, expected: Identity) -> _Child:
    """Return a new child that has said hello, unless an earlier one did not."""
    if state.hopeless:
        raise ChildProcessError("none can be started")
    try:
        with _starting:
            state.child = _Child()
        state.child.greet(expected)
    except Exception:
        state.hopeless = True
        raise
    return state.child


def _end(state: _State) -> None:
    if state.child is not None:
        state.child.end()
        state.child = None


class _Child:
    """The process, and the pipes to and from it."""

    def __init__(self) -> None:
        import signal  # 6 ms with `subprocess`, which few programs need
        import subprocess

        options: dict[str, Any] = {}
        if sys.platform == "win32":
            quiet = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            options["creationflags"] = quiet | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        else:
            # Where the program has it end by SIGPIPE, a child that died would take it along.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
            # No Ctrl-C of the terminal comes to another group. In another session `nice` would not count: Linux
            # shares processors out among sessions first.
            options["process_group"] = 0
        flags = [flag for name, flag in FLAGS.items() if getattr(sys.flags, name)]
        self._process: Any = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", *flags, "-c", START],
            bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options,
        )  # fmt: skip

    def greet(self, expected: Identity) -> None:
        """Have the child find the modules that this process finds, and see that they are the same."""
        path = [os.path.abspath(folder) for folder in sys.path if isinstance(folder, str)]
        self.send(marshal.dumps((path, sys.dont_write_bytecode, sys.pycache_prefix)))
        self.receive(expected)

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, content: bytes) -> None:
        while content:
            content = content[self._process.stdin.write(content) :]

    def receive(self, expected: Identity) -> tuple[str, bytes]:
        return read_answer(self._read, expected)

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self._process.stdout.read(count - len(content))
            if not part:
                raise EOFError("the child has ended")
            content += part
        return content

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.close()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()

    def forget(self) -> None:
        """Leave the child to the process that this one was forked from."""
        self.close()  # else it would not see that process end
        self._process.returncode = 0  # it is not this process's to wait for


# ---- forks ----


def _before_fork() -> None:
    _asking.acquire()
    _starting.acquire()


def _after_fork() -> None:
    _starting.release()
    _asking.release()


def _after_fork_in_child() -> None:
    global _state, _asking, _starting
    if _state.child is not None:
        _state.child.forget()
    _state, _asking, _starting = _State(), threading.RLock(), threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
