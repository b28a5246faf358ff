"""Operands of the graph: arrays of any dtype and layout, copies, numbers on either side, names and trees."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy, summary
from support.graph_cases import BINARY, DTYPES, LABELS, ROWS, car, off_zero, whole

# ---- what is given ----
FORMS: dict[str, Callable[[Any], Any]] = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a)) if a.ndim == 2 else tuple(a),
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "big-endian": lambda a: a.astype(">f8"),
    "big-endian integers": lambda a: a.astype(">i4"),
    "Fortran order": np.asfortranarray,
    "every other": lambda a: np.kron(a, np.ones((2,) * a.ndim))[(slice(None, None, 2),) * a.ndim],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "unaligned": lambda a: np.frombuffer(b" " + a.tobytes(), np.uint8)[1:].view(np.float64).reshape(a.shape),
    "subclass": lambda a: a.view(np.recarray),
}


def everything(A: Any, B: Any, b: Any, c: Any) -> tuple[list[Variable], Variable]:
    leaves = [Variable(value) for value in (A, B, b, c)]
    x, w, bias, v = leaves
    return leaves, (affine(x, w, bias).relu() * v + (x @ w) * 2 - v).sum() + softmax_cross_entropy(v, [3, 0])


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_real_dtype_and_layout_mean_the_same(form: str) -> None:
    plain = [whole(1, (2, 3)), whole(2, (3, 4)), whole(3, (4,)), whole(4, (2, 4))]
    leaves, result = everything(*plain)
    result.backward()
    others, other = everything(*map(FORMS[form], plain))
    other.backward()
    assert other.value == result.value
    for leaf, same in zip(leaves, others, strict=True):
        assert type(same.value) is np.ndarray
        assert same.value.dtype == np.float64 and same.value.dtype.isnative
        np.testing.assert_array_equal(leaf.value, same.value)
        np.testing.assert_array_equal(leaf.grad, same.grad, strict=True)
    # On the right of an operator, and as labels' logits, the same array need not be made a variable first.
    x = Variable(plain[0])
    np.testing.assert_array_equal((x @ FORMS[form](plain[1])).value, plain[0] @ plain[1])
    np.testing.assert_array_equal(affine(FORMS[form](plain[0]), FORMS[form](plain[1]), FORMS[form](plain[2])).value,
                                  plain[0] @ plain[1] + plain[2])  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("float32", "float32"), (">f4", "float32"), ("float64", "float64"), ("int64", "float64"), ("uint8", "float64"),
     ("bool", "float64"), ("longdouble", "float64"), ("float16", "float32")],
)  # fmt: skip
def test_arrays_are_float32_where_that_holds_them_as_everywhere_in_fastbp(dtype: str, kept: str) -> None:
    value = Variable(np.ones(3, dtype)).value
    assert isinstance(value, np.ndarray)
    assert value.dtype == kept


@pytest.mark.parametrize(
    "number", [1, 1.0, True, np.float32(1), np.int8(1), np.bool_(True), np.array(1), np.float64(1)]
)
def test_a_number_of_any_type_is_a_float(number: Any) -> None:
    assert type(Variable(number).value) is float
    assert Variable(number).value == 1.0
    assert Variable(number).shape == ()


@pytest.mark.parametrize(
    "operation",
    [operator.neg, Variable.relu, lambda x: x + 1, lambda x: 2.5 * x, lambda x: x - np.float64(1),
     lambda x: x @ x.value.T, lambda x: affine(x, x.value.T, np.ones(2, np.float32)), lambda x: x * x.sum(),
     lambda x: x + x.mean()],
)  # fmt: skip
def test_float32_stays_float32(operation: Callable[[Variable], Variable]) -> None:
    x = Variable(np.float32([[1, -2, 3], [0.1, 0.2, -0.3]]))
    z = operation(x)
    z.backward(np.ones(z.shape))
    for variable in ordered(z):
        for part in (variable.value, variable.grad, *variable.operand_gradients):
            assert np.shape(part) == () or part.dtype == np.float32


def test_gradients_have_the_dtype_of_their_variable() -> None:
    x, y = Variable(np.ones((2, 3), np.float32)), Variable(np.ones((3, 2)))
    z = x @ y
    z.backward(np.ones((2, 2)))
    assert z.value.dtype == y.grad.dtype == np.float64
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_copies_and_read_only(dtype: str) -> None:
    array = np.ones((2, 3), dtype)
    x = Variable(array)
    z = affine(x, np.ones((3, 2), dtype), np.ones(2, dtype))
    total = ((z.relu() * 2 + z) @ np.ones(2, dtype)).sum()
    total.backward()
    array[:] = 7  # still the user's, and writable
    np.testing.assert_array_equal(x.value, 1)
    for variable in ordered(total):
        for part in (variable.value, variable.grad, *variable.local_gradients, *variable.operand_gradients):
            if np.shape(part):
                assert not np.shares_memory(part, array)
                with pytest.raises(ValueError, match="read-only"):
                    part[...] = 0


def test_operands_that_are_no_variables_are_copied_too() -> None:
    array = np.ones(3)
    x = Variable([1.0, 2.0, 3.0])
    z = array * x
    array[:] = 100
    z.backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, np.ones(3))
    np.testing.assert_array_equal(z.operands[0].value, np.ones(3))


def test_labels_may_change_afterwards() -> None:
    z, labels, rows = Variable(off_zero(3, (4, 3))), LABELS.copy(), ROWS.copy()
    losses = softmax_cross_entropy(z, labels), softmax_cross_entropy(z, rows)
    labels[:], rows[:] = 0, 0
    for loss, now in zip(losses, (LABELS, ROWS), strict=True):
        loss.backward()
        assert loss.value == softmax_cross_entropy(z, now).value
        np.testing.assert_array_equal(z.grad, softmax_cross_entropy(z, now).local_gradients[0])


LEFT: dict[str, Callable[[Any], Any]] = {
    "array": lambda a: a, "float32 array": lambda a: a.astype(np.float32), "integers": lambda a: a.astype(int),
    "list": lambda a: a.tolist(), "Fortran order": np.asfortranarray,
}  # fmt: skip


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("sign", ["+", "-", "×", "@"])
def test_operators_with_an_array_on_either_side(sign: str, left: str) -> None:
    function = {**BINARY, "@": operator.matmul}[sign]
    a, x = whole(1, (3, 3)), Variable(whole(2, (3, 3)))
    dz = whole(3, (3, 3))
    for z, expected in (
        (function(LEFT[left](a), x), function(a, x.value)),
        (function(x, LEFT[left](a)), function(x.value, a)),
    ):
        assert type(z) is Variable
        np.testing.assert_array_equal(z.value, expected, strict=True)
        z.backward(dz)
        mirrored = z.operands[0] is not x
        expected_gradient = {
            "+": dz, "-": -dz if mirrored else dz, "×": dz * a, "@": a.T @ dz if mirrored else dz @ a.T,
        }[sign]  # fmt: skip
        np.testing.assert_array_equal(x.grad, expected_gradient)


@pytest.mark.parametrize("number", [3, 3.0, np.float64(3), np.float32(3), np.int64(3), np.uint8(3), np.array(3.0)])
@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_operators_with_a_number_on_either_side(shape: tuple[int, ...], sign: str, number: Any) -> None:
    x, ones = Variable(whole(1, shape)), np.ones(shape)
    for z, expected, slope in (
        (BINARY[sign](number, x), BINARY[sign](3.0, x.value), {"+": 1, "-": -1, "×": 3}[sign]),
        (BINARY[sign](x, number), BINARY[sign](x.value, 3.0), {"+": 1, "-": 1, "×": 3}[sign]),
    ):
        assert type(z) is Variable
        np.testing.assert_array_equal(z.value, expected)
        z.backward(ones)
        np.testing.assert_array_equal(x.grad, slope * ones)


# ---- names, trees ----


def test_names() -> None:
    x = Variable(3.0, "x")
    y = x * 2
    assert (x.name, y.name) == ("x", "")
    assert y.named("twice") is y
    assert y.name == "twice"
    assert Variable(1.0, name="one").name == "one"


def test_repr() -> None:
    x = Variable(3.0, "x")
    assert repr(x) == "Variable(3.0, name='x')"
    assert repr(x + 1) == "Variable(4.0)"
    x.backward()
    assert repr(x) == "Variable(3.0, name='x', grad=1.0)"


def test_operations_are_named_as_documented() -> None:
    A, w = Variable(np.ones((2, 2)), "A"), Variable(np.ones(2), "w")
    results = [A + A, A * A, A @ A, affine(A, A, w), A.relu(), softmax_cross_entropy(A, [0, 1]), A.sum(), A.mean(), A]
    expected = ["+", "×", "@", "affine", "ReLU", "softmax loss", "sum", "mean", ""]
    assert [result.operation for result in results] == expected


def test_tree_of_arrays_with_a_part_used_twice() -> None:
    X, W = Variable([[1.0, 2.0], [3.0, 4.0]], "X"), Variable([[3.0], [4.0]], "W")
    h = affine(X, W, [0.0]).named("h")
    loss = (h * h).mean().named("loss")
    loss.backward()
    assert loss.tree().splitlines() == [
        "                                   value      derivative",
        "mean loss                            373               1",
        "└─ ×                        (2, 1) ‖637‖  (2, 1) ‖0.707‖",
        "   ├─ affine h             (2, 1) ‖27.3‖   (2, 1) ‖27.3‖",
        "   │  ├─ X                 (2, 2) ‖5.48‖    (2, 2) ‖137‖",
        "   │  ├─ W                    (2, 1) ‖5‖    (2, 1) ‖149‖",
        "   │  └─ ·                      (1,) ‖0‖       (1,) ‖36‖",
        "   └─ affine h (as above)  (2, 1) ‖27.3‖   (2, 1) ‖27.3‖",
    ]


def test_tree_leaves_no_blanks_at_line_ends() -> None:
    for line in car()[-1].tree().splitlines():
        assert line == line.rstrip()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (1.0, "1"), (1 / 3, "0.333333"), (1e-30, "1e-30"), (-44.000000001, "-44"),
     (np.zeros((2, 3)), "(2, 3) ‖0‖"), (np.array([3.0, 4.0]), "(2,) ‖5‖"), (np.zeros(0), "(0,) ‖0‖"),
     (np.array([1e200, 1e200]), "(2,) ‖1.41e+200‖"), (np.array([1e-200, 1e-200]), "(2,) ‖1.41e-200‖"),
     (np.float32([1e30, 1e30]), "(2,) ‖1.41e+30‖")],
)  # fmt: skip
def test_summary(value: Any, text: str) -> None:
    assert summary(value) == text
