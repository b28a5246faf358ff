"""Compiling in a child process: functions get there, and whatever becomes of child or parent costs speed only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fastbp.kernels import background, cache, compile_server
from fastbp.kernels.functions import Function
from support import installed
from support.processes import TESTS, python, run_python

SECONDS = 100  # which a busy machine may need

# ---- what the child compiles ----

READY = """
import ctypes, os, signal, sys, threading, time
import numpy as np
from fastbp.kernels import background, cache, functions
from fastbp.kernels.functions import Function

GATHER, GEMM = functions.gathering("uint8", "float32"), Function("gemm", "", "float32")

def check(where):
    X, row, ones, out = np.arange(4, dtype="u1").reshape(2, 2), np.array([1]), np.ones(2, "f4"), np.zeros((1, 2), "f4")
    x, row, ones, to = (array.ctypes.data for array in (X, row, ones, out))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    call = ctypes.CFUNCTYPE(number, pointer, number, pointer, number, pointer, pointer, pointer)(where)
    assert call(x, 2, row, 1, ones, ones, to) == -1
    assert out.tolist() == [[1, 2]]

def child():
    while background._state.child is None:
        time.sleep(0.001)
    return background._state.child._process.pid
"""


def test_a_function_gets_ready_while_the_program_goes_on(tmp_path: Path) -> None:
    code = """
    background.IDLE = 0.2
    assert background.address(GATHER) is None and not background.wait(GATHER, 9)
    background.ask(GATHER)
    assert background.address(GATHER) is None
    background.ask(GATHER)
    assert background.wait(GATHER, SECONDS)
    check(background.address(GATHER))
    ((symbol, seconds, size),) = background.told()
    assert symbol == GATHER.symbol and seconds > 0 and size > 500
    assert len(cache.read(symbol)) == size
    assert "numba" not in sys.modules
    while background._state.working:  # the child is ended when nothing more is asked, and leaves no zombie
        time.sleep(0.01)
    try:
        os.waitpid(-1, 0)
        print("a child")
    except ChildProcessError:
        print("no child")
    """
    assert ran(code, tmp_path) == "no child\n"
    again = "print(background.address(GATHER) is not None, background.told()); background.ask(GATHER); "
    assert ran(again + "print(background._state.asked)", tmp_path) == "True []\nset()\n"


def test_nothing_is_imported_for_it_before_something_is_asked() -> None:
    run_python(
        "import sys; from fastbp.kernels import background; assert not sys.modules.keys() & {'subprocess', 'llvmlite'}"
    )


@pytest.mark.slow
def test_several_functions_and_several_threads(tmp_path: Path) -> None:
    code = """
    wanted = [functions.gathering(source, dtype) for source in functions.SOURCES for dtype in functions.DTYPES]

    def want():
        for function in wanted:
            background.ask(function)
            background.address(function)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(background.wait(function, SECONDS) for function in wanted)
    check(background.address(GATHER))
    print(sorted(compiled.symbol for compiled in background.told()) == sorted(function.symbol for function in wanted))
    """
    assert ran(code, tmp_path) == "True\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CACHE_DIR": os.path.join(__file__, "cache")},  # no folder can be made within a file
        {"PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "NUMBA_DUMP_ASSEMBLY": "1", "NUMBA_DEBUG_TYPEINFER": "1"},
        {"NUMBA_OPT": "1"},
    ],
    ids=["read-only", "a child that would print", "a setting"],
)
def test_settings_of_the_environment(environment: dict[str, str], tmp_path: Path) -> None:
    code = (
        "background.ask(GATHER)\nprint(background.wait(GATHER, SECONDS), flush=True)\ncheck(background.address(GATHER))"
    )
    code += "\nos._exit(0)"  # PYTHONINSPECT
    assert ran(code, tmp_path, **environment) == "True\n"


@pytest.mark.slow
@pytest.mark.parametrize(("way", "ready"), [(installed.archive, True), (installed.frozen, False)])
def test_ways_to_be_installed(way: installed.Way, ready: bool, tmp_path: Path) -> None:
    """The child finds what is on the parent's path, and not what another importer made."""
    (tmp_path / "place").mkdir()
    script = "from fastbp.kernels import background, functions\nfunction = functions.gathering('uint8', 'float32')\n"
    script += f"background.ask(function)\nprint(background.wait(function, {SECONDS}), background._state.hopeless)\n"
    command = way(installed.source(tmp_path / "source", "x - y"), tmp_path / "place", script)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * SECONDS, check=True)
    assert (done.stdout, done.stderr) == (f"{ready} {not ready}\n", "")


