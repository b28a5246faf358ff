"""Random attacks: any memory layout, the whole public face, and faults planted to see that each attack can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import MLP, reference
from support.comparisons import assert_within, product_bound
from support.lanes import LONG, forms
from support.processes import PACKAGE, TESTS, planted, python

# ---- any shape, strides, offset, byte order and dtype ----
# test_functional.py has steps of -3 to 3 that all axes share, of whole numbers; here each axis has its own, 0 and gaps
# included, in front of and behind canaries, and numbers that round.

KINDS = ["f4", "f8", "f4", "f8", ">f4", ">f8", "f2", ">f2", "g", "?", "u1", "i1", ">u2", "i4", ">i8", "u8"]
EXAMPLES = 2000 if LONG else 60


class Placed:
    """An array somewhere in a buffer of canaries: each axis has a stride of its own, in any order of axes."""

    def __init__(self, draw: st.DrawFn, shape: tuple[int, ...], kind: str, broadcast: bool = True):
        self.dtype = np.dtype(kind)
        strides = [0] * len(shape)
        stride = self.dtype.itemsize
        for axis in draw(st.permutations(range(len(shape)))):  # the axis of the shortest stride first
            gap = draw(st.sampled_from([0, 0, 0, 1, 3, self.dtype.itemsize]))
            strides[axis] = (stride + gap) * draw(st.sampled_from([1, 1, -1]))
            if broadcast and draw(st.integers(0, 9)) == 0:
                strides[axis] = 0
            stride = (stride + gap) * max(1, shape[axis])
        below = sum(-step * (size - 1) for step, size in zip(strides, shape, strict=True) if step < 0 and size)
        self.bytes = np.frombuffer(bytearray(b"\x5a" * (stride + below + 64)), np.uint8)
        offset = below + draw(st.integers(0, 15))
        self.array = np.ndarray(shape, self.dtype, self.bytes.data, offset, strides)
        self._twin = self.bytes.copy()
        self._twin_array = np.ndarray(shape, self.dtype, self._twin.data, offset, strides)

    def fill(self, values: Any) -> Any:
        self.array[...] = values
        self._twin_array[...] = self.array
        return self.array

    def intact(self) -> bool:
        return bool((self.bytes == self._twin).all())

    def intact_around(self) -> bool:
        self._twin_array[...] = self.array
        return self.intact()


def numbers(draw: st.DrawFn, *shape: int) -> tuple[Any, Placed]:
    kind = draw(st.sampled_from(KINDS))
    place = Placed(draw, shape, kind)
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    whole = rng.integers(0, 2 if kind == "?" else 9, shape)
    values = rng.normal(size=shape) if place.dtype.kind == "f" else whole
    return place.fill(values), place


def exact(array: Any) -> Any:
    """What the function sees: rounded to float64 where it was long double."""
    return np.asarray(array).astype(np.float64)


SIZES = st.one_of(st.integers(0, 3), st.integers(4, 40))


@st.composite
def operands(draw: st.DrawFn, *shapes: str) -> tuple[list[Any], list[Placed], dict[str, int]]:
    """An array for each of `shapes`, such as "nf", letters standing for sizes that agree."""
    sizes = {letter: draw(SIZES) for letter in sorted(set("".join(shapes)))}
    pairs = [numbers(draw, *(sizes[letter] for letter in shape)) for shape in shapes]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs], sizes


@settings(max_examples=EXAMPLES, deadline=None)
@given(drawn=operands("nf", "fc", "c"), data=st.data())
def test_affine_forward_in_any_memory(drawn: Any, data: st.DataObject) -> None:
    (X, W, b), places, sizes = drawn
    H = fastbp.affine_forward(X, W, b)
    x, w, bias = exact(X), exact(W), exact(b)
    bound = product_bound(x, w, H.dtype, bias)
    assert_within(H, reference.affine_forward(x, w, bias), bound)
    rectified = fastbp.affine_relu_forward(X, W, b)
    np.testing.assert_array_equal(rectified, fastbp.relu_forward(H))
    out = data.draw(st.composite(lambda draw: Placed(draw, H.shape, H.dtype.str, broadcast=False))())
    out.fill(np.nan)
    assert fastbp.affine_forward(X, W, b, out=out.array) is out.array
    np.testing.assert_array_equal(out.array, H)
    assert out.intact_around()
    assert all(place.intact() for place in places)


@settings(max_examples=EXAMPLES, deadline=None)
@given(drawn=operands("nc", "nf", "fc"))
def test_affine_backward_in_any_memory(drawn: Any) -> None:
    (dH, X, W), places, _ = drawn
    dX, dW, db = fastbp.affine_backward(dH, X, W)
    g, x, w = exact(dH), exact(X), exact(W)
    expected = reference.affine_backward(g, x, w)
    assert_within(dX, expected[0], product_bound(g, w.T, dX.dtype))
    assert_within(dW, expected[1], product_bound(x.T, g, dX.dtype))
    assert_within(db, expected[2], product_bound(np.ones((1, len(g))), g, dX.dtype)[0])
    assert all(place.intact() for place in places)


@settings(max_examples=EXAMPLES, deadline=None)
@given(drawn=operands("abc", "abc"), data=st.data())
def test_elementwise_functions_in_any_memory(drawn: Any, data: st.DataObject) -> None:
    (x, y), places, _ = drawn
    got = fastbp.relu_forward(x)
    np.testing.assert_array_equal(got, reference.relu_forward(exact(x)).astype(got.dtype))
    got = fastbp.relu_backward(x, y)
    np.testing.assert_array_equal(got, reference.relu_backward(exact(x), exact(y)).astype(got.dtype))
    kind = data.draw(st.sampled_from(["f4", "f8", ">f4", ">f8"]))
    target = data.draw(st.composite(lambda draw: Placed(draw, x.shape, kind, broadcast=False))())
    before = exact(target.fill(np.linspace(-1, 1, x.size).reshape(x.shape)))
    fastbp.sgd_update(target.array, y, 0.3, 0.1)
    eps = float(np.finfo(kind).eps)
    allowed = 4 * eps * (np.abs(before) + np.abs(exact(y))) + 2 * float(np.finfo(kind).smallest_subnormal)
    assert_within(target.array, reference.sgd_update(before, exact(y), 0.3, 0.1), allowed)
    assert target.intact_around()
    assert all(place.intact() for place in places)


@settings(max_examples=EXAMPLES, deadline=None)
@given(drawn=operands("nc"), data=st.data())
def test_softmax_cross_entropy_in_any_memory(drawn: Any, data: st.DataObject) -> None:
    (logits,), (place,), _ = drawn
    n, c = logits.shape
    if not logits.size:
        with pytest.raises(ValueError, match="^logits: "):
            fastbp.softmax_cross_entropy(logits, np.zeros(n, int))
        return
    kind = data.draw(st.sampled_from([kind for kind in KINDS if kind != "?"]))
    labels = data.draw(st.composite(lambda draw: Placed(draw, (n,), kind, broadcast=False))())
    labels.fill(np.arange(n) % c)
    rows = data.draw(st.composite(lambda draw: Placed(draw, (n, c), kind, broadcast=False))())
    rows.fill(np.eye(c)[np.arange(n) % c])
    loss, dlogits = fastbp.softmax_cross_entropy(logits, labels.array)
    again, same = fastbp.softmax_cross_entropy(logits, rows.array)
    assert again == loss
    np.testing.assert_array_equal(same, dlogits)
    expected_loss, expected = reference.softmax_cross_entropy(exact(logits), np.arange(n) % c)
    unit = (c + 24) * float(np.finfo(dlogits.dtype).eps)
    assert_within(loss, expected_loss, unit * (1 + expected_loss))
    assert_within(dlogits, expected, unit * (np.abs(expected) + 1 / n))
    assert all(each.intact() for each in (place, labels, rows))


# ---- the whole public face ----


@forms(400, 10_000)
def test_random_calls(cases: int) -> None:
    done = python(TESTS / "support/random_calls.py", str(cases), timeout=900.0)
    print(done.stdout)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("ok\n")
    found = re.search(r"^valid (\d+)%, findings 0$", done.stdout, re.MULTILINE)
    assert found is not None
    assert int(found[1]) >= 30


# ---- what the attacks found ----


def small() -> MLP:
    return MLP((2, 2), seed=0, dtype="float64")


def unnamed() -> None:
    net = small()
    net.class_names = 5  # type: ignore[assignment]
    net.save("never-written.npz")


def overflowing() -> object:
    net = small()
    net.parameters = [1, 0, 0, 1, 0, 0]
    return net.loss([[0.0, 1e308]] * 2, [0, 0])


def large_weights() -> object:
    net = small()
    net.parameters[...] = 1e200
    return net.loss([[0.0, 0.0]], [0], l2=1.0)


REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    "sizes beyond any memory": ("sizes", lambda: MLP((2**62, 3))),
    "sizes without a dimension": ("sizes", lambda: MLP(np.array(3))),
    "shuffle that is no truth": ("shuffle", lambda: small().fit([[1, 2]], [0], shuffle=np.zeros(2))),
    "shuffle that is a word": ("shuffle", lambda: small().fit([[1, 2]], [0], shuffle="no")),  # type: ignore[arg-type]
    "callbacks without a dimension": ("callbacks", lambda: small().fit([[1, 2]], [0], callbacks=np.array(3))),
    "points beyond any memory": ("n", lambda: fastbp.datasets.quadrants(2**62, 0)),
    "ragged y": ("y", lambda: fastbp.datasets.stratified_split([[1], [1, 2]], 0.5, 0)),
    "sizes beyond any memory, before their scaling": ("sizes", lambda: MLP((2**31, 2**31), input_shift=1.0)),
    "class names that are none": ("class_names", unnamed),
    "NUL in a path": ("path", lambda: fastbp.load("a\0b")),
}
SILENT: dict[str, Callable[[], object]] = {  # a NumPy warning, an error under -W error, where a kernel gives infinity
    "dW beyond float32": lambda: fastbp.sgd_update(np.zeros(1, np.float32), [1e300], 0.1),
    "X beyond float64": lambda: fastbp.relu_forward(np.array([np.longdouble("1e4000")])),
    "parameters beyond float32": lambda: setattr(MLP((1, 1), seed=0), "parameters", [1e300, 0.0]),
    "losses whose sum overflows": overflowing,
    "weights whose squares overflow": large_weights,
}


@pytest.mark.parametrize("name", REFUSED)
def test_errors_name_the_argument(name: str) -> None:
    argument, call = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}: .*expected"):
        call()


@pytest.mark.parametrize("name", SILENT)
def test_no_warning_of_numpy_comes_through(name: str) -> None:
    SILENT[name]()


# ---- faults planted in a copy: each attack must see its own ----
# Compiling, 10 to 30 s each, is nearly all that they do: in the long form only.

EDGES = "robustness/test_edges_and_pages.py", "short and float32 and test_all_edges_of_products"
NETWORK = "robustness/test_edges_and_pages.py", "short and float32 and test_all_edges_of_a_network"
AROUND = "robustness/test_edges_and_pages.py", "short and float32 and dense and around"
VALUES = "robustness/test_special_values.py", "float32 and test_relu"
WHEREVER = "robustness/test_not_finite.py", "short and float32 and wherever"
MEMORY = "robustness/test_random_calls.py", "elementwise"
# What is planted: file, text, fault; what is run: a script, or tests; the exit code and what is said.
FAULTS: dict[str, tuple[str, str, str, str | tuple[str, str], int, str]] = {
    "edges: a later stretch drops the partial sum": (
        "kernels/gemm.py", "depth - k0), resume != 0 or k0 > 0", "depth - k0), resume != 0",
        EDGES, 1, "beyond the bound",
    ),
    "network: no mask on the way back": (
        "program/network_operations.py", ".epilogues[1] if layer else 0", ".epilogues[1] * 0 if layer else 0",
        NETWORK, 1, "beyond the bound",
    ),
    "pages: a load beyond the end, without effect": (
        "kernels/elementwise.py", "old = load(w, count, zero)",
        "old = load(w, count - (1 if w[count] > 3e38 else 0), zero)",
        "support/protected_pages.py", -11, "Segmentation fault",
    ),
    "pages: a load before the beginning, without effect": (
        "kernels/elementwise.py", "old = load(w, count, zero)",
        "old = load(w, count - (1 if w[-1] > 3e38 else 0), zero)",
        "support/protected_pages.py", -11, "Segmentation fault",
    ),
    "canaries: a store of one too many": (
        "kernels/elementwise.py", "state_stride, count)", "state_stride, count + 1)",
        AROUND, 1, "intact",
    ),
    "values: the mask lets 0 through": (
        "kernels/activations.py", "select(y <= 0.0, 0.0, dy)", "select(y < 0.0, 0.0, dy)",
        VALUES, 1, "not equal",
    ),
    "values: the last number of X is not looked at": (
        "program/network_operations.py", "bounds(self.rows * self.network.sizes[0], parts, 1)",
        "bounds(self.rows * self.network.sizes[0] - 1, parts, 1)",
        WHEREVER, 1, "DID NOT RAISE",
    ),
    "memory: strided arrays pass for contiguous ones": (
        "validation.py", "array.dtype.isnative and array.flags.carray", "array.dtype.isnative and array.flags.aligned",
        MEMORY, 1, "Arrays are not equal|beyond the bound",
    ),
    "random calls: inputs' gradient without the scale": (
        "model/evaluation.py", "inputs *= model.input_scale\n    if l2:", "inputs *= 1\n    if l2:",
        "support/random_calls.py", 1, "network: AssertionError: .* beyond the bound",
    ),
    "random calls: a loss that leaves out the weights": (
        "model/evaluation.py", "losses *= weights", "losses *= 1",
        "support/random_calls.py", 1, "network: AssertionError: .* beyond the bound",
    ),
    "random calls: dropout in rows that begin elsewhere": (
        "kernels/elementwise.py", "first_word(first_row + i, layer", "first_word(first_row + i + 1, layer",
        "support/random_calls.py", 1, "network: AssertionError: .* beyond the bound",
    ),
    "pages: a load behind the rows' weights, without effect": (
        "kernels/elementwise.py", "        losses[i] *= weights[i]",
        "        losses[i] *= weights[i] if weights[rows] < 3e38 else 0.0",
        "support/protected_pages.py", -11, "Segmentation fault",
    ),
    "random calls: labels beyond the classes, written where they point": (
        "validation.py", "wrong = ~((array >= 0) & (array < classes))",
        "wrong = ~((array >= -(2**30)) & (array < 2**62))",
        "support/random_calls.py", -11, "Segmentation fault",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_place(fault: str) -> None:
    file, old, *_ = FAULTS[fault]
    assert (PACKAGE / file).read_text(encoding="utf-8").count(old) == 1


@pytest.mark.long
@pytest.mark.skipif(not LONG, reason="minutes of work: set FASTBP_LONG=1")
@pytest.mark.parametrize("fault", FAULTS)
def test_an_attack_sees_its_fault(fault: str, tmp_path: Path) -> None:
    file, old, new, what, code, message = FAULTS[fault]
    env = planted(tmp_path, file, old, new)
    if isinstance(what, str):
        done = python(TESTS / what, *(["3000"] if "fuzz" in what else []), env=env, timeout=300.0)
    else:
        module, chosen = what
        run = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
        done = python(run, "-p", "no:cacheprovider", "-q", "-m", "", "-W", "default", str(TESTS / module), "-k", chosen,
                      env=env, timeout=300.0)  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert re.search(message, output), output
