"""Layers, limits and what the user has set, each in a process of its own: what goes wrong there aborts or hangs.

Many threads and processes at once are the matter of `test_processes`.
"""

from __future__ import annotations

import ctypes.util
import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from support.processes import run_python

PACKAGE = str(Path(fastbp.__file__).parents[1])  # what other processes import, whatever folder they start in

# Networks of which the first is large enough for two threads and the second is not.
PRELUDE = """
    import hashlib, json, os, sys, threading, warnings
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")  # what these tests are about
    import numpy as np
    import fastbp
    from fastbp.program import cost_model, passes
    from fastbp.program.team import team
    from fastbp.program.tuning import Tuning

    cost_model.POOL_START = 0  # else work as short as this would be done before a pool had started

    SIZES, BATCH = (120, 200, 90, 10), 128

    def is_parallel(threads=None):
        threads = fastbp.threads.count() if threads is None else threads
        network = fastbp.MLP(SIZES).model.network
        form = passes.StepForm("labels", penalised=True)
        program = passes.training_step(network, BATCH, np.dtype("f4"), threads, form, Tuning())
        return program.threads > 1

    def fit(seed=0, sizes=SIZES, epochs=2):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(500, sizes[0])).astype("f4"), rng.integers(0, sizes[-1], 500)
        net = fastbp.MLP(sizes, seed=seed)
        net.fit(X, y, epochs=epochs, batch_size=BATCH, l2=0.01)
        return hashlib.sha256(net.parameters.tobytes() + net.predict_proba(X).tobytes()).hexdigest()

    def entered():
        # by whose threads a team has worked here: Numba's, Python's
        steps = sys.modules.get("fastbp.kernels.steps")
        return [bool(steps and steps.run_by_numbas_threads.overloads), bool(team.cache_info().currsize)]

    def answer(**values):
        print(json.dumps(values), flush=True)
"""
WITH_NUMBA = """
    import numba
    from numba.np.ufunc import parallel
"""


# A machine of four processors, of which nobody has said how many threads may use them.
FOUR = """
    import os
    os.environ.pop("NUMBA_NUM_THREADS")
    os.sched_getaffinity = lambda pid: {0, 1, 2, 3}
    from fastbp import hardware
    from numba.core import config
"""