def ran(code: str, folder: Path, **environment: str) -> str:
    environment = {"NUMBA_CACHE_DIR": str(folder)} | environment
    code = READY + textwrap.dedent(code).replace("SECONDS", str(SECONDS))
    done = python(code, env=environment, timeout=2 * SECONDS)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# ---- a parent that ends, forks, or is interrupted while the child compiles ----

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals and forks")
ENDS = {
    "returns": ("pass", 0),
    "exits": ("sys.exit(3)", 3),
    "ends at once": ("os._exit(4)", 4),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", -9),
    "becomes another": ("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", 5),
    "leaves a forked child": (
        "pid = os.fork()\nif pid == 0:\n    os.close(1)\n    os.close(2)\n    time.sleep(60)\nprint(pid)",
        0,
    ),
}


@POSIX
@pytest.mark.parametrize("delay", [0.0, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("end", [pytest.param(end, marks=[] if end == "exits" else pytest.mark.slow) for end in ENDS])
def test_the_child_ends_with_its_parent(end: str, delay: float, tmp_path: Path) -> None:
    code, status = ENDS[end]
    script = f"{READY}\nbackground.ask(GEMM)\nprint(child(), flush=True)\ntime.sleep({delay})\n{code}"
    done = python(script, env={"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONDEVMODE": "1"})
    assert (done.returncode, done.stderr) == (status, "")
    pid, *forked = map(int, done.stdout.split())
    until = time.monotonic() + 20
    try:
        while runs(pid):
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        for other in forked:
            os.kill(other, signal.SIGKILL)
    assert not [path for path in tmp_path.rglob("*") if ".tmp." in path.name]


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody waits for."""
    try:
        os.kill(pid, 0)
        return sys.platform != "linux" or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@POSIX
@pytest.mark.slow
def test_a_fork_while_the_child_compiles(tmp_path: Path) -> None:
    code = """
    background.ask(GATHER)
    theirs = child()
    forked = os.fork()
    if forked == 0:
        status = 1
        try:
            assert background.address(GATHER) is None and background._state.child is None
            background.ask(GATHER)
            assert background.wait(GATHER, SECONDS)
            check(background.address(GATHER))
            status = 7
        finally:
            os._exit(status)
    assert background.wait(GATHER, SECONDS)
    check(background.address(GATHER))
    print(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]), child() == theirs)
    """
    assert ran(code, tmp_path, PYTHONWARNINGS="ignore") == "7 True\n"


@POSIX
@pytest.mark.slow
def test_forks_at_any_moment(tmp_path: Path) -> None:
    """None finds a lock held, or a module half imported."""
    code = """
    background.ask(GATHER)
    for turn in range(100):
        forked = os.fork()
        if forked == 0:
            import subprocess, signal
            background.address(GATHER)
            with background._asking, background._starting:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 7
        time.sleep(0.01)
    assert background.wait(GATHER, SECONDS)
    print("ready")
    """
    assert ran(code, tmp_path) == "ready\n"


@POSIX
@pytest.mark.slow
def test_ctrl_c_is_the_parents_alone(tmp_path: Path) -> None:
    code = """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    background.ask(GATHER)
    theirs = child()
    assert os.getpgid(theirs) != os.getpgid(0) and os.getsid(theirs) == os.getsid(0)
    try:
        print("asked", flush=True)
        time.sleep(SECONDS)
    except KeyboardInterrupt:
        pass
    print(background.wait(GATHER, SECONDS), child() == theirs)
    """.replace("SECONDS", str(SECONDS))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", READY + textwrap.dedent(code)], stdout=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(TESTS.parent)}, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "True True\n"
    assert process.returncode == 0


@POSIX
@pytest.mark.slow
def test_a_child_that_is_killed(tmp_path: Path) -> None:
    """The function that it worked on has failed, the next has a new child; SIGPIPE does not end the program."""
    code = """
    def kill():
        os.kill(child(), signal.SIGKILL)
        while background._state.child is not None and background._state.child.alive():
            time.sleep(0.01)

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    first, second, third, fourth = [functions.gathering(*kinds) for kinds in (
        ("uint8", "float32"), ("uint8", "float64"), ("float32", "float32"), ("float32", "float64"))]
    background.ask(first)
    assert background.wait(first, SECONDS)
    background.ask(GEMM)
    time.sleep(0.3)
    kill()
    assert not background.wait(GEMM, SECONDS)
    background.ask(second)
    assert background.wait(second, SECONDS)
    kill()
    background.ask(third)
    assert background.wait(third, SECONDS)
    kill()
    background._Child.alive = lambda child: True  # it dies between this look and the request
    background.ask(fourth)
    assert not background.wait(fourth, SECONDS)
    print(background.address(GEMM))
    """
    assert ran(code, tmp_path) == "None\n"


# ---- children that answer wrongly, or not at all ----


class Fake(NamedTuple):
    """What could be compiled, in no cache."""

    symbol: str


FIRST, SECOND = Fake("fastbp_first"), Fake("fastbp_second")


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[background._State]:
    """A process that has asked for nothing; its child says hello, and then what the test has it say."""
    state = background._State()
    monkeypatch.setattr(background, "_state", state)
    monkeypatch.setattr(background, "IDLE", 0.05)
    yield state
    until = time.monotonic() + SECONDS
    while state.working:
        assert time.monotonic() < until
        time.sleep(0.01)


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Have children run these, each for one request after the first, which is for what they say before."""
    code = f"""
import marshal, os, pickle, sys, threading
requests = open(0, "rb", closefd=False)
sys.path[:] = marshal.load(requests)[0]
from {cache.PACKAGE}.compile_server import answer, identity
mine = identity()
"""
    for number, said in enumerate(answers):
        code += f"{'function = requests.read(1)' if number else ''}\nos.write(1, {said})\n"
    monkeypatch.setattr(background, "START", code + "os._exit(0)")


