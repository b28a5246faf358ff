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
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp

PACKAGE = str(Path(fastbp.__file__).parents[1])  # what other processes import, whatever folder they start in

# Networks of which the first is large enough for two threads and the second is not.
PRELUDE = """
    import hashlib, json, os, sys, threading, warnings
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")  # what these tests are about
    import numpy as np
    import numba
    from numba.np.ufunc import parallel
    import fastbp
    from fastbp.program import cost_model, passes
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

    def answer(**values):
        print(json.dumps(values))
"""


# A machine of four processors, of which nobody has said how many threads may use them.
FOUR = """
    import os
    os.environ.pop("NUMBA_NUM_THREADS")
    os.sched_getaffinity = lambda pid: {0, 1, 2, 3}
    from fastbp import hardware
    from numba.core import config
"""


def run(code: str, timeout: float = 100, before: str = "", **environment: str) -> Any:
    """What a process prints last, as JSON; on two threads unless the environment says otherwise."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_THREADING_LAYER"}
    inherited |= {"PYTHONPATH": PACKAGE, "NUMBA_NUM_THREADS": "2"}
    script = "".join(map(textwrap.dedent, (before, PRELUDE, code)))
    done = subprocess.run([sys.executable, "-P", "-c", script], env=inherited | environment, capture_output=True,
                          text=True, timeout=timeout, check=False)  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def serial() -> list[str]:
    """The hashes of three trainings on one thread, which every other way must give too."""
    hashes: list[str] = run("answer(all=[fit(0), fit(1), fit(2)])", NUMBA_NUM_THREADS="1")["all"]
    assert len(set(hashes)) == 3
    return hashes


def has_openmp() -> bool:
    return ctypes.util.find_library("gomp") is not None


LAYERS = [
    pytest.param({}, id="default"),
    pytest.param({"NUMBA_THREADING_LAYER": "omp"}, id="omp",
                 marks=pytest.mark.skipif(not has_openmp(), reason="no libgomp here")),
    pytest.param({"NUMBA_THREADING_LAYER": "workqueue"}, id="workqueue"),
    pytest.param({"NUMBA_NUM_THREADS": "1"}, id="one thread"),
]  # fmt: skip


# ---- layers ----


@pytest.mark.parametrize("environment", LAYERS)
def test_every_layer_gives_the_same_bits(environment: dict[str, str], serial: list[str]) -> None:
    result = run("answer(hash=fit(), parallel=is_parallel(), layer=fastbp.threads.layer())", **environment)
    assert result["hash"] == serial[0]
    assert result["parallel"] is ("NUMBA_NUM_THREADS" not in environment)
    if "NUMBA_THREADING_LAYER" in environment:
        asked = environment["NUMBA_THREADING_LAYER"]
        assert result["layer"] == (None if asked == "workqueue" else asked)


@pytest.mark.slow
def test_a_parallel_region_is_entered_where_a_layer_is_safe() -> None:
    code = """
    from fastbp.kernels import steps
    fit()
    answer(layer=fastbp.threads.layer(), parallel=len(steps.run_parallel.overloads))
    """
    for environment in ({}, {"NUMBA_THREADING_LAYER": "workqueue"}):
        result = run(code, **environment)
        assert bool(result["parallel"]) is (result["layer"] is not None)
    assert result == {"layer": None, "parallel": 0}


# ---- forks ----


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_before_anything_ran_trains(serial: list[str]) -> None:
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
        """
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