def run(code: str, timeout: float = 100, before: str = "", with_numba: bool = True, **environment: str) -> Any:
    """What a process prints last, as JSON; on two threads unless the environment says otherwise.

    It imports Numba before fastbp, or leaves that to fastbp.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_THREADING_LAYER"}
    inherited |= {"PYTHONPATH": PACKAGE, "NUMBA_NUM_THREADS": "2"}
    script = "".join(map(textwrap.dedent, (before, WITH_NUMBA if with_numba else "", PRELUDE, code)))
    done = subprocess.run([sys.executable, "-P", "-c", script], env=inherited | environment, capture_output=True,
                          text=True, timeout=timeout, check=False)  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def serial() -> list[str]:
    """The hashes of three trainings on one thread, which every other way must give too; all is compiled then."""
    code = "fastbp.warmup('float32'); answer(all=[fit(0), fit(1), fit(2)])"
    hashes: list[str] = run(code, NUMBA_NUM_THREADS="1")["all"]
    assert len(set(hashes)) == 3
    return hashes


def has_openmp() -> bool:
    return ctypes.util.find_library("gomp") is not None


NEEDS_OPENMP = pytest.mark.skipif(not has_openmp(), reason="no libgomp here")
BY_NUMBA, BY_PYTHON, BY_NOBODY = [True, False], [False, True], [False, False]
# Whether Numba is imported before, its settings, which layer is used, and whose threads work.
LAYERS = [
    pytest.param(False, {}, ("python",), BY_PYTHON, id="without Numba"),
    pytest.param(False, {"NUMBA_THREADING_LAYER": "omp"}, ("python",), BY_PYTHON, id="without Numba, omp asked for"),
    pytest.param(True, {}, ("tbb", "omp"), BY_NUMBA, id="default", marks=NEEDS_OPENMP),
    pytest.param(True, {"NUMBA_THREADING_LAYER": "omp"}, ("omp",), BY_NUMBA, id="omp", marks=NEEDS_OPENMP),
    pytest.param(True, {"NUMBA_THREADING_LAYER": "workqueue"}, ("python",), BY_PYTHON, id="workqueue"),
    pytest.param(True, {"NUMBA_DISABLE_JIT": "1"}, ("python",), BY_PYTHON, id="nothing of Numba's is compiled"),
    pytest.param(False, {"NUMBA_NUM_THREADS": "1"}, ("python",), BY_NOBODY, id="one thread without Numba"),
    pytest.param(True, {"NUMBA_NUM_THREADS": "1"}, ("tbb", "omp", "python"), BY_NOBODY, id="one thread"),
]


# ---- layers ----


@pytest.mark.parametrize(("with_numba", "environment", "layers", "by"), LAYERS)
def test_every_layer_gives_the_same_bits(
    with_numba: bool, environment: dict[str, str], layers: tuple[str, ...], by: list[bool], serial: list[str]
) -> None:
    code = """
    hash = fit()
    answer(hash=hash, parallel=is_parallel(), layer=fastbp.threads.layer(), entered=entered(),
           numba="numba" in sys.modules)
    """
    result = run(code, with_numba=with_numba, **environment)
    assert result["layer"] in layers
    assert result == {
        "hash": serial[0], "parallel": by != BY_NOBODY, "layer": result["layer"], "entered": by, "numba": with_numba
    }  # fmt: skip


def test_numba_imported_between_two_trainings(serial: list[str]) -> None:
    """Whose threads are used is decided by the first call that needs some."""
    code = """
    hashes = [fit(0)]
    import numba
    numba.njit(parallel=True)(lambda x: x + 1.0)(np.ones(1000))
    hashes.append(fit(1))
    answer(hashes=hashes, layer=fastbp.threads.layer(), entered=entered())
    """
    result = run(code, with_numba=False)
    assert result == {"hashes": serial[:2], "layer": "python", "entered": BY_PYTHON}


@pytest.mark.parametrize("with_numba", [False, True])
def test_training_goes_on_when_the_main_thread_has_ended(with_numba: bool, serial: list[str]) -> None:
    """Also in functions that are called when the process exits; executors take no more work then."""
    code = """
    import atexit, time
    hashes = []

    def train():
        threading.main_thread().join()
        hashes.extend([fit(0), fit(1)])

    threading.Thread(target=train).start()
    atexit.register(lambda: answer(hashes=[*hashes, fit(2)], entered=entered()))
    """
    assert run(code, with_numba=with_numba) == {"hashes": serial, "entered": BY_NUMBA if with_numba else BY_PYTHON}


def test_where_no_thread_can_be_started(serial: list[str]) -> None:
    code = """
    def start(thread):
        raise RuntimeError("can't start new thread")

    threading.Thread.start = start
    answer(hashes=[fit(0), fit(1)], parallel=is_parallel(), entered=entered())
    """
    assert run(code, with_numba=False) == {"hashes": serial[:2], "parallel": True, "entered": BY_PYTHON}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no signals of this kind on this system")
@pytest.mark.parametrize("with_numba", [False, True])
@pytest.mark.parametrize("kind", ["SIGINT", "SIGALRM"])
def test_a_signal_ends_a_training_and_no_thread_works_on(kind: str, with_numba: bool, serial: list[str]) -> None:
    """Whenever it comes: a member left behind would write to memory that is then used for something else."""
    code = """
    import signal, time
    class Alarm(Exception):
        pass

    def ring(number, frame):
        raise Alarm

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, ring)
    fit()
    ended, hashes = 0, set()
    for turn in range(60):
        seconds, begun = 0.001 + 0.0005 * turn, threading.Event()
        def interrupt():
            begun.wait()
            time.sleep(seconds)
            os.kill(os.getpid(), signal.KIND)
        other = threading.Thread(target=interrupt)
        other.start()
        try:
            begun.set()
            fit(3, epochs=3000)
        except (KeyboardInterrupt, Alarm):
            ended += 1
        other.join()
        hashes.add(fit(turn % 3))
    answer(ended=ended, hashes=sorted(hashes), entered=entered())
    """.replace("KIND", kind)
    result = run(code, with_numba=with_numba)
    by = BY_NUMBA if with_numba else BY_PYTHON
    assert result == {"ended": 60, "hashes": sorted(serial), "entered": by}


# ---- forks ----


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("with_numba", [False, True])
def test_a_child_forked_before_anything_ran_trains(with_numba: bool, serial: list[str]) -> None:
    result = run(
        """
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with os.fdopen(write, "w") as pipe:
                    json.dump({"hashes": [fit(0), fit(1)], "threads": fastbp.threads.count()}, pipe)
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            inside = json.loads(pipe.read() or "null")
        status = os.waitpid(child, 0)[1]
        answer(inside=inside, status=status, after=fit(1), parallel=is_parallel())
        """,
        with_numba=with_numba,
    )
    assert result["status"] == 0
    assert result["inside"] == {"hashes": serial[:2], "threads": 1}
    assert result["after"] == serial[1]


# ---- what the user has set ----


def test_set_num_threads_is_respected_and_left() -> None:
    result = run(
        """
        numba.set_num_threads(1)
        numba.set_parallel_chunksize(3)
        limited = (fastbp.threads.count(), is_parallel())
        hashes = [fit()]
        kept = [numba.get_num_threads(), numba.get_parallel_chunksize()]
        numba.set_num_threads(2)
        free = (fastbp.threads.count(), is_parallel())
        hashes.append(fit())
        kept += [numba.get_num_threads(), numba.get_parallel_chunksize()]
        with fastbp.threads.limit(1):
            inside = (fastbp.threads.count(), is_parallel())
            hashes.append(fit())
        kept += [numba.get_num_threads(), fastbp.threads.count()]
        answer(limited=limited, free=free, inside=inside, kept=kept, hashes=len(set(hashes)))
        """
    )
    assert result == {"limited": [1, False], "free": [2, True], "inside": [1, False], "kept": [1, 3, 2, 3, 2, 2],
                      "hashes": 1}  # fmt: skip


def test_fewer_threads_than_the_user_allows_are_used_for_one_call_only() -> None:
    result = run(
        """
        numba.set_num_threads(3)
        hashes = []
        for threads in (2, 3, None):
            with fastbp.threads.limit(threads):
                assert is_parallel()
                hashes.append(fit())
        answer(left=numba.get_num_threads(), hashes=len(set(hashes)))
        """,
        NUMBA_NUM_THREADS="4",
    )
    assert result == {"left": 3, "hashes": 1}


@pytest.mark.parametrize("with_numba", [False, True])
def test_limits_nest_and_end(with_numba: bool) -> None:
    result = run(
        """
        counts = [fastbp.threads.count()]
        with fastbp.threads.limit(1):
            counts.append(fastbp.threads.count())
            with fastbp.threads.limit(2):
                counts.append(fastbp.threads.count())
            with fastbp.threads.limit(None):
                counts.append(fastbp.threads.count())
            counts.append(fastbp.threads.count())
        with fastbp.threads.limit(1000):
            counts.append(fastbp.threads.count())
        try:
            with fastbp.threads.limit(1):
                raise LookupError
        except LookupError:
            counts.append(fastbp.threads.count())
        pool = "numba" in sys.modules and sys.modules["numba.np.ufunc.parallel"]._is_initialized
        answer(counts=counts, pool=pool, threads=threading.active_count())
        """,
        with_numba=with_numba,
    )
    assert result == {"counts": [2, 1, 2, 2, 1, 2, 2], "pool": False, "threads": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("what", [pytest.param("fit", marks=pytest.mark.slow), "a_users_function"])
def test_a_child_forked_while_another_thread_compiles(what: str, tmp_path: Path) -> None:
    result = run(
        """
        import concurrent.futures.thread, logging, os, threading, time  # whose own hooks for forks take locks, too
        from fastbp.kernels import objects

        def a_users_function():
            numba.njit(lambda x: np.sort(x) @ np.cumsum(x))(np.ones(9))

        if WHAT is fit:
            lock = objects.lock
        else:
            from numba.core.compiler_lock import global_compiler_lock
            lock = global_compiler_lock._lock

        def child():
            fastbp.MLP((4, 3, 2), seed=0).predict_proba(np.ones((1, 4), np.float32))
            os._exit(7)

        compiling = threading.Thread(target=WHAT)
        compiling.start()
        while lock.acquire(blocking=False):  # until the other thread has it
            lock.release()
            time.sleep(0.01)
        time.sleep(0.5 * (WHAT is fit))
        pid = os.fork()
        if pid == 0:
            child()
        end = time.monotonic() + 60
        while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
            time.sleep(0.05)
        if done == (0, 0):
            os.kill(pid, 9)
        compiling.join()
        answer(status=os.waitstatus_to_exitcode(done[1]) if done[0] else "still there")
        """.replace("WHAT", what),
        with_numba=what != "fit",
        **({"NUMBA_CACHE_DIR": str(tmp_path)} if what == "fit" else {}),
    )
    assert result == {"status": 7}


def test_what_fastbp_does_to_numba_is_nothing() -> None:
    result = run(
        """
        from numba.core import config
        names = [name for name in vars(config) if name.isupper()]
        before = {name: repr(getattr(config, name)) for name in names}
        fit()
        answer(changed=[name for name in names if repr(getattr(config, name)) != before[name]])
        """
    )
    assert result == {"changed": []}


# ---- processors ----


def test_a_quota_leaves_threads_of_the_pool_idle(serial: list[str]) -> None:
    result = run(
        """
        hardware.cpu_quota = lambda: 1.5
        counts = [fastbp.threads.count(), config.NUMBA_NUM_THREADS]
        hashes = [fit(0)]
        counts += [fastbp.threads.count(), numba.get_num_threads()]
        with fastbp.threads.entered(fastbp.threads.count()):
            counts.append(numba.get_num_threads())
        with fastbp.threads.limit(3):
            counts.append(fastbp.threads.count())
        answer(counts=counts, hashes=hashes, parallel=is_parallel())
        """,
        before=FOUR,
    )
    assert result == {"counts": [2, 4, 2, 4, 2, 2], "hashes": serial[:1], "parallel": True}


@pytest.mark.parametrize("numbas", [4, None])
@pytest.mark.parametrize(
    ("affinity", "quota", "threads"),
    [
        (4, None, 4),
        (4, 64.0, 4),
        (4, 4.0, 4),
        (4, 3.01, 4),
        (4, 2.0, 2),
        (4, 0.1, 1),
        (3, None, 3),
        (3, 4.0, 3),
        (3, 2.0, 2),
    ],
)
def test_no_more_threads_than_processors(
    affinity: int, quota: float | None, threads: int, numbas: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether Numba says how many there are, or is not imported."""
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(fastbp.threads, "_numbas", lambda name: numbas)
    monkeypatch.setattr(fastbp.threads, "started", lambda: False)
    monkeypatch.setattr(fastbp.hardware, "affinity", lambda: affinity)
    monkeypatch.setattr(fastbp.hardware, "cpu_quota", lambda: quota)
    once = fastbp.hardware.processors, fastbp.threads._default, fastbp.threads._allowed_without_numba  # a process
    for look in once:
        monkeypatch.setattr(*owner(look), functools.cache(look.__wrapped__))  # type: ignore[attr-defined]
    assert fastbp.threads.count() == threads
    with fastbp.threads.limit(3):
        assert fastbp.threads.count() == min(3, threads)
    monkeypatch.setattr(fastbp.hardware, "cpu_quota", lambda: 1.0)
    assert fastbp.threads.count() == threads


