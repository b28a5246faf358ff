"""Activations of a user's own as ONNX operators: every operation answers as in fastbp, through all magnitudes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.reference
import pytest

import fastbp
from fastbp.export.onnx_operations import OPERATORS
from fastbp.kernels.expressions import NUMBER, OPERATIONS
from support.exported_cases import derivative, everywhere, rows, value
from support.networks import network
from support.onnx_cases import TOLERANCE, answers, assert_agree

DTYPES = list(TOLERANCE)
OF_MATH = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "fabs",
    "floor", "log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip


def by_its_argument(name: str) -> Callable[[Any], Any]:
    function = getattr(math, name)
    return lambda x: function(x) / x


FORMULAS: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(math, name) for name in OF_MATH},
    "arithmetic": lambda x: (1.5 - x) * x / (abs(x) + 2.0) + -x,
    "reciprocal": lambda x: 1.0 / x,
    "copysign": lambda x: math.copysign(2.0, x) + math.copysign(x, -1.0),
    "signs of zeros": lambda x: math.copysign(1.0, 0.0 * -abs(x)) + math.copysign(2.0, 0.0 * abs(x)),
    "branches": lambda x: (x if x < 1.0 else -x) if x <= 2.0 else (7.0 if x == 3.0 else 0.5 * x),
    "comparisons": lambda x: (x < 1.0) + 2.0 * (x <= 1.0) + 4.0 * (x == 1.0) + 8.0 * (x != 1.0),
    "comparisons with NaN": lambda x: (math.sqrt(x) < 1.0) + 2.0 * (x * 0.0 + math.sqrt(x) != 1.0),
    "branches by NaN": lambda x: 1.0 if math.sqrt(x) <= 4.0 else (2.0 if not math.sqrt(x) > 9.0 else 3.0),
    "minimum and maximum": lambda x: min(max(math.log(x), -1.0), 2.0),
    "where": lambda x: np.where(np.abs(x) > 1.0, 2.0 * x, 0.5),
    "powers": lambda x: abs(x) ** 1.7 + 1.1**x + x**3,
    "pow": lambda x: math.pow(x, 1.5) if x > 0.5 else math.pow(0.5, x),
    "remainders": lambda x: math.fmod(x, 3.0) + 0.1 * math.fmod(7.0, x),
    "angles": lambda x: math.atan2(x, 2.0) + 2.0 * math.atan2(-2.0, x) + 4.0 * math.atan2(x, x),
    "angles of zeros": lambda x: math.atan2(0.0 * x, x) + 10.0 * math.atan2(0.0 * x, -0.0 * x),
    "numbers beyond float32": lambda x: np.minimum(x, 1e300),
    "a number": lambda x: 0.75,
    "a number of numbers": lambda x: np.sqrt(np.where(x > 0.0, 4.0, 4.0)),
    "the argument": lambda x: x,
    # What is small divided by what is small: digits that a function loses near 0 are seen. ONNX Runtime's own tanh
    # loses some among denormal numbers.
    **{f"{name} near 0": by_its_argument(name) for name in (
        "asin", "asinh", "atan", "atanh", "erf", "expm1", "log1p", "sin", "sinh", "tan")},
    "tan near its first poles": lambda x: np.tan(math.pi / 2.0 * np.clip(np.floor(x), -1.0, 1.0)),
    "acos near 1": lambda x: math.acos(1.0 - x * x) / x,
    "acosh near 1": lambda x: math.acosh(1.0 + x * x) / x,
    "the tail of erfc": lambda x: math.erfc(x) * math.exp(x * x) if x < 5.0 else 0.0,
    "of everything": value,
}  # fmt: skip
REFUSED = {"tgamma", "lgamma"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Activations that are nobody's derivative, and not finite everywhere."""
    for check in ("check_derivative", "check_finite"):
        monkeypatch.setattr(f"fastbp.own_formulas.formulas.{check}", lambda *arguments: None)
    return lambda function: fastbp.Activation("tried", function, lambda x: 1.0)


def alone(activation: Any, dtype: str) -> fastbp.MLP:
    """A network that is one activation."""
    arrays = [[[1.0]], [0.0], [[1.0]], [0.0]]
    return fastbp.MLP((1, 1, 1), activation, "mean_squared_error", dtype, initializer=arrays)


def assert_same(found: Any, wanted: Any, tolerance: float) -> None:
    """As `assert_agree`, with NaN where NaN is expected."""
    some = ~np.isnan(wanted)
    np.testing.assert_array_equal(~np.isnan(found), some)
    assert_agree(found[some], wanted[some], tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_operations_everywhere(name: str, dtype: str, unchecked: Callable[..., Any], path: Path) -> None:
    x, net = everywhere(dtype), alone(unchecked(FORMULAS[name]), dtype)
    found, wanted = answers(net, path, {"X": x})["predictions"], net.predict(x)
    assert_same(found, wanted, TOLERANCE[dtype])
    with np.errstate(all="ignore"):
        (again,) = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"X": x})
    assert_same(again, wanted, TOLERANCE[dtype])


def test_every_operation_is_tried(unchecked: Callable[..., Any]) -> None:
    tried = {name for each in FORMULAS.values() for name, *_ in unchecked(each).definition.value.steps}
    assert tried - {NUMBER} == set(OPERATORS) == set(OPERATIONS) - REFUSED


@pytest.mark.parametrize("name", ["gamma", "lgamma"])
def test_what_is_refused(name: str, unchecked: Callable[..., Any], path: Path) -> None:
    net = alone(unchecked(getattr(math, name)), "float32")
    with pytest.raises(ValueError, match="^to_onnx: got an activation of your own that calls t?l?gamma, which ONNX"):
        net.to_onnx(path)
    assert not path.exists()


# ---- in networks ----

OWN = fastbp.Activation("own", value, derivative)
SINE = fastbp.Activation("sine", math.sin, math.cos)


@pytest.mark.parametrize("activation", [OWN, (OWN, "gelu"), (SINE, OWN)], ids=["own", "own and gelu", "two"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_networks(activation: Any, dtype: str, path: Path) -> None:
    net = network((5, 9, 7, 3), dtype, activation=activation, input_shift=0.5)
    X = rows(net)
    found = answers(net, path, {"X": X})
    assert_agree(found["probabilities"], net.predict_proba(X), TOLERANCE[dtype])
    np.testing.assert_array_equal(found["label"], net.predict(X))


@pytest.mark.parametrize("dtype", DTYPES)
def test_ensembles(dtype: str, path: Path) -> None:
    ensemble = fastbp.Ensemble([network((5, 6, 3), dtype, seed, activation=OWN) for seed in range(3)])
    X = rows(ensemble.networks[0])
    assert_agree(answers(ensemble, path, {"X": X})["probabilities"], ensemble.predict_proba(X), TOLERANCE[dtype])


@pytest.mark.parametrize("targets", ["numbers", "shares", "counts"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_losses(dtype: str, targets: str, path: Path) -> None:
    """Of a loss only the targets matter, by which outputs are logits, probabilities or their exponentials."""
    halved = fastbp.Loss("halved", lambda z, t: (z - t) ** 2 / 2, lambda z, t: z - t, targets=targets)
    net = network((5, 6, 2), dtype, activation=SINE, loss=halved)
    X = rows(net)
    found = answers(net, path, {"X": X})
    assert_agree(found["probabilities" if targets == "shares" else "predictions"], net.outputs(X), TOLERANCE[dtype])
    if targets == "shares":
        np.testing.assert_array_equal(found["label"], net.predict(X))
