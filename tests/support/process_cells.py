"""Ways to compute from many threads and processes at once: a script that `test_processes` runs.

``python process_cells.py ROUNDS WAY...`` prints, for each way, one line of JSON: what it computed, and how.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

if os.environ.get("FASTBP_TEST_NUMBA"):  # in every process of a way, and before fastbp: its threads are used then
    import numba  # noqa: F401

import fastbp
from fastbp import reference
from fastbp.program.team import team
from fastbp.program.tuning import Tuning, forced

# Every call enters a parallel region, however small: forced, so neither SHORT nor POOL_START keeps it to one thread.
SIZES = ((120, 200, 90, 10), (33, 129, 65, 7), (16, 300, 5), (64, 100, 10))
ROWS, BATCH = 300, 64
THREADS = 8
MARK = "cell: "  # Numba's layers print lines of their own


def without_libraries() -> None:
    """As where no TBB is installed, or (``all``) no OpenMP either; in each process anew, before its pool starts."""
    missing = os.environ.get("FASTBP_TEST_MISSING")
    if missing:
        fastbp.threads.TBB_LIBRARIES.clear()
    if missing == "all":
        sys.modules["numba.np.ufunc.omppool"] = None  # type: ignore[assignment] # an import of it fails


def entered() -> list[bool]:
    """Whether a team has worked in this process by Numba's threads, and by Python's."""
    steps = sys.modules.get("fastbp.kernels.steps")
    return [steps is not None and bool(steps.run_by_numbas_threads.overloads), bool(team.cache_info().currsize)]


def network(seed: int) -> tuple[fastbp.MLP, Any, Any]:
    sizes = SIZES[seed % len(SIZES)]
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(ROWS, sizes[0])).astype("f4"), rng.integers(0, sizes[-1], ROWS)
    return fastbp.MLP(sizes, seed=seed), X, y


def digest(*arrays: Any) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def predict(seed: int) -> str:
    net, X, _ = network(seed)
    with forced(Tuning(parallel=True)):
        return digest(net.predict_proba(X), net.predict(X))


def fit(seed: int) -> str:
    net, X, y = network(seed)
    with forced(Tuning(parallel=True)):
        net.fit(X, y, epochs=2, batch_size=BATCH, l2=0.01)
        return digest(net.parameters, net.predict_proba(X))


def both(seed: int) -> dict[str, Any]:
    """What a process of its own answers; joblib's receive this function without the module."""
    if os.environ.get("FASTBP_TEST_NUMBA"):
        import numba  # noqa: F401
    without_libraries()
    answer = {"seed": seed, "predict": predict(seed), "fit": fit(seed), "threads": fastbp.threads.count()}
    return answer | {"entered": entered(), "numba": "numba" in sys.modules, "pid": os.getpid()}


# ---- threads ----