def owner(function: Any) -> tuple[Any, str]:
    return sys.modules[function.__module__], function.__name__


def test_what_the_user_has_set_comes_before_a_quota() -> None:
    code = """
    from fastbp import hardware
    hardware.cpu_quota = lambda: 2.0
    counts = [fastbp.threads.count()]
    numba.set_num_threads(3)
    counts.append(fastbp.threads.count())
    numba.set_num_threads(1)
    counts.append(fastbp.threads.count())
    answer(counts=counts)
    """
    assert run(code, before=FOUR) == {"counts": [2, 3, 1]}
    assert run(code, before=FOUR + "    config.NUMBA_NUM_THREADS = 3\n") == {"counts": [3, 3, 1]}
    set_too = FOUR.replace('.pop("NUMBA_NUM_THREADS")', '["NUMBA_NUM_THREADS"] = "4"')
    assert run(code, before=set_too) == {"counts": [4, 3, 1]}


@pytest.mark.parametrize(("said", "count"), [("4", 4), ("3", 3), ("1", 1), ("0", 1), ("many", 4), ("", 4)])
def test_what_the_environment_says_holds_without_numba(said: str, count: int) -> None:
    code = """
    from fastbp import hardware
    hardware.cpu_quota = lambda: 2.0
    os.sched_getaffinity = lambda pid: {0, 1, 2, 3}
    answer(count=fastbp.threads.count(), several=fastbp.threads.several_allowed(), numba="numba" in sys.modules)
    """
    assert run(code, with_numba=False, NUMBA_NUM_THREADS=said) == {"count": count, "several": count > 1, "numba": False}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to bind a process here")