def test_limits_nest_and_end() -> None:
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
        answer(counts=counts, pool=parallel._is_initialized)
        """
    )
    assert result == {"counts": [2, 1, 2, 2, 1, 2, 2], "pool": False}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("what", [pytest.param("fit", marks=pytest.mark.slow), "a_users_function"])
def test_a_child_forked_while_another_thread_compiles(what: str, tmp_path: Path) -> None:
    result = run(
        """
        import os, threading, time
        from numba.core.compiler_lock import global_compiler_lock

        def a_users_function():
            numba.njit(lambda x: np.sort(x) @ np.cumsum(x))(np.ones(9))

        def child():
            fastbp.MLP((4, 3, 2), seed=0).predict_proba(np.ones((1, 4), np.float32))
            os._exit(7)

        compiling = threading.Thread(target=WHAT)
        compiling.start()
        while global_compiler_lock._lock.acquire(blocking=False):  # until the other thread has it
            global_compiler_lock._lock.release()
            time.sleep(0.01)
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
    affinity: int, quota: float | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(fastbp.threads, "config", SimpleNamespace(NUMBA_NUM_THREADS=4, NUMBA_DEFAULT_NUM_THREADS=4))
    monkeypatch.setattr(fastbp.threads, "started", lambda: False)
    monkeypatch.setattr(fastbp.hardware, "affinity", lambda: affinity)
    monkeypatch.setattr(fastbp.hardware, "cpu_quota", lambda: quota)
    for look in (fastbp.hardware.processors, fastbp.threads._default):  # once a process
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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to bind a process here")
def test_a_process_bound_to_one_processor_is_serial() -> None:
    code = """
    before = len(os.sched_getaffinity(0)), config.NUMBA_NUM_THREADS
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    answer(count=fastbp.threads.count(), parallel=is_parallel(), as_before=before[0] == config.NUMBA_NUM_THREADS)
    """
    unset = "    import os\n    os.environ.pop('NUMBA_NUM_THREADS')\n    from numba.core import config\n"
    assert run(code, before=unset) == {"count": 1, "parallel": False, "as_before": True}


# ---- no pool where none is needed ----


def test_importing_starts_no_pool_and_compiles_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", textwrap.dedent("""
            import json, sys
            from numba.core import event
            from numba.np.ufunc import parallel
            with event.install_recorder("numba:compile") as recorder:
                import fastbp
            from fastbp.kernels import gather, steps
            overloads = [len(f.overloads) for f in (gather.gather_rows, steps.run_serial, steps.run_parallel)]
            print(json.dumps({"pool": parallel._is_initialized, "compiled": len(recorder.buffer),
                              "overloads": overloads, "once": len(steps.perform._compiled),
                              "heavy": [m for m in ("tqdm", "sklearn", "matplotlib") if m in sys.modules]}))
        """)],
        env={**os.environ, "PYTHONPATH": PACKAGE}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"pool": False, "compiled": 0, "overloads": [0, 0, 0], "once": 0, "heavy": []}


def test_a_small_network_never_starts_the_pool() -> None:
    result = run(
        """
        from fastbp.kernels import steps
        net = fastbp.MLP((2, 50, 4), seed=0)
        X, y = fastbp.datasets.quadrants(4000, seed=0)
        net.fit(X, y, epochs=2, batch_size=32, l2=0.01, validation_data=(X[:32], y[:32]))
        net.predict(X[:32])
        net.gradient([[1.0, 2.0]], [1], l2=0.5)
        net.loss([[1.0, 2.0]], [1])
        fastbp.softmax_cross_entropy([[0.0, 1.0]], [1])
        fastbp.affine_forward(np.ones((3, 4), "f4"), np.ones((4, 5), "f4"), np.ones(5, "f4"))
        pool, loaded = parallel._is_initialized, len(steps.run_parallel.overloads)
        fit(0)
        answer(pool=pool, loaded=loaded, large=parallel._is_initialized)
        """
    )
    assert result == {"pool": False, "loaded": 0, "large": True}


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, np.float64(2)])
def test_limit_refuses_what_is_no_number_of_threads(wrong: object) -> None:
    with pytest.raises((ValueError, TypeError), match="threads: got"), fastbp.threads.limit(wrong):  # type: ignore[arg-type]
        pass
    with fastbp.threads.limit(np.int64(1)):  # NumPy's whole numbers are as good
        assert fastbp.threads.count() == 1
