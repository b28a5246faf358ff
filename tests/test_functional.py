"""The functions on arrays: every form of input means the same, dtypes of results, `out`, and `sgd_update`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import fastbp
from fastbp import reference
from support.comparisons import assert_same_bits
from support.functions_on_arrays import FAN_IN, FAN_OUT, FUNCTIONS, OPERANDS, N, W, X, b, call, read_only, whole
from support.memory import surrounded

DTYPES = [np.float32, np.float64]


def in_memory(array: Any, dtype: Any, order: str, step: int, offset: int) -> Any:
    """The same numbers in another dtype, order, step between them (negative too), and at an offset in bytes."""
    array = np.asarray(array)
    dtype = np.dtype(dtype)
    laid_out = array.T if order == "F" else array
    shape = tuple(length * abs(step) for length in laid_out.shape)
    memory = np.zeros(int(np.prod(shape)) * dtype.itemsize + offset, np.uint8)
    view = memory[offset:].view(dtype).reshape(shape)[(..., *[slice(None, None, step)] * laid_out.ndim)]
    view[...] = laid_out
    return view.T if order == "F" else view


FORMS: dict[str, Callable[[Any], Any]] = {
    "big-endian": lambda a: a.astype(">f8"),
    "big-endian float32": lambda a: a.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "every second": lambda a: in_memory(a, "f8", "C", 2, 0),
    "backwards": lambda a: in_memory(a, "f8", "C", -1, 0),
    "backwards, every third, Fortran order": lambda a: in_memory(a, "f8", "F", -3, 0),
    "unaligned": lambda a: in_memory(a, "f8", "C", 1, 1),
    "unaligned big-endian float32": lambda a: in_memory(a, ">f4", "C", 1, 3),
    "float16": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    "nested lists": lambda a: a.tolist(),
    "a list of arrays": list,
    "a tuple": lambda a: tuple(a.tolist()),
    "a memory view": lambda a: memoryview(np.ascontiguousarray(a)),
    "a subclass": lambda a: a.view(np.recarray),
}
WHOLE_FORMS: dict[str, Callable[[Any], Any]] = {
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "big-endian int16": lambda a: a.astype(">i2"),
    "lists of ints": lambda a: a.astype(int).tolist(),
}


@pytest.mark.parametrize(
    ("function", "name", "form"),
    [(*operand, form) for operand in OPERANDS for form in [*FORMS, *(WHOLE_FORMS if operand[1] != "labels" else ())]],
)
def test_every_form_of_input_means_the_same(function: str, name: str, form: str) -> None:
    plain = FUNCTIONS[function][1][name]
    value = {**FORMS, **WHOLE_FORMS}[form](plain)
    before = np.array(value)
    if name == "logits" and before.dtype.kind == "f" and before.dtype.itemsize <= 4:
        plain = plain.astype(np.float32)  # the only inexact function: compare in the dtype it computes in
    for actual, expected in zip(call(function, **{name: value}), call(function, **{name: plain}), strict=True):
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.array(value), before)


@pytest.mark.parametrize(("function", "name"), OPERANDS)
def test_read_only_inputs_work_and_no_input_is_changed(function: str, name: str) -> None:
    for dtype in DTYPES:
        operands = {key: value.astype(dtype) for key, value in FUNCTIONS[function][1].items()}
        expected = call(function, **operands)
        operands[name].flags.writeable = False
        actual = call(function, **operands)
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)
        for key, value in FUNCTIONS[function][1].items():
            np.testing.assert_array_equal(operands[key], value)
        assert not any(np.shares_memory(result, value) for result in actual for value in operands.values())


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, str, int, int]:
    dtype = draw(st.sampled_from(["f4", "f8", ">f4", ">f8", "f2", ">f2", "i1", "i2", "i4", ">i8", "i8"]))
    return (dtype, draw(st.sampled_from("CF")), draw(st.sampled_from([-3, -2, -1, 1, 2, 3])),
            draw(st.integers(0, 7)))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(0, 20), fan_in=st.integers(0, 40), fan_out=st.integers(0, 40))
def test_any_shape_layout_and_dtype(data: st.DataObject, n: int, fan_in: int, fan_out: int) -> None:
    seed = data.draw(st.integers(0, 2**31))
    plain = whole(seed, n, fan_in), whole(seed + 1, fan_in, fan_out), whole(seed + 2, fan_out), whole(seed, n, fan_out)
    X, W, b, dH = (in_memory(a, *data.draw(layouts())) for a in plain)
    expected = reference.affine_forward(*plain[:3])
    np.testing.assert_array_equal(fastbp.affine_forward(X, W, b), expected)
    np.testing.assert_array_equal(fastbp.affine_relu_forward(X, W, b), reference.relu_forward(expected))
    gradients = reference.affine_backward(plain[3], *plain[:2])
    for actual, wanted in zip(fastbp.affine_backward(dH, X, W), gradients, strict=True):
        np.testing.assert_array_equal(actual, wanted)
    for array, values in zip((X, W, b, dH), plain, strict=True):
        np.testing.assert_array_equal(array, values)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
def test_elementwise_functions_on_any_shape_and_layout(data: st.DataObject, shape: tuple[int, ...]) -> None:
    seed = data.draw(st.integers(0, 2**31))
    x, y = whole(seed, *shape), whole(seed + 1, *shape)
    x_, y_ = (in_memory(a, *data.draw(layouts())) for a in (x, y))
    np.testing.assert_array_equal(fastbp.relu_forward(x_), reference.relu_forward(x))
    np.testing.assert_array_equal(fastbp.relu_backward(x_, y_), reference.relu_backward(x, y))
    _, order, step, offset = data.draw(layouts())
    parameters = in_memory(x, data.draw(st.sampled_from(["f4", "f8"])), order, step, offset)
    fastbp.sgd_update(parameters, y_, 0.5, 0.25)
    np.testing.assert_array_equal(parameters, reference.sgd_update(x, y, 0.5, 0.25))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 1000, 2**18 + 5])
def test_elementwise_functions_against_the_reference(count: int, dtype: Any) -> None:
    rng = np.random.default_rng(count)
    x, y = rng.normal(size=(2, count)).astype(dtype)
    np.testing.assert_array_equal(fastbp.relu_forward(x), reference.relu_forward(x))
    np.testing.assert_array_equal(fastbp.relu_backward(x, y), reference.relu_backward(x, y))
    parameters, intact = surrounded((count,), dtype)
    parameters[...] = x
    fastbp.sgd_update(parameters, y, 0.1, 0.01)
    assert intact()
    eps = np.finfo(dtype).eps
    # Two roundings, and those of the rates
    allowed = eps * (np.abs(x) + 3 * 0.1 * (np.abs(y) + 0.01 * np.abs(x)))
    assert (np.abs(parameters - reference.sgd_update(x, y, 0.1, 0.01)) <= allowed).all()


# ---- dtypes of results ----


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["f4"], "f4"), (["f8"], "f8"), (["f4", "f8"], "f8"), (["f2"], "f4"), (["f2", "f4"], "f4"),
        (["f2", "f8"], "f8"), (["i8"], "f8"),
        (["u1"], "f8"), (["?"], "f8"), (["u1", "?"], "f8"), (["u1", "f4"], "f4"), (["?", "f4"], "f4"),
        (["i2", "f4"], "f4"), (["i4", "f4"], "f8"), (["u1", "f2"], "f4"), ([">f4"], "f4"), ([">f8"], "f8"),
        (["g", "f4"], "f8"),
    ],
)  # fmt: skip
def test_dtypes_of_results(kinds: list[str], expected: str) -> None:
    def one(kind: str, *shape: int) -> Any:
        return np.ones(shape, kind)

    first, last = kinds[0], kinds[-1]
    got = [
        fastbp.affine_forward(one(first, 2, 3), one(last, 3, 4), one(last, 4)),
        fastbp.affine_forward(one(last, 2, 3), one(last, 3, 4), one(first, 4)),
        fastbp.affine_relu_forward(one(last, 2, 3), one(first, 3, 4), one(last, 4)),
        *fastbp.affine_backward(one(first, 2, 4), one(last, 2, 3), one(last, 3, 4)),
        fastbp.relu_backward(one(first, 3), one(last, 3)),
    ]
    if len(kinds) == 1:
        got += [fastbp.relu_forward(one(first, 3)), fastbp.softmax_cross_entropy(one(first, 2, 3), [0, 1])[1]]
    assert {result.dtype for result in got} == {np.dtype(expected)}
    assert all(result.dtype.isnative for result in got)


def test_labels_do_not_decide_the_dtype() -> None:
    logits = np.zeros((2, 3), np.float32)
    for labels in ([0, 1], np.array([0.0, 1.0]), np.eye(3)[:2]):
        assert fastbp.softmax_cross_entropy(logits, labels)[1].dtype == np.float32


# ---- out ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["affine_forward", "affine_relu_forward"])
def test_out_is_filled_and_returned(function: str, dtype: Any) -> None:
    operands = {name: value.astype(dtype) for name, value in FUNCTIONS[function][1].items()}
    (expected,) = call(function, **operands)
    plain, intact = surrounded((N, FAN_OUT), dtype)
    assert FUNCTIONS[function][0](**operands, out=plain) is plain
    assert_same_bits(plain, expected)
    assert intact()
    for step, order in ((2, "C"), (-1, "C"), (1, "F"), (-2, "F")):
        out = in_memory(np.full((N, FAN_OUT), np.nan), dtype, order, step, 1)
        assert FUNCTIONS[function][0](**operands, out=out) is out
        np.testing.assert_array_equal(out, expected)
        memory = out
        while memory.base is not None:
            memory = memory.base
        out[...] = 0
        assert not memory.any()  # zeros from the start: nothing was written between the entries of out


def test_out_may_lie_between_the_inputs() -> None:
    """Interleaved with an input, but sharing no byte."""
    memory = np.zeros((N, 2 * FAN_OUT))
    memory[:, ::2] = whole(9, N, FAN_OUT)
    square = whole(10, FAN_OUT, FAN_OUT)
    expected = memory[:, ::2] @ square
    fastbp.affine_forward(memory[:, ::2], square, np.zeros(FAN_OUT), out=memory[:, 1::2])
    np.testing.assert_array_equal(memory[:, 1::2], expected)


MEMORY = np.zeros(1000)
WRONG_OUT = {
    "dtype": (np.zeros((N, FAN_OUT), np.float32), TypeError),
    "integers": (np.zeros((N, FAN_OUT), np.int64), TypeError),
    "objects": (np.zeros((N, FAN_OUT), object), TypeError),
    "shape": (np.zeros((N, FAN_OUT + 1)), ValueError),
    "transposed": (np.zeros((FAN_OUT, N)), ValueError),
    "flat": (np.zeros(N * FAN_OUT), ValueError),
    "read-only": (read_only(np.zeros((N, FAN_OUT))), ValueError),
    "a list": ([[0.0] * FAN_OUT] * N, TypeError),
    "overlaps X": (MEMORY[: N * FAN_OUT].reshape(N, FAN_OUT), ValueError),
    "overlaps W": (MEMORY[94 + 341 : 94 + 341 + N * FAN_OUT].reshape(N, FAN_OUT), ValueError),
    "overlaps b": (MEMORY[94 + 342 + 17 : 94 + 342 + 17 + N * FAN_OUT].reshape(N, FAN_OUT), ValueError),
    "backwards over X": (MEMORY[94 + 89 :: -1][: N * FAN_OUT].reshape(N, FAN_OUT), ValueError),
}


@pytest.mark.parametrize("function", ["affine_forward", "affine_relu_forward"])
@pytest.mark.parametrize("wrong", WRONG_OUT)
def test_wrong_out(wrong: str, function: str) -> None:
    out, error = WRONG_OUT[wrong]
    MEMORY[...] = 1
    operands = {
        "X": MEMORY[: N * FAN_IN].reshape(N, FAN_IN),
        "W": MEMORY[94:][: FAN_IN * FAN_OUT].reshape(FAN_IN, FAN_OUT) if wrong != "overlaps X" else W,
        "b": MEMORY[94 + 342 :][:FAN_OUT],
    }
    before = np.array(out)
    with pytest.raises(error, match="^out: got .*, expected"):
        FUNCTIONS[function][0](**operands, out=out)
    np.testing.assert_array_equal(np.array(out), before)
    assert (MEMORY == 1).all()


def test_masked_out_is_refused() -> None:
    """Its mask would not be kept."""
    with pytest.raises(TypeError, match="^out: .*masked"):
        fastbp.affine_forward(X, W, b, out=np.ma.masked_array(np.zeros((N, FAN_OUT)), True))


# ---- sgd_update ----


def test_sgd_update_writes_in_place() -> None:
    for dtype in DTYPES:
        parameters = W.astype(dtype)
        assert fastbp.sgd_update(parameters, W[::-1], 0.25, 0.5) is None
        np.testing.assert_array_equal(parameters, reference.sgd_update(W, W[::-1], 0.25, 0.5))
        fastbp.sgd_update(parameters, np.zeros(W.shape), 0)
        np.testing.assert_array_equal(parameters, reference.sgd_update(W, W[::-1], 0.25, 0.5))


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize(("order", "step", "offset"), [("C", 1, 0), ("F", 1, 0), ("C", -2, 0), ("C", 1, 3)])
def test_sgd_update_of_any_layout(order: str, step: int, offset: int, dtype: str) -> None:
    """Big-endian, Fortran-ordered, strided and unaligned arrays work, here as everywhere."""
    parameters = in_memory(W, dtype, order, step, offset)
    fastbp.sgd_update(parameters, W[::-1], 0.25, 0.5)
    np.testing.assert_array_equal(parameters, reference.sgd_update(W, W[::-1], 0.25, 0.5))


# ---- relu at its limits ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_of_special_values(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny], dtype)
    assert_same_bits(fastbp.relu_forward(x), np.array([np.nan, np.inf, 0, 0, 0, tiny, 0], dtype))
    dy, y = (np.ascontiguousarray(grid) for grid in np.meshgrid(x, x))
    expected = np.where(y <= 0, dtype(0), dy)
    assert_same_bits(fastbp.relu_backward(dy, y), expected)


@settings(max_examples=30, deadline=None)
@given(x=arrays.arrays(np.float32, arrays.array_shapes(max_dims=2, max_side=40)))
def test_relu_backward_takes_the_input_as_well_as_the_output(x: Any) -> None:
    dy = np.ones_like(x)
    assert_same_bits(fastbp.relu_backward(dy, fastbp.relu_forward(x)), fastbp.relu_backward(dy, x))