def together(count: int, work: Callable[[int], None]) -> None:
    """Call from so many Python threads that start as one; the first error of any is raised."""
    start, errors = threading.Barrier(count), []

    def body(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def threads_apart(rounds: int) -> list[Any]:
    """Different networks: even threads fit first, odd ones predict first."""
    answers: list[Any] = []

    def work(number: int) -> None:
        for turn in range(rounds):
            first = {} if (number + turn) % 2 else {"fit": fit(number)}
            answers.append({"seed": number, "predict": predict(number), **first})

    together(THREADS, work)
    return answers


def threads_with_one(rounds: int) -> list[Any]:
    """One network, of which each thread asks for the rows from another one on."""
    net, X, _ = network(0)
    answers = [{"seed": 0, "predict": predict(0)}]
    with forced(Tuning(parallel=True)):
        expected, classes = net.predict_proba(X), net.predict(X)

    def work(number: int) -> None:
        begin = 20 * number
        with forced(Tuning(parallel=True)):
            for _ in range(4 * rounds):
                np.testing.assert_array_equal(net.predict_proba(X[begin:]), expected[begin:])
                np.testing.assert_array_equal(net.predict(X[begin:]), classes[begin:])

    together(THREADS, work)
    return answers


def threads_beside_a_fit(rounds: int) -> list[Any]:
    """One thread trains a network with which three others predict: of the parameters as they are at that moment."""
    answers = []
    for turn in range(rounds):
        net, X, y = network(turn % THREADS)
        trained = threading.Event()

        def work(number: int, net: Any = net, X: Any = X, y: Any = y, trained: Any = trained) -> None:
            with forced(Tuning(parallel=True)):
                if number == 0:
                    try:
                        net.fit(X, y, epochs=2, batch_size=BATCH, l2=0.01, callbacks=[lambda *_: time.sleep(0.005)])
                    finally:
                        trained.set()
                while not trained.is_set():
                    probabilities = net.predict_proba(X[number:])
                    assert probabilities.shape == (ROWS - number, net.classes)
                    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
                    assert np.isfinite(net.gradient(X, y).loss)

        together(4, work)
        with forced(Tuning(parallel=True)):
            answers.append({"seed": turn % THREADS, "fit": digest(net.parameters, net.predict_proba(X))})
    return answers


# ---- forks ----


def in_fork(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a forked child returns, passed on as JSON; it must end by itself."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                json.dump(function(*arguments), pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"the child ended with {status}, expected 0"
    return json.loads(text)


def fork_predict(rounds: int) -> list[Any]:
    """The parent's own network, which has been computed with; the parent stays as it was."""
    net, X, _ = network(1)
    with forced(Tuning(parallel=True)):
        net.predict(X)

    def child() -> Any:
        with forced(Tuning(parallel=True)):
            return {"seed": 1, "predict": digest(net.predict_proba(X), net.predict(X)),
                    "threads": fastbp.threads.count(), "pid": os.getpid()}  # fmt: skip

    answers = []
    for _ in range(rounds):
        answers += [in_fork(child), both(2)]
    return answers


def fork_fit(rounds: int) -> list[Any]:
    answers = [both(0)]
    for number in range(rounds):
        answers += [in_fork(both, number % THREADS), both(3)]
    return answers


def with_a_child(seed: int) -> list[Any]:
    return [both(seed), in_fork(both, seed + 1), both(seed + 2)]


def grandchild(rounds: int) -> list[Any]:
    answers = [both(0)]
    for number in range(rounds):
        answers += [*in_fork(with_a_child, number % 6), both(4)]
    return answers


def fork_among_threads(rounds: int) -> list[Any]:
    """The main thread forks while two others are within parallel regions, most of the time."""
    answers: list[Any] = [both(0)]
    done = threading.Event()

    def compute(number: int) -> None:
        while not done.is_set():
            answers.append({"seed": number, "predict": predict(number), "fit": fit(number)})

    others = threading.Thread(target=together, args=(2, compute))
    others.start()
    try:
        for turn in range(2 * rounds):
            time.sleep(0.001 * (turn % 7))
            answers.append(in_fork(both, turn % THREADS))
            answers.append({"seed": 5, "predict": predict(5)})
    finally:
        done.set()
        others.join()
    return answers


def fork_from_a_thread(rounds: int) -> list[Any]:
    """The same by a thread that is not the main one."""
    answers: list[Any] = []
    together(1, lambda _: answers.extend(fork_among_threads(rounds)))
    return answers


def fork_among_short_fits(rounds: int) -> list[Any]:
    """Forks while two threads prepare one small training after the other: nothing a child needs may be locked then."""
    X, y = np.ones((8, 2), "f4"), np.arange(8) % 4
    answers, done = [both(0)], threading.Event()

    def train(*_: Any) -> int:
        fastbp.MLP((2, 50, 4), seed=0).fit(X, y, epochs=1)
        return fastbp.threads.count()

    def work(number: int) -> None:
        while not done.is_set():
            train()

    train()  # a fork while another thread compiles or loads leaves Numba's own lock held in the child, for ever
    others = threading.Thread(target=together, args=(2, work))
    others.start()
    try:
        for _ in range(20 * rounds):
            time.sleep(0.001)
            assert in_fork(train) == 1
    finally:
        done.set()
        others.join()
    return [*answers, both(1)]


# ---- processes ----


def by_executor(method: str, rounds: int) -> list[Any]:
    answers = [both(0)]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(min(2, rounds), mp_context=context) as executor:
        answers += executor.map(both, [seed % THREADS for seed in range(2 * rounds)])
    return [*answers, both(1)]


def spawn(rounds: int) -> list[Any]:
    return by_executor("spawn", rounds)


def forkserver(rounds: int) -> list[Any]:
    return by_executor("forkserver", rounds)


def pool(rounds: int) -> list[Any]:
    """The pool of `multiprocessing`, forked as it is by default on Linux before Python 3.14."""
    answers = [both(0)]
    with multiprocessing.get_context("fork").Pool(2) as workers:
        answers += workers.map(both, [seed % THREADS for seed in range(3 * rounds)], chunksize=1)
    return [*answers, both(1)]


def loky(rounds: int) -> list[Any]:
    import joblib

    answers = [both(0)]
    with joblib.parallel_config("loky", inner_max_num_threads=2):
        tasks = (joblib.delayed(both)(seed % THREADS) for seed in range(3 * rounds))
        answers += joblib.Parallel(n_jobs=2)(tasks)
    return [*answers, both(1)]


def alone(rounds: int) -> list[Any]:
    """Every network once, and how far its probabilities are from NumPy's; all that the ways need is compiled then."""
    fastbp.warmup("float32")
    answers = []
    for seed in range(THREADS):
        net, X, _ = network(seed)
        weights, biases = ([array.astype("f8") for array in arrays] for arrays in (net.weights, net.biases))
        exact = reference.softmax(reference.forward(weights, biases, X)[-1])
        answers.append({**both(seed), "error": float(np.abs(net.predict_proba(X) - exact).max())})
    return answers


WAYS = {
    way.__name__: way
    for way in (threads_apart, threads_with_one, threads_beside_a_fit, fork_predict, fork_fit, grandchild,
                fork_among_threads, fork_from_a_thread, fork_among_short_fits, spawn, forkserver, pool, loky, alone)
}  # fmt: skip


def main(rounds: int, names: list[str]) -> None:
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the test asks where it hangs
    without_libraries()
    for name in names:
        began = time.perf_counter()
        answers = WAYS[name](rounds)
        how = {"parent_threads": fastbp.threads.count(), "layer": fastbp.threads.layer(),
               "parent_entered": entered(), "pid": os.getpid()}  # fmt: skip
        line = {"way": name, "answers": answers, "seconds": time.perf_counter() - began, **how}
        print("\n" + MARK + json.dumps(line), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
