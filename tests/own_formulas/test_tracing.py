"""Functions as they are traced: each kind of what they may do, compiled and compared with a call of the function."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from math import exp, tanh
from typing import Any

import numba
import numpy as np
import pytest

import fastbp
from fastbp import Activation, Loss
from support.comparisons import assert_within
from support.formula_cases import mapped

SCALE = 1.5


def twice(x: Any) -> Any:
    return 2 * x


def scaled(x: Any) -> Any:
    return SCALE * twice(x)


@numba.njit
def compiled(x: Any) -> Any:
    return math.exp(-x * x) if x > -3 else 0.0


def looped(x: Any) -> Any:
    total, term = 1.0, 1.0
    for k in range(1, 6):
        term = term * x / k
        total += term
    return total


def nested(x: Any) -> Any:
    def inner(z: Any) -> Any:
        return z / (1 + abs(z))

    return inner(x) + inner(x / 2)


def branches(x: Any) -> Any:
    if x > 3:
        return 3.0 + 0.1 * (x - 3)
    if -1 < x <= 0 or x < -4:
        return 0.5 * x
    return x if not x <= 0 else 0.25 * x


def with_default(x: Any, function: Any = math.tanh) -> Any:
    return function(x)


class Scaled:
    """An object whose method is a formula."""

    scale = 1.5

    def value(self, x: Any) -> Any:
        return self.scale * math.tanh(x)


def of_float(x: Any) -> Any:
    return float(x) * 2.0


def closed_over(a: float) -> Callable[..., Any]:
    return lambda x: a * x


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda x: (3 - x) * 2 / (x * x + 1) - -x + (+x),
    "powers": lambda x: 0.1 * x**3 - (x * x + 1) ** -2.0 + (x * x + 1) ** 0.5 + (1 + x * x) ** -1 + x**0,
    "any powers": lambda x: (abs(x) + 0.5) ** 1.7 + 1.1**x,
    "comparisons in arithmetic": lambda x: (x > 0) * x + (x <= -1) * 0.5,
    "minimum and maximum": lambda x: min(max(x, -1), 2.0, 1.5),
    "math": lambda x: math.exp(-abs(x)) + math.expm1(0.1 * x) + math.log1p(x * x) + math.sqrt(x * x + 2) - math.tanh(x),
    "C library": lambda x: math.sin(x) + math.cos(x) * math.atan(x) + math.erf(x) - math.erfc(0.5 * x),
    "more of the C library": lambda x: (
        math.floor(x) + 0.5 * math.asinh(x) + math.atan2(x, 2.0) + math.lgamma(x * x + 1)
    ),
    "logarithms": lambda x: math.log(x * x + 1) + math.log(x * x + 2, 3) + math.log2(x * x + 1) + math.log10(x * x + 4),
    "hyperbolic": lambda x: math.sinh(0.1 * x) + math.cosh(0.2 * x) + math.pow(x * x + 1, 0.3),
    "copysign": lambda x: math.copysign(2.0, x) + math.fabs(x),
    "names of math": lambda x: tanh(x) + exp(-x * x),
    "NumPy": lambda x: np.tanh(x) + np.exp(-np.square(x)) + np.maximum(x, 0.1) - np.minimum(x, np.float64(2)),
    "more of NumPy": lambda x: np.where(x > 1, x, 0.5 * x) + np.clip(x, -1, 1) + np.sign(x) + np.logaddexp(0, x),
    "NumPy's numbers": lambda x: np.float64(2) * x + np.float32(0.5) / (np.float64(1) + x * x),
    "logical": lambda x: np.where((x > 0) & (x < 2) | np.logical_not(x > -3), x, -x),
    "a closure": closed_over(0.75),
    "functions that it calls": scaled,
    "a function that Numba compiles": compiled,
    "a function that it calls, of Numba": lambda x: compiled(x) * x,
    "a loop": looped,
    "a function inside": nested,
    "branches": branches,
    "a default": with_default,
    "float": of_float,
    "a method": Scaled().value,
    "a remainder": lambda x: x % 2 + 0.5 * (x // 3) + 7 % (abs(x) + 1),
    "a type": lambda x: 2 * x if isinstance(x, float) else 3 * x,
    "a partial": functools.partial(lambda x, a: math.exp(-a * x * x), a=0.5),
    "math itself": math.tanh,
    "NumPy itself": np.tanh,
    "a constant": lambda x: 1,
}
POINTS = np.array([-20, -7.5, -3.5, -2.2, -1.0, -0.4, -1e-3, 0.0, 1e-3, 0.3, 0.9, 1.0, 1.7, 2.5, 3.4, 8.0, 20.0])


def values_of(function: Callable[..., Any]) -> np.ndarray:
    plain = getattr(function, "py_func", function)
    return np.array([float(plain(float(x))) for x in POINTS])


def traced(function: Callable[..., Any]) -> Any:
    """Return the definition of a function whose derivative is not at hand: only its value is traced."""
    from fastbp.own_formulas.functions import traceable
    from fastbp.own_formulas.tracing import Trace

    trace = Trace(1)
    return trace.expression(trace.value(traceable(function), *trace.inputs), [0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_values_are_those_of_the_function(name: str, dtype: Any) -> None:
    from fastbp.kernels.expressions import evaluated, written
    from fastbp.kernels.lanes import Formula

    expression = traced(FUNCTIONS[name])
    exact = values_of(FUNCTIONS[name])
    np.testing.assert_allclose(evaluated(expression, POINTS), exact, rtol=1e-13, atol=1e-13)
    compiled = mapped(Formula(lambda x: written(expression, x)), 1)(POINTS.astype(dtype))
    # Each step rounds; sums of a few terms cancel at most down to 1 in 10, and 8 ulp are a function's.
    bound = 80 * np.finfo(dtype).eps * np.maximum(np.abs(exact), np.abs(POINTS) + 1)
    assert_within(compiled, exact, bound)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: "x", "returns 'x', not a number"),
        (lambda x: [x], "not a number"),
        (lambda x: math.factorial(x), "converts its argument to a number"),
        (lambda x: int(x), "converts its argument to a number"),
        (lambda x: np.sum(x), "numpy.sum"),
        (lambda x: np.fmod(x, 2) + np.heaviside(x, 0), "numpy.heaviside"),
        (lambda x: x.real, "no attribute 'real'"),
        (lambda x, y: x, "missing 1 required positional argument"),
        (lambda x: x + None, "unsupported operand"),
    ],
)
def test_what_cannot_be_traced_is_refused(function: Any, words: str) -> None:
    with pytest.raises(TypeError, match="activation 'own': value cannot be traced") as caught:
        Activation("own", function, lambda x: 1.0)
    assert words in str(caught.value)


def test_a_loop_without_end_is_refused() -> None:
    def newton(x: Any) -> Any:
        root = x
        while abs(root * root - x) > 1e-9:
            root = (root + x / root) / 2
        return root

    with pytest.raises(TypeError, match="more than 64 branches one after another"):
        Activation("own", newton, lambda x: 1.0)


def test_too_many_paths_are_refused() -> None:
    def steps(x: Any) -> Any:
        return sum((x + 0.1 * k) * 1.0 if x * (k + 1.5) > k + 1 else 0.0 for k in range(12))

    with pytest.raises(TypeError, match="more than 256 paths"):
        Activation("own", steps, lambda x: 1.0)


def test_functions_that_are_traced_see_nothing_of_it() -> None:
    before = math.exp, math.tanh, dict(globals())
    Activation("own", scaled, lambda x: 3.0)
    assert (math.exp, math.tanh) == before[:2]
    assert globals() == before[2]


# ---- the check ----


def test_a_wrong_derivative_is_an_error_that_shows_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"derivative is 2\.4 at x = 2, but differences of value give 1\b"):
        Activation("own", lambda x: x if x > 0 else 0.1 * x, lambda x: (1.0 if x != 2 else 2.4) if x > 0 else 0.1)


@pytest.mark.parametrize("size", [1e-3, 0.2, 1.0, 3.3, 4.0, 17.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_derivative_that_is_wrong_for_some_sizes_only_is_found(size: float, sign: int) -> None:
    low, high = sorted((0.9 * sign * size, 1.1 * sign * size))
    with pytest.raises(ValueError, match="activation 'own': derivative is"):
        Activation("own", lambda x: 0.5 * x * x, lambda x: 1.01 * x if low < x < high else x)


def test_kinks_may_have_any_slope_around() -> None:
    for slope in (0.0, 0.5, 1.0):
        Activation("own", lambda x: max(x, 0), lambda x, slope=slope: 1.0 if x > 0 else (0.0 if x < 0 else slope))


def test_what_is_not_finite_at_ordinary_points_is_refused() -> None:
    with pytest.raises(ValueError, match=r"value is nan in float64 at x = -1e-06, expected a finite number"):
        Activation("own", lambda x: math.sqrt(x), lambda x: 0.5 / math.sqrt(x))
    with pytest.raises(ValueError, match=r"derivative is inf in float64 at x = 0, expected a finite number"):
        Activation("own", lambda x: math.sqrt(abs(x)), lambda x: math.copysign(0.5, x) / math.sqrt(abs(x)))


@pytest.mark.parametrize("t", [0.0, 0.65, 1.0])
def test_a_derivative_that_is_wrong_for_some_targets_only_is_found(t: float) -> None:
    with pytest.raises(ValueError, match=rf"loss 'own': derivative is \S+ at z = \S+, t = {t:g}, but"):
        Loss("own", lambda z, t: (z - t) ** 2, lambda z, share: (2.1 if abs(share - t) < 0.04 else 2) * (z - share),
             targets="shares")  # fmt: skip


def test_formulas_must_be_finite_in_the_networks_dtype_too() -> None:
    def value(z: Any, t: Any) -> Any:
        p = 1 / (1 + math.exp(-z))
        return -t * math.log(p) - (1 - t) * math.log(1 - p)

    naive = Loss("naive", value, lambda z, t: 1 / (1 + math.exp(-z)) - t, targets="shares")
    fastbp.MLP((2, 1), loss=naive, dtype="float64")
    with pytest.raises(ValueError, match=r"loss 'naive': value is (inf|nan) in float32 at z = 17\S*, t = "):
        fastbp.MLP((2, 1), loss=naive)
    steep = Activation("steep", lambda x: x**30, lambda x: 30 * x**29)
    with pytest.raises(ValueError, match=r"activation 'steep': value is inf in float32 at x = "):
        fastbp.MLP((2, 3, 1), activation=steep)


def test_a_function_of_more_than_its_arguments_is_refused() -> None:
    calls = iter(range(10**6))
    with pytest.raises(ValueError, match="expected a function of its arguments alone"):
        Activation("own", lambda x: x * next(calls), lambda x: 0.0)


def test_a_wrong_derivative_of_a_loss_names_logit_and_target() -> None:
    with pytest.raises(ValueError, match=r"loss 'own': derivative is \S+ at z = \S+, t = \S+, but differences"):
        Loss("own", lambda z, t: (z - t) ** 2, lambda z, t: z - t)


# ---- the digest ----


def digest_of(function: Callable[..., Any], slope: Callable[..., Any], **constants: float) -> str:
    return Activation("own", function, slope, **constants).digest


def helped(factor: float) -> Callable[..., Any]:
    def helper(x: Any) -> Any:
        return factor * x

    return lambda x: helper(x) + x


def test_the_digest_covers_code_constants_closures_and_called_functions() -> None:
    digests = [
        digest_of(lambda x: 2 * x, lambda x: 2),
        digest_of(lambda x: 3 * x, lambda x: 3),
        digest_of(lambda x: x + x, lambda x: 2),
        digest_of(helped(0.5), lambda x: 1.5),
        digest_of(helped(0.25), lambda x: 1.25),
        digest_of(lambda x, a: a * x, lambda x, a: a, a=4.0),
        digest_of(lambda x, a: a * x, lambda x, a: a, a=math.nextafter(4.0, 5.0)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest_of(lambda z: 2 * z, lambda z: 2) == digests[0]


def test_constants_may_be_numbers_of_numpy() -> None:
    expected = Activation("own", scaled_tanh, scaled_slope, a=3, n=2)
    for a, n in ((np.float64(3), np.int64(2)), (np.float32(3), np.uint8(2))):
        assert Activation("own", scaled_tanh, scaled_slope, a=a, n=n) == expected


def scaled_tanh(x: Any, a: float, n: int) -> Any:
    return sum(a * math.tanh(x) for _ in range(n))


def scaled_slope(x: Any, a: float, n: int) -> Any:
    return n * a * (1 - math.tanh(x) ** 2)


def test_the_derivative_is_computed_from_the_value_where_that_is_enough() -> None:
    own = Activation("own", math.tanh, lambda x: 1 - math.tanh(x) ** 2)
    assert not own.definition.keeps_input
    assert own.definition.derivative.steps == (("multiply", 0, 0), ("number", 1.0), ("subtract", 2, 1))
    own = Activation("own", lambda x: x * math.tanh(x), lambda x: math.tanh(x) + x * (1 - math.tanh(x) ** 2))
    assert own.definition.keeps_input


# ---- arguments ----


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "relu"}, "which fastbp has itself"),
        ({"name": "mean_squared_error"}, "which fastbp has itself"),
        ({"name": "a b"}, "expected an identifier"),
        ({"name": "<lambda>"}, "expected an identifier"),
        ({"name": 3}, "expected an identifier"),
        ({"initializer": "best"}, "initializer"),
        ({"value": 3}, "got int for value, expected a function"),
        ({"derivative": None}, "got NoneType for derivative, expected a function"),
        ({"a": "b"}, "got a='b', expected a number"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    given = {"name": "own", "value": lambda x, **_: x, "derivative": lambda x, **_: 1.0} | arguments
    with pytest.raises((ValueError, TypeError), match=words):
        Activation(**given)


def test_a_loss_has_no_name_of_an_activation() -> None:
    with pytest.raises(ValueError, match="got the name 'relu', which fastbp has itself"):
        Loss("relu", lambda z, t: (z - t) ** 2, lambda z, t: 2 * (z - t))


def test_formulas_can_be_called_compared_and_not_changed() -> None:
    own = Activation("own", lambda x: x * x, lambda x: 2 * x)
    np.testing.assert_array_equal(own([[1.0, 2.0]]), [[1.0, 4.0]])
    assert own == Activation("own", lambda x: x * x, lambda x: 2 * x)
    assert own != Activation("own", lambda x: x * x * 1.5, lambda x: 3 * x)
    assert len({own, Activation("own", lambda x: x * x, lambda x: 2 * x)}) == 1
    with pytest.raises(AttributeError, match=r"Activation\.name: cannot be changed"):
        own.name = "other"
    loss = Loss("own", lambda z, t: abs(z - t), lambda z, t: np.sign(z - t))
    np.testing.assert_array_equal(loss([1.0, 2.0], [0.0, 4.0]), [1.0, 2.0])
    assert repr(loss) == "Loss('own')"
    assert fastbp.Activation is Activation


def test_calls_with_what_is_no_number_or_does_not_fit() -> None:
    own = Activation("own", lambda x: x * x, lambda x: 2 * x)
    with pytest.raises(TypeError, match="^x: got"):
        own("text")
    loss = Loss("own", lambda z, t: (z - t) ** 2, lambda z, t: 2 * (z - t))
    with pytest.raises(TypeError, match="^t: got"):
        loss([1.0], ["text"])
    with pytest.raises(ValueError, match=r"^t: got shape \(3,\), expected \(2,\)"):
        loss([1.0, 2.0], [1.0, 2.0, 3.0])
