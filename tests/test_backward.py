"""Back-propagation from a gradient of the logits that comes from elsewhere."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, gradcheck, threads
from fastbp.kernels.activations import ACTIVATIONS
from support.comparisons import assert_same_bits

SIZES = (4, 17, 9, 3)


def assert_same(actual: Any, expected: Any) -> None:
    for name in ("weights", "biases"):
        for one, other in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert_same_bits(one, other)
    assert_same_bits(actual.inputs, expected.inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 70, 3000])
def test_the_gradient_of_a_loss(dtype: str, rows: int) -> None:
    """64 and 1/64 are powers of two: the mean loss's own gradient, to the bit."""
    rng = np.random.default_rng(0)
    net = MLP(SIZES, "tanh", "half_squared_error", dtype, seed=0, input_shift=0.5, input_scale=2.0)
    X, targets = rng.normal(size=(rows, 4)), rng.normal(size=(rows, 3)).astype(dtype)
    z, share = net.logits(X), np.dtype(dtype).type(1 / 3)
    dlogits = (z - targets) * (share * np.dtype(dtype).type(1 / rows))
    assert_same(net.backward(X, dlogits), net.gradient(X, targets))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", [0, 2])
def test_derivatives_of_an_output(activation: str, output: int) -> None:
    net = MLP(SIZES, activation, dtype="float64", seed=1)
    X = np.random.default_rng(2).normal(size=(5, 4))
    one = np.zeros((5, 3))
    one[:, output] = 1.0
    found = net.backward(X, one)
    assert gradcheck(lambda x: net.logits(x)[:, output].sum(), found.inputs, X)

    def of_biases(b: Any) -> float:
        net.biases[0][...] = b
        return float(net.logits(X)[:, output].sum())

    assert gradcheck(of_biases, found.biases[0], net.biases[0].copy())


def test_one_output_and_threads() -> None:
    net = MLP((30, 200, 1), loss="huber", seed=0)
    X, dlogits = np.random.default_rng(0).normal(size=(2000, 30)), np.random.default_rng(1).normal(size=2000)
    with threads.limit(1):
        expected = net.backward(X, dlogits)
    assert_same(net.backward(X, dlogits[:, None]), expected)
    assert isinstance(expected, fastbp.Derivatives)


def test_rows_of_a_frame_are_in_its_order() -> None:
    pd = pytest.importorskip("pandas")
    net = MLP((2, 3, 2), seed=0)
    net.feature_names = ("a", "b")
    X = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    swapped = pd.DataFrame({"b": X[:, 1], "a": X[:, 0]})
    assert_same_bits(net.backward(swapped, np.ones((6, 2))).inputs, net.backward(X, np.ones((6, 2))).inputs[:, ::-1])


@pytest.mark.parametrize(
    ("dlogits", "error", "words"),
    [
        (np.ones((4, 3)), ValueError, r"dlogits: got shape \(4, 3\), expected \(5, 3\)"),
        (np.ones(5), ValueError, r"dlogits: got shape \(5,\)"),
        (np.ones((5, 3), complex), TypeError, "dlogits: got dtype complex128"),
    ],
)
def test_what_is_refused(dlogits: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        MLP(SIZES).backward(np.ones((5, 4)), dlogits)


@pytest.mark.parametrize("inputs", [True, False])
def test_blocks_add_up(inputs: bool) -> None:
    """8192 rows are several; `gradient` has a program of its own."""
    net, (X, targets) = wide(loss="half_squared_error"), made(8192)
    expected = net.gradient(X, targets)
    dlogits = (net.logits(X) - targets) * (np.float32(1 / 3) / 8192)
    for given in (dlogits, lambda z: (z - targets) * (np.float32(1 / 3) / 8192)):
        found = net.backward(X, given, inputs=inputs)
        assert_same_bits(found.parameters, expected.parameters)
        if inputs:
            assert_same_bits(found.inputs, expected.inputs)


# ---- memory that is used again ----

FORMS: dict[str, Any] = {
    "float32": lambda X: X.astype("float32"), "float64": lambda X: X, "uint8": lambda X: (X * 40 + 100).astype("uint8"),
    "int64": lambda X: (X * 40).astype("int64"), "Fortran": lambda X: np.asfortranarray(X.astype("float32")),
    "long double": lambda X: X.astype("longdouble"), "list": lambda X: X.tolist(),
}  # fmt: skip


def wide(**options: Any) -> MLP:
    """X of 70 rows is read in place, and that of 7 copied; 8000 rows are several blocks."""
    net = MLP((80, 33, 9, 3), "tanh", seed=0, **options)
    assert 70 < net.model.rows_at_once < 8000
    return net


def made(rows: int, outputs: int = 3, features: int = 80) -> tuple[Any, Any]:
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, features)), rng.normal(size=(rows, outputs)).astype("float32")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 7, 70, 8000])
@pytest.mark.parametrize("scaling", [{}, {"input_shift": 0.5, "input_scale": 2.0}], ids=["as it is", "scaled"])
def test_out_holds_the_same_bits(form: str, rows: int, scaling: Any) -> None:
    net, (X, dlogits) = wide(**scaling), made(rows)
    X = FORMS[form](X)
    out = net.backward(FORMS[form](made(rows)[0] + 1), 2 * dlogits)
    expected = wide(**scaling).backward(X, dlogits)
    for _ in range(4):  # the first by itself, the second binds the pass
        assert net.backward(X, dlogits, out=out) is out
        assert_same(out, expected)
        assert_same_bits(out.parameters, expected.parameters)
        out.parameters.fill(np.nan)
        out.inputs.fill(np.nan)


