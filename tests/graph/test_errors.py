"""What the graph refuses: values, results, shapes, seeds, freed graphs and cycles."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy
from support.graph_cases import BINARY

LARGE = 1.5e308  # finite, twice it is not


# ---- errors ----
BAD_VALUES: list[tuple[type[Exception], str, Any]] = [
    (ValueError, "got nan, expected finite", math.nan),
    (ValueError, "got inf, expected finite", math.inf),
    (ValueError, "got -inf, expected finite", np.float32(-np.inf)),
    (ValueError, r"got nan at \[1, 0\], expected finite", [[1.0, 2.0], [math.nan, math.inf]]),
    (ValueError, r"got inf at \[2\]", np.array([1, 2, np.inf], np.float16)),
    (ValueError, "got tuple that is not rectangular", ((1.0,), (1.0, 2.0))),
    (TypeError, "got dtype <U3, expected real numbers", "1.0"),
    (TypeError, "got dtype <U1", ["a"]),
    (TypeError, r"got dtype \|?S1", b"1"),
    (TypeError, "got dtype complex128", 1j),
    (TypeError, "got dtype complex64", np.ones(2, np.complex64)),
    (TypeError, "got a masked array", np.ma.array([1.0, 2.0], mask=[False, True])),
    (TypeError, "got a masked array", np.ma.array([1.0, 2.0])),
    (TypeError, "got dtype object", None),
    (TypeError, "got dtype object", [1.0, None]),
    (TypeError, "got dtype object", {}),
    (TypeError, "got dtype object", 10**400),
    (TypeError, "got dtype object", [Variable(1.0)]),
    (TypeError, "got dtype datetime64", np.datetime64("2020-01-01")),
]


@pytest.mark.parametrize(("error", "message", "value"), BAD_VALUES)
def test_values_that_are_no_finite_real_numbers(error: type[Exception], message: str, value: Any) -> None:
    with pytest.raises(error, match=f"^value: {message}"):
        Variable(value)
    x = Variable(np.ones((1, 1)))
    for sign, function in {**BINARY, "@": operator.matmul}.items():
        for call in (lambda function=function: function(x, value), lambda function=function: function(value, x)):
            with pytest.raises(error, match=f"^{re.escape(sign)}: {message}"):
                call()
    for name, call in {
        "X": lambda: affine(value, x, [1.0]), "W": lambda: affine(x, value, [1.0]), "b": lambda: affine(x, x, value),
        "logits": lambda: softmax_cross_entropy(value, [0]),
    }.items():  # fmt: skip
        with pytest.raises(error, match=f"^{name}: {message}"):
            call()


def test_a_value_beyond_float64() -> None:
    for value in (np.longdouble("1e4000"), np.array([1, np.longdouble("1e4000")])):
        with pytest.raises(ValueError, match=r"^value: got inf"):
            Variable(value)


OVERFLOWS: dict[str, tuple[str, Callable[[], Any]]] = {
    "+ of numbers": (r"\+: got inf, ", lambda: Variable(LARGE) + LARGE),
    "+ of arrays": (r"\+: got inf at \[1\]", lambda: Variable([1.0, LARGE]) + [1.0, LARGE]),
    "-": (r"-: got -inf", lambda: Variable(-LARGE) - LARGE),
    "× of numbers": ("×: got -inf, ", lambda: Variable(LARGE) * -10),
    "× of arrays": (r"×: got inf at \[0, 0\]", lambda: Variable([[LARGE]]) * 10),
    "× in float32": (r"×: got inf at \[0\]", lambda: Variable(np.float32([1e30])) * np.float32([1e30])),
    "× of a large number with float32": (r"×: got inf at \[0\]", lambda: 1e300 * Variable(np.float32([1]))),
    "@": (r"@: got inf, ", lambda: Variable([LARGE, LARGE]) @ [1.0, 1.0]),
    "@ of matrices": (r"@: got inf at \[0, 1\]", lambda: Variable([[1.0, LARGE]]) @ [[1.0, 1.0], [0.0, 2.0]]),
    "affine": (r"affine: got inf at \[0, 0\]", lambda: affine([[LARGE]], [[1.0]], [LARGE])),
    "softmax loss": ("softmax loss: got inf", lambda: softmax_cross_entropy([[LARGE, -LARGE]], [1])),
    "sum": ("sum: got inf", lambda: Variable([LARGE, LARGE]).sum()),
    "mean": ("mean: got inf", lambda: Variable([LARGE, LARGE]).mean()),
}


@pytest.mark.parametrize("operation", OVERFLOWS)
def test_a_result_that_is_not_finite(operation: str) -> None:
    message, call = OVERFLOWS[operation]
    with pytest.raises(ValueError, match=f"^{message}.*expected finite numbers"):
        call()


x1, x32 = Variable([1.0], "x"), Variable(np.float32([1]), "x")
OVERFLOWS_BACK: dict[str, tuple[str, Callable[[], Any]]] = {
    "product of numbers": ("gradient behind ×: got inf", lambda: (Variable(1.0) * 10).backward(LARGE)),
    "product of arrays": (r"gradient behind ×: got inf at \[0\]", lambda: (x1 * [10.0]).backward([LARGE])),
    "matrix product": ("gradient behind @", lambda: (Variable([[1.0]]) @ [[10.0]]).backward([[LARGE]])),
    "affine": (
        "gradient behind affine: got inf",
        lambda: affine(np.ones((2, 1)), [[1.0]], [0.0]).backward([[LARGE], [LARGE]]),
    ),
    "numbers added up": (
        "gradient of the variable 'x': got inf",
        lambda: (lambda x: x + x)(Variable(1.0, "x")).backward(LARGE),
    ),
    "numbers without a name": (
        r"gradient of a variable \(given\)",
        lambda: (lambda x: x + x)(Variable(1.0)).backward(LARGE),
    ),
    "arrays added up": (r"gradient of the variable 'x': got inf at \[0\]", lambda: (x1 + x1).backward([LARGE])),
    "summed where it was repeated": (
        r"gradient behind \+: got inf at \[0\]",
        lambda: (x1 + np.zeros(2)).backward([LARGE, LARGE]),
    ),
    "in float32": (
        r"gradient behind ×: got inf at \[0\]",
        lambda: (x32 * np.float32([1e10])).backward(np.float32([1e30])),
    ),
    "beyond float32": (r"gradient behind \+: got inf at \[0\]", lambda: (x32 + np.ones(1)).backward([1e300])),
    "a seed beyond float32": (r"gradient: got inf at \[0\]", lambda: x32.backward([1e300])),
}


@pytest.mark.parametrize("where", OVERFLOWS_BACK)
def test_a_gradient_that_is_not_finite(where: str) -> None:
    message, call = OVERFLOWS_BACK[where]
    with pytest.raises(ValueError, match=f"^{message}.*expected finite numbers"):
        call()


@pytest.mark.parametrize("sign", ["+", "×"])
@pytest.mark.parametrize("shapes", [((2,), (3,)), ((2, 3), (2,)), ((2, 3), (3, 2)), ((4, 2, 3), (3, 3)), ((0,), (2,))])
def test_shapes_that_do_not_broadcast(shapes: tuple[tuple[int, ...], ...], sign: str) -> None:
    x, y = map(np.ones, shapes)
    message = re.escape(f"{sign}: got shapes {shapes[0]} and {shapes[1]}, expected two that broadcast")
    for call in (
        lambda: BINARY[sign](Variable(x), Variable(y)), lambda: BINARY[sign](x, Variable(y)),
        lambda: BINARY[sign](Variable(x), y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


def test_differences_of_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(3,\), expected two that broadcast"):
        Variable([1.0, 2.0]) - [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "shapes",
    [((2, 3), (2, 3)), ((3,), (2,)), ((3,), (2, 3)), ((2, 3), (2,)), ((), (3,)), ((3,), ()), ((), ()), ((2, 3), ()),
     ((4, 2, 3), (3, 2)), ((2, 3), (4, 3, 2)), ((4, 2, 3), (4, 3, 2))],
)  # fmt: skip
def test_shapes_that_do_not_multiply(shapes: tuple[tuple[int, ...], ...]) -> None:
    x, y = map(np.ones, shapes)
    message = re.escape(f"@: got shapes {shapes[0]} and {shapes[1]}, expected (n, k) and (k, m), or vectors")
    for call in (lambda: Variable(x) @ Variable(y), lambda: x @ Variable(y), lambda: Variable(x) @ y):
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


@pytest.mark.parametrize(
    ("message", "shapes"),
    [
        (r"X: got 1 dimensions, shape \(3,\), expected 2", ((3,), (3, 2), (2,))),
        (r"X: got 0 dimensions, shape \(\), expected 2", ((), (3, 2), (2,))),
        (r"X: got 3 dimensions, shape \(4, 2, 3\), expected 2", ((4, 2, 3), (3, 2), (2,))),
        (r"W: got 1 dimensions, shape \(3,\), expected 2", ((4, 3), (3,), (2,))),
        (r"W: got shape \(2, 3\), expected \(3, 3\)", ((4, 3), (2, 3), (3,))),
        (r"b: got shape \(3,\), expected \(2,\)", ((4, 3), (3, 2), (3,))),
        (r"b: got 2 dimensions, shape \(1, 2\), expected 1", ((4, 3), (3, 2), (1, 2))),
        (r"b: got 0 dimensions, shape \(\), expected 1", ((4, 3), (3, 1), ())),
    ],
)
def test_shapes_that_make_no_affine_layer(message: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    for form in (np.ones, lambda shape: Variable(np.ones(shape))):
        with pytest.raises(ValueError, match=f"^{message}"):
            affine(*map(form, shapes))


@pytest.mark.parametrize(
    ("error", "message", "logits", "labels"),
    [
        (ValueError, r"logits: got 1 dimensions, shape \(3,\), expected 2", np.ones(3), [0]),
        (ValueError, r"logits: got 0 dimensions", 1.0, [0]),
        (ValueError, r"logits: got shape \(0, 3\), expected at least one row", np.ones((0, 3)), []),
        (ValueError, r"labels: got 3 at \[1\], expected whole numbers from 0 to 2", np.ones((2, 3)), [0, 3]),
        (ValueError, r"labels: got -1 at \[0\]", np.ones((2, 3)), [-1, 0]),
        (ValueError, r"labels: got 0.5 at \[1\]", np.ones((2, 3)), [0, 0.5]),
        (ValueError, r"labels: got nan at \[1\]", np.ones((2, 3)), [0, math.nan]),
        (ValueError, r"labels: got shape \(3,\), expected \(2,\)", np.ones((2, 3)), [0, 1, 2]),
        (ValueError, r"labels: got shape \(2, 2\), expected \(2, 3\)", np.ones((2, 3)), np.eye(2)),
        (ValueError, "labels: got row 1 with sum 2", np.ones((2, 2)), [[0.5, 0.5], [1.0, 1.0]]),
        (TypeError, "labels: got dtype <U1", np.ones((2, 3)), ["0", "1"]),
        (TypeError, "labels: got dtype object", np.ones((2, 3)), None),
    ],
)
def test_logits_and_labels_that_do_not_fit(error: type[Exception], message: str, logits: Any, labels: Any) -> None:
    for operand in (logits, Variable(logits)):
        with pytest.raises(error, match=f"^{message}"):
            softmax_cross_entropy(operand, labels)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("operation", ["sum", "mean"])
def test_nothing_to_sum(operation: str, shape: tuple[int, ...]) -> None:
    message = re.escape(f"{operation}: got an empty array of shape {shape}, expected at least one entry")
    with pytest.raises(ValueError, match=message):
        getattr(Variable(np.ones(shape)), operation)()


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 3)])
def test_backward_of_an_array_needs_a_gradient(shape: tuple[int, ...]) -> None:
    x = Variable(np.ones(shape))
    for result in (x, x * 2, x.relu()):
        with pytest.raises(ValueError, match=re.escape(f"gradient: got none for a result of shape {shape}")):
            result.backward()
        assert result.grad is None


@pytest.mark.parametrize(
    ("error", "message", "gradient"),
    [
        (ValueError, r"gradient: got shape \(\), expected \(2, 3\)", 1.0),
        (ValueError, r"gradient: got shape \(3,\), expected \(2, 3\)", np.ones(3)),
        (ValueError, r"gradient: got shape \(3, 2\), expected \(2, 3\)", np.ones((3, 2))),
        (ValueError, r"gradient: got shape \(1, 2, 3\), expected \(2, 3\)", np.ones((1, 2, 3))),
        (ValueError, "gradient: got list that is not rectangular", [[1.0], [1.0, 2.0]]),
        (ValueError, r"gradient: got nan at \[0, 1\], expected finite", [[1, math.nan, 1], [1, 1, 1]]),
        (ValueError, r"gradient: got -inf at \[1, 2\]", [[1, 1, 1], [1, 1, -math.inf]]),
        (TypeError, "gradient: got dtype complex128", np.full((2, 3), 1j)),
        (TypeError, "gradient: got dtype <U1", np.full((2, 3), "1")),
        (TypeError, "gradient: got a masked array", np.ma.ones((2, 3))),
        (TypeError, "gradient: got dtype object", Variable(np.ones((2, 3)))),
    ],
)
def test_seeds_that_do_not_fit(error: type[Exception], message: str, gradient: Any) -> None:
    x = Variable(np.ones((2, 3)))
    z = x * 2
    z.backward(np.full((2, 3), 5.0))
    with pytest.raises(error, match=f"^{message}"):
        z.backward(gradient)
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 10.0))  # a call that is refused changes nothing


def test_seeds_of_a_number_that_do_not_fit() -> None:
    for error, message, gradient in (
        (ValueError, r"gradient: got shape \(1,\), expected \(\)", [1.0]),
        (ValueError, "gradient: got nan, expected", math.nan),
        (TypeError, "gradient: got dtype <U1", "1"),
    ):
        with pytest.raises(error, match=f"^{message}"):
            (Variable(3.0) * 2).backward(gradient)


@pytest.mark.parametrize("use", [Variable.backward, Variable.tree, ordered])
def test_a_graph_that_was_freed(use: Callable[[Variable], Any]) -> None:
    x = Variable(3.0, "x")
    z = (x * 2).named("z")
    z.backward()
    z.free()
    with pytest.raises(ValueError, match="the variable 'z' was freed"):
        use(z)
    further = z + 1  # its value is still good
    assert further.value == 7.0
    with pytest.raises(ValueError, match="the variable 'z' was freed"):
        use(further)
    nameless = x * 2
    nameless.free()
    with pytest.raises(ValueError, match=r"a variable \(×\) was freed"):
        use(nameless + x)
    assert (x.grad, x.value) == (2.0, 3.0)
    use(x)


@pytest.mark.parametrize("use", [Variable.backward, Variable.tree, ordered])
def test_a_graph_with_a_cycle(use: Callable[[Variable], Any]) -> None:
    x = Variable(3.0, "x")
    x.operands = (x,)
    with pytest.raises(ValueError, match="the variable 'x' is among its own operands"):
        use(x)
    x.operands = ()
    y = x * 2
    z = y + 1
    y.operands = (z, *y.operands[1:])
    for start in (y, z, z * 3):
        with pytest.raises(ValueError, match=r"a variable \([+×]\) is among its own operands: .* cycle"):
            use(start)
    y.operands = ()  # lets go of it


def test_functions_of_numpy_are_refused_and_not_mapped_over_objects() -> None:
    x = Variable([1.0, 2.0])
    for call in (lambda: np.add(np.ones(2), x), lambda: np.multiply(x, 2.0), lambda: np.matmul(np.ones(2), x)):
        with pytest.raises(TypeError, match="does not support ufuncs"):
            call()