@pytest.mark.parametrize("with_numba", [False, True])
def test_a_process_bound_to_one_processor_is_serial(with_numba: bool) -> None:
    code = """
    before = len(os.sched_getaffinity(0)), fastbp.threads.configured()
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    answer(count=fastbp.threads.count(), parallel=is_parallel(), as_before=before[0] == before[1])
    """
    unset = "    import os\n    os.environ.pop('NUMBA_NUM_THREADS')\n"
    result = run(code, before=unset, with_numba=with_numba)
    assert result == {"count": 1, "parallel": False, "as_before": True}


# ---- no pool where none is needed ----


def test_importing_starts_no_thread_and_imports_no_compiler() -> None:
    code = """
    import json, sys, threading
    import fastbp
    heavy = ("numba", "llvmlite", "tqdm", "sklearn", "matplotlib")
    print(json.dumps([[name for name in heavy if name in sys.modules], threading.active_count()]))
    """
    assert json.loads(run_python(textwrap.dedent(code))) == [[], 1]


def test_importing_beside_numba_starts_no_pool_and_compiles_nothing() -> None:
    code = """
    import json
    from numba.core import event
    from numba.np.ufunc import parallel
    with event.install_recorder("numba:compile") as recorder:
        import fastbp
        from fastbp.kernels import functions, steps, objects
    print(json.dumps([parallel._is_initialized, len(recorder.buffer), len(objects._addresses),
                      len(steps.run_by_numbas_threads.overloads), len(steps.perform._translations)]))
    """
    assert json.loads(run_python(textwrap.dedent(code))) == [False, 0, 0, 0, 0]