def test_parameters_are_what_the_lists_view() -> None:
    net, (X, dlogits) = MLP((80, 5, 3), embeddings={79: (4, 2)}, seed=0), made(6)
    X[:, 79] = [0, 1, 2, 3, 1, 1]
    for found in (net.backward(X, dlogits), net.gradient(X, [0, 1, 2, 0, 1, 2])):
        parts = [part for pair in zip(found.weights, found.biases, strict=True) for part in pair]
        flat = np.concatenate([part.ravel() for part in (*parts, *found.embeddings.values())])
        assert_same_bits(found.parameters, flat)
        assert all(np.shares_memory(part, found.parameters) for part in (*parts, *found.embeddings.values()))


@pytest.mark.parametrize("embedded", [False, True])
def test_out_of_frames_and_embeddings(embedded: bool) -> None:
    """Columns of a frame come in any order; derivatives with respect to levels stay 0."""
    pandas = pytest.importorskip("pandas")
    net = MLP((3, 5, 3), embeddings={1: (4, 2)} if embedded else None, seed=0)
    net.feature_names = ("a", "b", "c")
    frame = pandas.DataFrame({"b": [1.0, 3.0], "c": [0.5, 1.0], "a": [2.0, -1.0]})
    dlogits = made(2)[1]
    expected = net.backward(frame, dlogits)
    out = net.backward(frame[["a", "b", "c"]] + 0, dlogits)
    for _ in range(3):
        assert_same(net.backward(frame, dlogits, out=out), expected)


@pytest.mark.parametrize("rows", [5, 8000])
def test_without_inputs(rows: int) -> None:
    net, (X, dlogits) = wide(), made(rows)
    expected, out = net.backward(X, dlogits), net.backward(X, dlogits, inputs=False)
    for _ in range(3):
        assert net.backward(X, dlogits, inputs=False, out=out).inputs.shape == (0, 80)
        assert_same_bits(out.parameters, expected.parameters)
    line = MLP((80, 3), seed=0)  # nothing goes back through a network of one layer
    assert_same_bits(line.backward(X, dlogits, inputs=False).parameters, line.backward(X, dlogits).parameters)