HELLO = "answer(mine, '', b'')"
WRONG = {
    "nothing": "b''",
    "another function": "answer(mine, 'fastbp_third', b'code')",
    "not compiled": "answer(mine, 'fastbp_first', b'')",
    "no object": "answer(mine, 'fastbp_first', b'code')",
    "another stamp": "answer(('0' * 16, *mine[1:]), 'fastbp_first', b'code')",
    "a damaged answer": "answer(mine, 'fastbp_first', b'code')[:-1] + b'x'",
    "half an answer": "answer(mine, 'fastbp_first', b'code')[:-1]",
    "too long an answer": "b'\\xff' * 40",
}


@pytest.mark.parametrize("said", [pytest.param(name, marks=[] if name in list(WRONG)[:4] else pytest.mark.slow)
                                  for name in WRONG])  # fmt: skip
def test_a_wrong_answer_fails_one_function(said: str, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, HELLO, WRONG[said])
    background.ask(FIRST)
    assert not background.wait(FIRST, SECONDS)
    assert FIRST in state.failed
    assert not state.codes
    background.ask(FIRST)
    assert background.address(FIRST) is None
    assert not state.hopeless  # another child says hello


@pytest.mark.parametrize("said", ["b''", pytest.param(WRONG["another stamp"], marks=pytest.mark.slow),
                                  pytest.param("b'\\xff' * 40", marks=pytest.mark.slow)])  # fmt: skip
def test_no_second_child_where_the_first_says_no_hello(said: str, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, said)
    background.ask(FIRST)
    assert not background.wait(FIRST, SECONDS)
    assert state.hopeless
    background.ask(SECOND)
    assert SECOND in state.failed


@pytest.mark.parametrize("executable", [None, "", "/usr/bin/some-application", "pythonservice.exe"])
def test_no_child_of_a_program_that_is_no_python(
    executable: str | None, state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    background.ask(FIRST)
    assert FIRST in state.failed
    assert not state.working


def test_no_child_of_a_frozen_program(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    background.ask(FIRST)
    assert FIRST in state.failed


def test_an_executable_that_is_not_there(state: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    background.ask(FIRST)
    assert not background.wait(FIRST, SECONDS)
    assert state.hopeless


def test_no_thread_can_be_started(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(background, "start_new_thread", refuse)
    background.ask(FIRST)
    assert not background.wait(FIRST, SECONDS)


def test_address_does_not_wait_for_a_compiler(state: Any) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with background.objects.lock:
            held.set()
            done.wait()

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    try:
        assert background.address(FIRST) is None
        assert FIRST not in state.looked
    finally:
        done.set()
        other.join()
    assert background.address(FIRST) is None
    assert FIRST in state.looked


def test_an_answer_is_read_as_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = compile_server.identity()

    def read(sent: bytes, expected: Any = mine) -> tuple[str, bytes]:
        parts = iter([sent[: compile_server.HEADER.size], sent[compile_server.HEADER.size :]])
        return compile_server.read_answer(lambda count: next(parts), expected)

    sent = compile_server.answer(mine, "symbol", b"code")
    assert read(sent) == ("symbol", b"code")
    for at in range(len(sent)):
        damaged = bytearray(sent)
        damaged[at] ^= 1
        if at >= 8:  # not its length, by which it is read
            with pytest.raises(ValueError, match="damaged"):
                read(bytes(damaged))
    monkeypatch.setenv("NUMBA_OPT", "1")
    with pytest.raises(ValueError, match="another code or target"):
        read(sent, compile_server.identity())


def test_a_function_that_fails_to_compile_is_no_error() -> None:
    assert compile_server._compiled(Function("no operation", "", "float32"), []) == b""
