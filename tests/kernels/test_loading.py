"""Kernels being compiled or loaded: Ctrl-C waits and is not lost; a Numba told to compile nothing is named."""

from __future__ import annotations

import json

import pytest

from support.processes import python

# Ctrl-C comes when a call first gets to a function of that name in a file of that name: within one of LLVM's callbacks
# it would be lost; within a module of Numba's it would leave it half imported, and every later call would fail.
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
BUFFER = "_raw_object_cache_getbuffer", "executionengine.py"
print(outcome(lambda: net.logits(X), "<module>", "unicode.py"))
print(outcome(lambda: net.logits(X.astype(np.uint8)), *BUFFER))  # what gathers rows
print(outcome(lambda: fastbp.relu_forward(np.ones(3)), *BUFFER))  # float64
if fastbp.threads.layer() and fastbp.threads.count() > 1:
    print(outcome(lambda: large.logits(rows), *BUFFER))
else:
    print("interrupted")

hidden = np.maximum(X @ net.weights[0] + net.biases[0], 0)
for given in (X, X.astype(np.uint8)):
    np.testing.assert_allclose(net.logits(given), hidden @ net.weights[1] + net.biases[1], rtol=1e-4, atol=1e-4)
hidden = np.maximum(rows[:1] @ large.weights[0] + large.biases[0], 0)
np.testing.assert_allclose(large.logits(rows)[-1:], hidden @ large.weights[1] + large.biases[1], rtol=1e-3, atol=1e-3)
assert (fastbp.relu_forward(np.array([-1.0, 2.0])) == [0, 2]).all()
"""
JIT_DISABLED = {"NUMBA_DISABLE_JIT": "1"}
SAID = ("NUMBA_DISABLE_JIT: got 1 when fastbp was imported, expected 0, for its kernels run only compiled; unset it, "
        "and start Python anew")  # fmt: skip


def test_ctrl_c_is_neither_lost_nor_harmful() -> None:
    done = python(INTERRUPTED, env={"NUMBA_NUM_THREADS": "2"}, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.split() == ["interrupted"] * 4


CALLS = (
    "net.fit(X, [0, 1], epochs=1)", "net.predict(X)", "net.predict(X.astype('u1'))", "net.loss(X, [0, 1])",
    "fastbp.relu_forward(X)", "fastbp.warmup()", "fastbp.fit_many([net], X, [0, 1])",
)  # fmt: skip
EACH = """
import json, sys
import numpy as np
import fastbp

X, net, said = np.ones((2, 3)), fastbp.MLP((3, 4, 2), seed=0), {}
for call in sys.argv[1:]:
    try:
        exec(call)
    except Exception as error:
        said[call] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What each call says where Numba compiles nothing."""
    result: dict[str, str] = json.loads(python(EACH, *CALLS, env=JIT_DISABLED).stdout)
    return result


@pytest.mark.parametrize("call", CALLS)
def test_a_numba_that_compiles_nothing(call: str, said: dict[str, str]) -> None:
    assert said[call] == f"ValueError: {SAID}"


@pytest.mark.parametrize("command, status", [("train", 2), ("info", 0)])
def test_the_command_line_where_numba_compiles_nothing(command: str, status: int) -> None:
    done = python(f"import sys; from fastbp.cli import main; sys.exit(main(['{command}']))", env=JIT_DISABLED)
    assert done.returncode == status
    if command == "train":
        assert done.stderr == f"fastbp train: error: {SAID}\n"
    else:
        assert "NUMBA_DISABLE_JIT=1 is set: nothing is compiled" in done.stdout
