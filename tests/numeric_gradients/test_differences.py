"""Numeric derivatives: functions whose derivative is known, steps, and calls of the function."""

from __future__ import annotations

import ast
import doctest
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.numeric_gradients import check, comparison, differences, roughness
from fastbp.numeric_gradients.check import gradcheck, numeric_gradient
from support.functions import STEP, Recorder, cubic, cubic_gradient

MODULES = (check, comparison, roughness, differences)


def test_imports_nothing_of_fastbp() -> None:
    """What checks leans on nothing that it may be asked to check; another module shows results in notebooks."""
    own = [module.__name__.removeprefix("fastbp.numeric_gradients.") for module in MODULES]
    for module in MODULES:
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert [alias.name for alias in node.names] == ["representation"]
            elif isinstance(node, ast.ImportFrom):
                assert node.module in own if node.level else str(node.module).split(".")[0] != "fastbp"
            elif isinstance(node, ast.Import):
                assert not any(alias.name.split(".")[0] == "fastbp" for alias in node.names)


def test_examples_in_the_docstrings() -> None:
    results = [doctest.testmod(module) for module in MODULES]
    assert sum(result.attempted for result in results) >= 10
    assert sum(result.failed for result in results) == 0


# numeric_gradient
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 1, 3)])
def test_numeric_gradient_of_any_shape(shape: tuple[int, ...]) -> None:
    point = np.random.default_rng(0).standard_normal(shape)
    numeric = numeric_gradient(cubic, point)
    assert isinstance(numeric, np.ndarray)
    assert numeric.shape == shape
    assert numeric.dtype == np.float64
    np.testing.assert_allclose(numeric, cubic_gradient(point), rtol=0, atol=1e-9)


def test_step_goes_with_the_entry() -> None:
    point = np.array([1e8, 1.0, 1e-8, 0.0])
    np.testing.assert_allclose(numeric_gradient(lambda x: (x**2).sum() / 2, [1e8, 3e7]), [1e8, 3e7], rtol=1e-9)
    function = Recorder()
    numeric_gradient(function, point)
    for i, x in enumerate(point):
        np.testing.assert_allclose(function.seen[2 * i + 1][i] - x, STEP * max(1, abs(x)), rtol=1e-8)
        np.testing.assert_allclose(x - function.seen[2 * i + 2][i], STEP * max(1, abs(x)), rtol=1e-8)


def test_divides_by_the_step_that_float64_can_make() -> None:
    # 1e8 + 1.7e-8 comes out as 1e8 + 1.49e-8: divided by 2 · 1.7e-8, the slope of this line would be 0.88.
    assert numeric_gradient(lambda x: x[0], [1e8], eps=1.7e-8)[0] == 1.0


def test_each_entry_is_restored_exactly() -> None:
    point = np.array([0.1, 1e20, 1e-20, -3.3])
    function = Recorder()
    numeric_gradient(function, point)
    assert len(function.seen) == 9
    np.testing.assert_array_equal(function.seen[0], point)
    for call, x in enumerate(function.seen[1:]):
        changed = np.arange(4) == call // 2
        np.testing.assert_array_equal(x[~changed], point[~changed])
        assert x[changed] != point[changed]


def test_a_function_that_writes_into_its_argument_spoils_nothing() -> None:
    def destructive(x: Any) -> float:
        x *= x
        value = float(x.sum())
        x[:] = math.nan
        return value

    point = np.array([1.0, -2.0])
    point.flags.writeable = False
    assert gradcheck(destructive, lambda x: np.multiply(x, 2, out=x), point)
    np.testing.assert_array_equal(point, [1, -2])


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8", "int64", "uint8", "bool"])
def test_point_of_any_real_dtype_is_taken_in_float64(dtype: str) -> None:
    def function(x: Any) -> Any:
        assert x.dtype == np.float64 and x.flags.c_contiguous
        return cubic(x)

    point = np.ones((2, 3), dtype, order="F")
    assert gradcheck(function, cubic_gradient, point)
    # By h², with the step for that precision: a float32 point tells that the function may compute in float32.
    step = math.cbrt(np.finfo(dtype).eps) if point.dtype.kind == "f" else STEP
    np.testing.assert_allclose(numeric_gradient(function, point), np.ones((2, 3)), atol=1e-9 + 1.1 * step**2)


@pytest.mark.parametrize("convert", [float, np.float64, np.array, np.float32])
def test_any_scalar_may_be_returned(convert: Callable[[Any], Any]) -> None:
    np.testing.assert_allclose(numeric_gradient(lambda x: convert(4 * x[0]), [0.5], eps=0.25), [4])


def test_step_of_each_entry() -> None:
    numeric = numeric_gradient(lambda x: abs(x).sum(), [1.0, 1.0], eps=[0.5, 2.0])
    np.testing.assert_array_equal(numeric, [1.0, 0.5])


def test_scalar_point() -> None:
    result = gradcheck(np.sin, np.cos, 0.5)
    assert result
    assert result.worst == ()
    assert result.numeric.shape == ()
    assert "worst at []" in str(result)


@pytest.mark.parametrize(("size", "repeats"), [(1, 33), (5, 33), (128, 33), (800, 117)])
def test_no_more_calls_than_needed_where_nothing_differs(size: int, repeats: int) -> None:
    function = Recorder()
    assert gradcheck(function, cubic_gradient, np.ones(size))
    at_point = [bool((x == 1).all()) for x in function.seen]
    assert sum(at_point) == repeats
    assert len(at_point) == 2 * size + repeats
    assert all(at_point[:9]) and all(at_point[-8:])
    between = np.diff(np.flatnonzero(at_point[8:-7]))  # no long stretch without one
    assert between.max() <= max(3, 2 * size // 16 + 3)
