"""Kernels being compiled or loaded: Ctrl-C waits and is not lost; a Numba told to compile nothing is no matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import python, run_python

# Ctrl-C comes when a call first gets to a function of that name in a file of that name: within a module of Numba's it
# would leave it half imported, and every later call would fail; in a team others would work on.
INTERRUPTED = """
import signal, sys
import numpy as np
import fastbp

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a script ignores it

def outcome(call, name, file):
    sent = []

    def look(frame, event, argument):
        code = frame.f_code
        if not sent and event == "call" and code.co_name == name and code.co_filename.endswith(file):
            sent.append(True)
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(look)
    try:
        call()
    except KeyboardInterrupt:
        return "interrupted" if sent else "interrupted by nobody"
    finally:
        sys.setprofile(None)
    return "lost" if sent else "not sent"

net, large = fastbp.MLP((2, 9, 3), seed=0), fastbp.MLP((1200, 1200, 10), seed=0)
X = np.arange(12, dtype=np.float32).reshape(6, 2)
rows = np.ones((600, 1200), np.float32)
print(outcome(lambda: net.logits(X), "<module>", "untyped_passes.py"))
print(outcome(lambda: net.logits(X.astype(np.uint8)), "link", "orcjit.py"))  # what gathers rows
print(outcome(lambda: fastbp.relu_forward(np.ones(3)), "join", "threading.py"))  # float64: LLVM works in a thread
fastbp.threads.layer()  # starts the pool: without one, work as short as this stays on one thread
if fastbp.threads.count() > 1:
    print(outcome(lambda: large.logits(rows), "run", "team.py"))
else:
    print("interrupted")

hidden = np.maximum(X @ net.weights[0] + net.biases[0], 0)
for given in (X, X.astype(np.uint8)):
    np.testing.assert_allclose(net.logits(given), hidden @ net.weights[1] + net.biases[1], rtol=1e-4, atol=1e-4)
hidden = np.maximum(rows[:1] @ large.weights[0] + large.biases[0], 0)
np.testing.assert_allclose(large.logits(rows)[-1:], hidden @ large.weights[1] + large.biases[1], rtol=1e-3, atol=1e-3)
assert (fastbp.relu_forward(np.array([-1.0, 2.0])) == [0, 2]).all()
"""
ONE_KEPT = "from fastbp.kernels import functions, objects; objects.addresses([functions.RUN])"


@pytest.mark.slow  # it compiles
@pytest.mark.parametrize("kept", ["", ONE_KEPT], ids=["nothing kept", "one function kept"])
def test_ctrl_c_is_neither_lost_nor_harmful(kept: str, tmp_path: Path) -> None:
    environment = {"NUMBA_NUM_THREADS": "2", "NUMBA_CACHE_DIR": str(tmp_path)}
    run_python(kept, env=environment)
    done = python(INTERRUPTED, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.split() == ["interrupted"] * 4


CALLS = """
import hashlib
import numpy as np
import fastbp
X = np.random.default_rng(0).normal(size=(20, 3))
net = fastbp.MLP((3, 4, 2), seed=0)
net.fit(X, np.arange(20) % 2, epochs=2)
results = [net.parameters, net.predict(X), net.logits(X.astype("u1")), fastbp.relu_forward(X)]
with fastbp.threads.limit(2):
    results.append(fastbp.affine_forward(*(np.ones(shape, "f4") for shape in ((700, 500), (500, 400), (400,)))))
print(hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest())
"""


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("first", ["", "import numba"])
def test_a_numba_that_compiles_nothing(first: str, compiled: bool, tmp_path: Path) -> None:
    """NUMBA_DISABLE_JIT is about what Numba's dispatchers compile; fastbp's functions are compiled without them."""
    environment = {"NUMBA_NUM_THREADS": "2"}
    expected = run_python(CALLS, env=environment)
    environment |= {"NUMBA_DISABLE_JIT": "1"} | ({"NUMBA_CACHE_DIR": str(tmp_path)} if compiled else {})
    assert run_python(first + CALLS, env=environment) == expected