@pytest.mark.parametrize("form", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("called", [False, True], ids=["array", "function"])
def test_no_array_is_allocated(form: str, called: bool) -> None:
    """Those of NumPy are counted by tracemalloc: X takes 100 kB, and the gradient and dX 400."""
    net, (X, dlogits) = MLP((784, 100, 10), seed=0), made(32, 10, 784)
    X = FORMS[form](X)
    given: Any = (lambda z: dlogits) if called else dlogits
    with threads.limit(1):
        out = net.backward(X, dlogits)
        assert peak(lambda: net.backward(X, given, out=out)) < 4096
        assert peak(lambda: net.backward(X, given)) > 400_000


def test_no_large_array_is_allocated_for_many_rows() -> None:
    """Activations of 1.8 MB stay with the thread, as gathered rows do; their order, 8 bytes a row, is made anew."""
    net, (X, dlogits) = MLP((784, 100, 10), seed=0), made(2000, 10, 784)
    with threads.limit(1):
        for form, most in {"float32": 16_000, "float64": 32_000}.items():
            given, out = FORMS[form](X), net.backward(X, dlogits)
            assert peak(lambda given=given, out=out: net.backward(given, dlogits, out=out)) < most


def peak(call: Any) -> int:
    """The bytes that a call has at a time, and none stay; the calls before have made what is kept."""
    for _ in range(3):
        call()
    tracemalloc.start()
    try:
        call()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        after, most = tracemalloc.get_traced_memory()
        assert after - before < 4096
        return most - before
    finally:
        tracemalloc.stop()


# ---- a function of the logits ----


@pytest.mark.parametrize("rows", [1, 7, 70, 8000])
def test_a_function_of_the_logits(rows: int) -> None:
    net, (X, targets) = wide(), made(rows)
    expected = net.backward(X, (net.logits(X) - targets) / 7)
    for _ in range(4):
        seen: list[Any] = []

        def dlogits(z: Any, seen: Any = seen) -> Any:
            seen.append(z.copy())
            z -= targets  # it may write into them
            return z / 7

        assert_same(net.backward(X, dlogits), expected)
        (z,) = seen  # of all rows, and once
        assert_same_bits(z, net.logits(X))


def test_a_function_may_use_the_network() -> None:
    """No memory of the pass is that of another call in the same thread."""
    net, (X, _) = wide(), made(40)
    expected = net.backward(X, net.logits(X))

    def dlogits(z: Any) -> Any:
        found = z.copy()
        for other in (X, X + 1, X[:7]):
            net.backward(other, np.ones((len(other), 3)))
            net.backward(other, lambda z: z)
            net.gradient(other, np.zeros(len(other), int))
        return found

    for _ in range(4):
        assert_same(net.backward(X, dlogits), expected)


def test_what_a_function_raises_and_returns() -> None:
    net, (X, _) = wide(), made(7)
    expected = net.backward(X, net.logits(X))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            net.backward(X, lambda z: 1 / 0)
        with pytest.raises(ValueError, match=r"^dlogits: got shape \(3,\), expected \(7, 3\)"):
            net.backward(X, lambda z: z[0])
        with pytest.raises(TypeError, match=r"^dlogits: got dtype complex64, expected real numbers"):
            net.backward(X, lambda z: z * 1j)
        assert_same(net.backward(X, lambda z: z), expected)


# ---- what is refused ----


@pytest.mark.parametrize("rows", [7, 70, 8000])
@pytest.mark.parametrize("form", ["float32", "float64"])
def test_nan_in_X_is_found_by_kept_passes(rows: int, form: str) -> None:
    net, (X, dlogits) = wide(), made(rows)
    X = FORMS[form](X)
    out = net.backward(X, dlogits)
    expected = net.backward(X, dlogits)
    wrong = X.copy()
    wrong[rows - 1, 5] = np.nan
    for given in (dlogits, lambda z: dlogits):
        for _ in range(3):
            assert_same(net.backward(X, given, out=out), expected)
            with pytest.raises(ValueError, match=f"^X: got NaN or infinity in row {rows - 1}"):
                net.backward(wrong, given, out=out)


def test_large_inputs_are_no_nan() -> None:
    """Their squares overflow, so the pass that is kept passes them on."""
    net, (X, dlogits) = wide(), made(7)
    X = X.astype("float32") * np.float32(1e25)
    expected = wide().backward(X, dlogits)
    for _ in range(3):
        assert_same(net.backward(X, dlogits), expected)


def test_out_that_does_not_fit() -> None:
    net, (X, dlogits) = MLP(SIZES, dtype="float64", seed=0), (np.ones((5, 4)), np.ones((5, 3)))
    right = net.backward(X, dlogits)
    frozen = net.backward(X, dlogits)
    frozen.parameters.flags.writeable = False
    strided = replace(right, parameters=np.zeros(2 * right.parameters.size)[::2])
    wrong: dict[Any, Any] = {
        r"^out: got ndarray, expected what an earlier call": np.zeros(net.parameters.size),
        r"^out: got Gradient, expected": net.gradient(X, [0] * 5),
        r"^out.parameters: got shape \(2,\), expected": MLP((1, 1), dtype="float64").backward([[1]] * 5, [1] * 5),
        r"^out.inputs: got shape \(4, 4\), expected \(5, 4\)": net.backward(X[1:], dlogits[1:]),
        r"^out.inputs: got shape \(0, 4\), expected \(5, 4\)": net.backward(X, dlogits, inputs=False),
        r"^out.parameters: got dtype float32, expected float64": MLP(SIZES, seed=0).backward(X, dlogits),
        r"^out.parameters: got a read-only array": frozen,
        r"^out.parameters: got a strided array": strided,
        r"^out.inputs: got an array that overlaps an input": replace(right, inputs=X),
        r"^out.parameters: got an array that overlaps an input": replace(right, parameters=net.parameters),
        r"^out.inputs: got .* that overlaps": replace(right, inputs=net.parameters[:20].reshape(5, 4)),
        r"^out.inputs: .* overlaps an input": replace(right, inputs=right.parameters[:20].reshape(5, 4)),
    }  # fmt: skip
    before = net.parameters.copy()
    for _ in range(3):
        for message, out in wrong.items():
            with pytest.raises((TypeError, ValueError), match=message):
                net.backward(X, dlogits, out=out)
        assert net.backward(X, dlogits, out=right) is right
    assert_same_bits(net.parameters, before)


def test_many_threads_have_passes_of_their_own() -> None:
    net, (X, dlogits) = wide(), made(7)
    expected = net.backward(X, dlogits)

    def work(_: int) -> bool:
        out = net.backward(X, dlogits)
        for _ in range(200):
            net.backward(X, lambda z: dlogits, out=out)
        return bool((out.parameters == expected.parameters).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
