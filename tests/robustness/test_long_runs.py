"""What shows only in time: memory that grows, a save cut off at any moment, Ctrl-C at any moment.

Short in every run of the tests; for minutes with FASTBP_LONG=1. Each prints its figures (``pytest -rP``).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.processes import run_python

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
MEGABYTE = 1 << 20


def figures(code: str, timeout: float, **settings: float | str) -> Any:
    """What a process of its own, on two threads, prints last."""
    environment = {"NUMBA_NUM_THREADS": "2", "SETTINGS": json.dumps(settings)}
    result = json.loads(run_python(code, environment, timeout).splitlines()[-1])
    print(json.dumps(result))
    return result


# ---- memory ----

SOAK = """
import copy, gc, json, os, pickle, tempfile, threading, time
os.environ["FASTBP_SPECIALISE"] = "0"  # or a step that was compiled beside the fits comes up while memory is measured
import numpy as np
from numba.core import event
import fastbp
from fastbp.kernels import functions, objects
from fastbp.program.tuning import Tuning, forced

SETTINGS = json.loads(os.environ["SETTINGS"])
if SETTINGS["threads"] == "python":  # as where Numba is not imported, whatever the cache has
    fastbp.threads._layer = "python"
SIZES = ((120, 200, 90, 10), (2, 50, 4), (64, 300, 5))
KINDS = 12  # of rounds: what they do depends on their number modulo this
path = os.path.join(tempfile.mkdtemp(), "net.npz")
rng = np.random.default_rng(0)