@pytest.mark.parametrize("with_numba", [False, True])
def test_a_small_network_never_starts_a_thread(with_numba: bool, serial: list[str]) -> None:
    result = run(
        """
        net = fastbp.MLP((2, 50, 4), seed=0)
        X, y = fastbp.datasets.quadrants(4000, seed=0)
        net.fit(X, y, epochs=2, batch_size=32, l2=0.01, validation_data=(X[:32], y[:32]))
        net.predict(X[:32])
        net.gradient([[1.0, 2.0]], [1], l2=0.5)
        net.loss([[1.0, 2.0]], [1])
        fastbp.softmax_cross_entropy(np.eye(2, dtype="f4"), [1, 0])
        fastbp.affine_forward(np.ones((3, 4), "f4"), np.ones((4, 5), "f4"), np.ones(5, "f4"))
        small = [fastbp.threads.started(), threading.active_count(), *entered()]
        fit(0)
        answer(small=small, large=[fastbp.threads.started(), threading.active_count(), *entered()])
        """,
        with_numba=with_numba,
    )
    large = [True, 1, *BY_NUMBA] if with_numba else [False, 2, *BY_PYTHON]
    assert result == {"small": [False, 1, False, False], "large": large}


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, np.float64(2)])
def test_limit_refuses_what_is_no_number_of_threads(wrong: object) -> None:
    with pytest.raises((ValueError, TypeError), match="threads: got"), fastbp.threads.limit(wrong):  # type: ignore[arg-type]
        pass
    with fastbp.threads.limit(np.int64(1)):  # NumPy's whole numbers are as good
        assert fastbp.threads.count() == 1
