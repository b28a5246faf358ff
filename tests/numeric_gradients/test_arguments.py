"""Several inputs, and wrong arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastbp.numeric_gradients.check import gradcheck, numeric_gradient
from support.functions import cubic


# Several inputs
def product(w: Any, b: Any) -> Any:
    return np.sum(np.sin(w) @ b)


def product_gradient(w: Any, b: Any) -> Any:
    return np.cos(w) * b, np.sin(w).sum(axis=0)


def test_several_inputs() -> None:
    rng = np.random.default_rng(12)
    point = rng.standard_normal((4, 3)), rng.standard_normal(3)
    result = gradcheck(product, product_gradient, point)
    assert result, str(result)
    assert [array.shape for array in result.numeric] == [(4, 3), (3,)]
    for numeric, analytic, direct in zip(
        result.numeric, result.analytic, numeric_gradient(product, point), strict=True
    ):
        np.testing.assert_allclose(numeric, analytic, atol=1e-8)
        np.testing.assert_array_equal(numeric, direct)
    assert gradcheck(product, product_gradient(*point), point)  # the gradient itself
    assert gradcheck(product, list(product_gradient(*point)), point)
    of_w, of_b = product_gradient(*point)
    of_b[1] += 1e-3
    result = gradcheck(product, (of_w, of_b), point)
    assert not result
    assert result.worst == (1, 1)
    assert "1 of 15 wrong, of input 1 at [1]: analytic" in str(result)
    of_w[2, 0] *= -1
    assert "2 of 15 wrong, of input 0 at [2, 0]: analytic" in str(gradcheck(product, (of_w, of_b), point))
    assert gradcheck(product, product_gradient, point, directions=2)
    assert not gradcheck(product, (of_w, of_b), point, directions=2)


def test_several_inputs_of_any_shape_with_a_jacobian() -> None:
    matrix, number = np.random.default_rng(13).standard_normal((2, 3)), np.array(0.7)

    def jacobian(matrix: Any, number: Any) -> Any:
        return number * np.eye(6).reshape(2, 3, 2, 3), matrix

    result = gradcheck(lambda m, n: m * n, jacobian, (matrix, number))
    assert result, str(result)
    assert [array.shape for array in result.numeric] == [(2, 3, 2, 3), (2, 3)]
    of_matrix, of_number = jacobian(matrix, number)
    of_number = of_number + [[0, 0, 0], [0, 1e-3, 0]]
    result = gradcheck(lambda m, n: m * n, (of_matrix, of_number), (matrix, number))
    assert result.worst == (1, 1, 1)
    assert "of input 1 at [1, 1]: analytic" in str(result)


def test_each_of_several_inputs_is_the_function_s_own() -> None:
    def destructive(a: Any, b: Any) -> float:
        assert a.dtype == b.dtype == np.float64 and a.flags.c_contiguous and b.flags.c_contiguous
        value = float(a.sum() + b.sum())
        a[...] = b[...] = math.nan
        return value

    point = np.ones((2, 2), "f4").T, np.array([1, 2])
    for array in point:
        array.flags.writeable = False
    assert gradcheck(destructive, lambda a, b: (np.ones_like(a), np.ones_like(b)), point)


def test_what_counts_as_several_inputs() -> None:
    """A tuple with an array in it. Tuples of numbers and of lists are arrays, as in NumPy."""
    assert gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, (1.0, np.float64(2.0)))
    assert gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, ((1.0, 2.0), [3.0, 4.0]))
    assert gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, [np.ones(2), np.ones(2)])
    assert gradcheck(lambda a, b: (a**2).sum() + b, lambda a, b: (2 * a, 1.0), (np.ones(2), 3))
    assert gradcheck(lambda a: (a**2).sum(), lambda a: (2 * a,), (np.ones(2),))


def test_steps_of_several_inputs() -> None:
    seen = []

    def function(a: Any, b: Any) -> float:
        seen.append((a, b))
        return float(a.sum() + b)

    for eps in (0.25, (0.25, 0.5), (np.array([0.25, 0.125]), 0.5)):
        seen.clear()
        assert gradcheck(function, (np.ones(2), 1.0), (np.zeros(2), np.array(0.0)), eps=eps)
        steps = np.max([np.append(a, b) for a, b in seen], axis=0)
        second, third = (0.25 if np.isscalar(eps) else np.ravel(eps[0])[-1]), (0.25 if np.isscalar(eps) else 0.5)
        np.testing.assert_array_equal(steps, [0.25, second, third])


@pytest.mark.parametrize(
    ("error", "message", "gradient", "point", "eps"),
    [
        (TypeError, "gradient: got ndarray, expected a tuple of 2 arrays, one for", np.ones(2), "good", None),
        (ValueError, "gradient: got 1 arrays, expected 2, one for each input", (np.ones(2),), "good", None),
        (ValueError, r"gradient\[1\]: got shape \(3,\), expected the shape of point\[1\], \(2,\)",
         (np.ones(2), np.ones(3)), "good", None),
        (TypeError, r"gradient\[1\]: got dtype complex128", (np.ones(2), np.ones(2) * 1j), "good", None),
        (TypeError, r"point\[1\]: got dtype <U1", (np.ones(2), np.ones(2)), (np.ones(2), "x"), None),
        (ValueError, r"point\[0\]: got an empty array", (np.ones(2), np.ones(2)), (np.ones(0), np.ones(2)), None),
        (ValueError, r"point\[1\]: got 1 entries NaN", (np.ones(1), np.ones(1)), (np.ones(1), [math.nan]), None),
        (ValueError, "eps: got 3 steps, expected one for each of 2 inputs", (1, 1), "good", (1, 1, 1)),
        (ValueError, r"eps\[1\]: got -1, expected positive finite", (1, 1), "good", (1, -1)),
        (ValueError, r"eps\[0\]: got shape \(3,\), expected one number or", (1, 1), "good", (np.ones(3), 1)),
    ],
)  # fmt: skip
def test_errors_of_several_inputs(error: type[Exception], message: str, gradient: Any, point: Any, eps: Any) -> None:
    point = (np.ones(2), np.ones(2)) if isinstance(point, str) else point
    with pytest.raises(error, match=message):
        gradcheck(lambda a, b: a.sum() + b.sum(), gradient, point, eps=eps)


# Errors
@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "function: got int, expected a callable", (3, [1.0], [1.0])),
        (TypeError, r"function: returned shape \(1,\) of complex128", (lambda x: x * 1j, [1.0], [1.0])),
        (TypeError, "function: returned list that is no array", (lambda x: [1.0, [1.0]], [1.0], [1.0])),
        (ValueError, r"function: returned an empty array of shape \(0,\)", (lambda x: x[1:], [1.0], [1.0])),
        (
            ValueError,
            r"function: returned shape \(1,\), expected \(2,\)",
            (lambda x: [1.0] * (2 - (x[0] > 1)), [[1.0]] * 2, [1.0]),
        ),
        (ValueError, "function: returned 1 numbers NaN or inf", (lambda x: [x[0], math.nan], [[1.0]] * 2, [1.0])),
        (TypeError, "function: returned NoneType", (lambda x: None, [1.0], [1.0])),
        (TypeError, "function: returned complex", (lambda x: 1j, [1.0], [1.0])),
        (TypeError, "function: returned str", (lambda x: "1", [1.0], [1.0])),
        (ValueError, "function: returned nan", (lambda x: math.nan, [1.0], [1.0])),
        (ValueError, "function: returned inf", (lambda x: math.inf, [1.0], [1.0])),
        (ValueError, "function: returned nan", (lambda x: math.nan if x[0] > 1 else 0.0, [1.0], [1.0])),
        (ValueError, r"gradient: got shape \(2,\), expected the shape of point, \(1,\)", (cubic, [1.0, 2.0], [1.0])),
        (ValueError, r"gradient: got shape \(\)", (cubic, lambda x: 1.0, [1.0])),
        (
            ValueError,
            r"gradient: got shape \(2,\), expected \(2, 2\), the function's",
            (lambda x: x, [1.0, 1.0], [1.0, 1.0]),
        ),
        (TypeError, "gradient: got dtype complex128", (cubic, [1j], [1.0])),
        (TypeError, "gradient: got dtype object returned", (cubic, lambda x: None, [1.0])),
        (TypeError, "point: got dtype complex128", (cubic, [1.0], [1j])),
        (TypeError, "point: got dtype object", (cubic, [1.0], [None])),
        (TypeError, "point: got dtype <U3", (cubic, [1.0], ["1.0"])),
        (TypeError, "point: got list that is no array", (cubic, [1.0], [[1.0], [1.0, 2.0]])),
        (ValueError, "point: got an empty array", (cubic, [], [])),
        (ValueError, "point: got 1 entries NaN or infinite", (cubic, [1.0, 1.0], [math.nan, 1.0])),
        (ValueError, "point: got 1 entries NaN or infinite", (cubic, [1.0], [math.inf])),
        (ValueError, "eps: got 0", (cubic, [1.0], [1.0], 0)),
        (ValueError, "eps: got nan", (cubic, [1.0], [1.0], math.nan)),
        (ValueError, "eps: got 1e-17, expected one that changes 1", (cubic, [1.0], [1.0], 1e-17)),
        (ValueError, "eps: got 1.[0-9]*e.303, expected one that changes 1.8e.308", (cubic, [1.0], [1.79769e308])),
        (ValueError, r"eps: got shape \(2,\)", (cubic, [1.0], [1.0], [0.1, 0.1])),
        (TypeError, "eps: got dtype <U1", (cubic, [1.0], [1.0], "x")),
        (ValueError, "rtol: got -1", (cubic, [1.0], [1.0], None, -1)),
        (ValueError, "rtol: got nan", (cubic, [1.0], [1.0], None, math.nan)),
        (TypeError, "rtol: got str", (cubic, [1.0], [1.0], None, "1e-7")),
        (TypeError, "rtol: got bool", (cubic, [1.0], [1.0], None, True)),
        (ValueError, "directions: got 0, expected at least 1", (cubic, [1.0], [1.0], None, None, 0)),
        (TypeError, "directions: got 2.0, expected a whole number", (cubic, [1.0], [1.0], None, None, 2.0)),
        (TypeError, "directions: got True, expected a whole number", (cubic, [1.0], [1.0], None, None, True)),
        (ValueError, "eps: got steps too small", (lambda x: x.sum(), np.ones(10**4), np.ones(10**4), 3e-16, None, 1)),
    ],
)
def test_errors_name_the_argument(error: type[Exception], message: str, arguments: tuple[Any, ...]) -> None:
    keywords = dict(zip(("eps", "rtol", "directions"), arguments[3:], strict=False))
    with pytest.raises(error, match=message):
        gradcheck(*arguments[:3], **keywords)
    if not message.startswith(("gradient", "rtol", "directions", "eps: got steps")):
        with pytest.raises(error, match=message):
            numeric_gradient(arguments[0], arguments[2], eps=keywords.get("eps"))