def refused(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def one(number):
    sizes, dtype = SIZES[number % 3], ("f4", "f8")[number // 3 % 2]
    rows = 300 + int(rng.integers(SETTINGS["row counts"]))  # for each, programs are made and remembered, up to 256
    X, y = rng.normal(size=(rows, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], rows)
    labels = y if number // 6 % 2 else np.eye(sizes[-1], dtype=dtype)[y]
    net = fastbp.MLP(sizes, dtype=dtype, seed=number, input_scale=0.5 if number % 4 == 3 else None)
    with forced(Tuning(parallel=number % 2 == 0)):
        net.fit(X, labels, epochs=2, batch_size=32, l2=0.01 * (number % 2), shuffle=number % 5 > 0,
                validation_data=(X[:50], y[:50]))
        net.save(path)
        other = fastbp.load(path)
        expected = net.predict_proba(X)
        assert (other.predict_proba(X) == expected).all()
        for again in (net, other):
            again.fit(X, y, epochs=1)
        assert (net.parameters == other.parameters).all()
        net.gradient(X, labels, l2=0.1), net.loss(X, y), net.score(X, y)
        if number % KINDS in (3, 8):
            copied = pickle.loads(pickle.dumps(net)) if number % 2 else copy.deepcopy(net)
            assert (copied.predict(X) == net.predict(X)).all()
        refused(ValueError, net.predict, X[:, 1:])
        refused(ValueError, net.fit, X, y - 1)
        if number % KINDS == 5:
            refused(fastbp.DivergenceError, net.fit, X, y, learning_rate=1e30)
    if number % KINDS == 7:
        threads = [threading.Thread(target=other.predict, args=(X,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


number = 0
while number < SETTINGS["warm up"]:
    one(number)
    number += 1
before, loaded, memory = resident(), set(objects._addresses), []
end = time.monotonic() + SETTINGS["seconds"]
with event.install_recorder("numba:compile") as recorder:
    while time.monotonic() < end or len(memory) < 3:
        for _ in range(KINDS):
            one(number)
            number += 1
        memory.append(resident())
tenth = max(1, len(memory) // 10)
print(json.dumps({
    "rounds": number, "before": before, "grown": max(memory) - before,
    "each tenth": [round((m - before) / 2**20, 2) for m in memory[tenth - 1 :: tenth]],
    "loaded": sorted(map(str, set(objects._addresses) - loaded)), "compiled": len(recorder.buffer),
    "threads": fastbp.threads.layer(),
    "files": os.listdir(os.path.dirname(path)),
}))
"""


def soak(seconds: float, warm_up: int, row_counts: int, threads: str) -> None:
    settings = {"seconds": seconds, "warm up": warm_up, "row counts": row_counts, "threads": threads}
    result = figures(SOAK, 120 + 2 * seconds, **settings)
    assert result["grown"] <= 5 * MEGABYTE
    assert result["loaded"] == []
    assert result["compiled"] == 0
    assert (result["threads"] == "python") is (threads == "python")
    assert result["files"] == ["net.npz"]


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("threads", ["python", "numba"])
def test_memory_stays_flat(threads: str) -> None:
    soak(6, warm_up=96, row_counts=2, threads=threads)  # by then most of the 256 programs that are kept are there


@needs_proc
@pytest.mark.long
@pytest.mark.parametrize("threads", ["python", "numba"])
def test_memory_stays_flat_for_long(threads: str) -> None:
    seconds = float(os.environ.get("FASTBP_LONG_SECONDS", "600"))
    soak(seconds, warm_up=300, row_counts=300, threads=threads)


# ---- a save that is killed ----

KILL = """
import glob, json, mmap, os, random, signal, struct, tempfile, time, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
import fastbp

SETTINGS = json.loads(os.environ["SETTINGS"])
random.seed(SETTINGS["seed"])
folder = tempfile.mkdtemp()
path = os.path.join(folder, "net.npz")
saved = mmap.mmap(-1, 8)  # shared with the child: the number of the last state whose save has returned
result = {"kills": 0, "lost": 0, "wrong": 0, "while writing": 0, "replaced, not returned": 0, "saves": 0}


def state(number):
    net.parameters[...] = number
    net.class_names = (str(number), *"abc")


def count():
    return struct.unpack("q", saved[:])[0]


for kill in range(SETTINGS["kills"]):
    net = fastbp.MLP((2, 50, 4) if kill % 2 else (700, 700, 4), seed=0)  # 5 kB and 2 MB
    state(0)
    net.save(path)
    saved[:] = struct.pack("q", 0)
    child = os.fork()
    if child == 0:
        number = 0
        while True:
            number += 1
            state(number)
            net.save(path)
            saved[:] = struct.pack("q", number)
    time.sleep(random.uniform(0.0, 0.05))
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    result["kills"] += 1
    last = count()
    result["saves"] += last
    left = glob.glob(os.path.join(folder, ".fastbp-*.tmp"))
    result["while writing"] += len(left)
    for file in left:
        os.unlink(file)
    try:
        found = fastbp.load(path)
    except Exception as error:
        result["lost"] += 1
        result["error"] = repr(error)
        continue
    number = int(found.class_names[0])
    whole = bool((found.parameters == number).all()) and found.sizes == net.sizes
    result["wrong"] += not (whole and number in (last, last + 1))
    result["replaced, not returned"] += number == last + 1
assert os.listdir(folder) == ["net.npz"]
print(json.dumps(result))
"""


def kill_saves(kills: int, seed: int) -> None:
    result = figures(KILL, 60 + kills, kills=kills, seed=seed)
    assert result["kills"] == kills
    assert result["lost"] == result["wrong"] == 0, result
    assert result["while writing"] > 0, "no kill came while a file was written: nothing was tried"


@needs_fork
def test_a_killed_save_leaves_the_last_good_file() -> None:
    kill_saves(8, seed=1)


@needs_fork
@pytest.mark.long
def test_many_killed_saves_leave_the_last_good_file() -> None:
    kill_saves(100, seed=2)


# ---- Ctrl-C ----

INTERRUPT = """
import json, mmap, os, random, signal, struct, tempfile, time, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
import numpy as np
import fastbp

SETTINGS = json.loads(os.environ["SETTINGS"])
random.seed(SETTINGS["seed"])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
path = os.path.join(tempfile.mkdtemp(), "net.npz")
sent = mmap.mmap(-1, 8)  # shared with the child that sends the signal: when it did
rng = np.random.default_rng(0)


def interrupt():
    \"\"\"Ctrl-C at a random moment, from another process; returns that.\"\"\"
    delay, parent = random.uniform(0.0, 0.4), os.getpid()
    child = os.fork()
    if child == 0:
        time.sleep(delay)
        sent[:] = struct.pack("d", time.perf_counter())  # one clock for all processes
        os.kill(parent, signal.SIGINT)
        os._exit(0)
    return child


def steps_until(net, start, X, y, batch, learning_rate):
    \"\"\"After how many whole steps from `start` the network is what it is; None for none up to a limit.\"\"\"
    batches = len(X) // batch
    for step in range(20000):
        if (net.parameters == start.parameters).all():
            return step
        at = slice(step % batches * batch, (step % batches + 1) * batch)
        start.fit(X[at], y[at], epochs=1, batch_size=batch, shuffle=False, learning_rate=learning_rate)
    return None


def kind_of(number):
    \"\"\"Network, rows, options: short steps, then in random order, long steps, callbacks between them.\"\"\"
    if number % 4 == 2:
        return (1, 1024, 1024, 10), 100_000, {"batch_size": 128, "shuffle": False, "learning_rate": 1e-4}
    if number % 4 == 3:
        return (2, 50, 4), 300, {"batch_size": 32, "callbacks": [lambda net, history: None]}
    return (120, 200, 90, 10), 1280, {"batch_size": 128, "shuffle": number % 4 == 1, "learning_rate": 0.01}


result = {"interrupts": 0, "seconds": [], "not finite": 0, "other bits": 0, "within a step": 0, "steps": []}
for number in range(-4, SETTINGS["interrupts"]):
    sizes, count, options = kind_of(number)
    X, y = rng.normal(size=(count, sizes[0])).astype("f4"), rng.integers(0, sizes[-1], count)
    if number < 0:  # what is compiled, or loaded from the cache, is so before the first Ctrl-C
        fastbp.MLP(sizes, seed=0).fit(X[:256], y[:256], epochs=3, **options)
        continue
    net, start = fastbp.MLP(sizes, seed=number), fastbp.MLP(sizes, seed=number)
    child = None
    try:
        child = interrupt()
        net.fit(X, y, epochs=10**6, **options)
    except KeyboardInterrupt:
        result["seconds"].append(time.perf_counter() - struct.unpack("d", sent[:])[0])
    os.waitpid(child, 0)
    result["interrupts"] += 1
    result["not finite"] += not np.isfinite(net.predict_proba(X)).all()
    if number % 4 == 0:
        steps = steps_until(net, start, X, y, 128, options["learning_rate"])
        result["within a step"] += steps is None
        result["steps"].append(steps)
    net.save(path)
    fresh = fastbp.load(path)
    for again in (net, fresh):
        again.fit(X[:1280], y[:1280], epochs=2, **options)
    result["other bits"] += not (net.parameters == fresh.parameters).all()
result["longest"] = max(result["seconds"])
result["median"] = float(np.median(result.pop("seconds")))
print(json.dumps(result))
"""


def interrupt_fits(interrupts: int, seed: int) -> None:
    result = figures(INTERRUPT, 60 + 5 * interrupts, interrupts=interrupts, seed=seed)
    assert result["interrupts"] == interrupts
    assert result["not finite"] == result["other bits"] == result["within a step"] == 0, result
    assert any(result["steps"]), "no step was done before Ctrl-C: nothing was tried"
    assert result["longest"] < 1.0  # 50 ms, and what a busy machine adds


@pytest.mark.slow
@needs_fork
def test_ctrl_c_at_any_moment_leaves_whole_steps() -> None:
    interrupt_fits(5, seed=1)


@needs_fork
@pytest.mark.long
def test_ctrl_c_at_many_moments_leaves_whole_steps() -> None:
    interrupt_fits(50, seed=2)
