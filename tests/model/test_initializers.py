"""Initial weights: by name, by the activations behind each layer, and given as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastbp import MLP
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.model.initializers import INITIALIZERS

SIZES = (7, 30, 20, 5)
WIDE = (300, 200, 100)
RELU_KIND = ("relu", "leaky_relu", "gelu", "silu")


def variance_of(kind: str, fan_in: int, fan_out: int) -> float:
    return {"he": 2 / fan_in, "glorot": 2 / (fan_in + fan_out), "lecun": 1 / fan_in}[kind.split("_")[0]]


def drawn(sizes: tuple[int, ...], kinds: list[str], seed: int) -> list[Any]:
    """Each layer's weights in float64, by one generator; the formulas once more."""
    rng = np.random.default_rng(seed)
    result = []
    for fan_in, fan_out, kind in zip(sizes[:-1], sizes[1:], kinds, strict=True):
        variance = variance_of(kind, fan_in, fan_out)
        if kind.endswith("uniform"):  # of variance limit^2 / 3
            result.append(rng.uniform(-math.sqrt(3.0) * math.sqrt(variance), math.sqrt(3.0) * math.sqrt(variance),
                                      (fan_in, fan_out)))  # fmt: skip
        else:
            result.append(rng.normal(0.0, math.sqrt(variance), (fan_in, fan_out)))
    return result


def starts_as(net: MLP, kinds: list[str], seed: int = 3) -> None:
    for W, expected in zip(net.weights, drawn(net.sizes, kinds, seed), strict=True):
        np.testing.assert_array_equal(W, expected.astype(net.dtype))
    for b in net.biases:
        np.testing.assert_array_equal(b, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_one_name_is_for_all_layers_whatever_the_activation(name: str, activation: str, dtype: str) -> None:
    starts_as(MLP(SIZES, activation, seed=3, dtype=dtype, initializer=name), [name] * 3)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_moments_and_limits(name: str) -> None:
    for W, (fan_in, fan_out) in zip(MLP(WIDE, seed=3, initializer=name).weights, ((300, 200), (200, 100)), strict=True):
        variance = variance_of(name, fan_in, fan_out)
        # Standard errors: of the mean sqrt(v / n); of the variance sqrt((kurtosis - 1) / n) v, kurtosis 3 or 1.8.
        kurtosis = 1.8 if "uniform" in name else 3.0
        assert abs(W.mean()) < 5 * math.sqrt(variance / W.size)
        assert abs(W.var() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / W.size)
        assert (np.abs(W).max() > 3.5 * math.sqrt(variance)) == ("uniform" not in name)
        if "uniform" in name:
            assert 0.999 < np.abs(W).max() / math.sqrt(3 * variance) <= 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_by_default_the_activation_chooses(activation: str) -> None:
    kind = ACTIVATIONS[activation].initializer
    assert (kind == "he") or activation not in RELU_KIND
    starts_as(MLP(SIZES, activation, seed=3), [kind] * 3)
    starts_as(MLP((4, 3), activation, seed=3), [kind])  # without a hidden layer, by what was named


def test_each_layer_by_the_activation_behind_it_and_the_last_as_the_one_before() -> None:
    for first, second in (("relu", "tanh"), ("tanh", "relu"), ("logistic", "silu"), ("gelu", "identity")):
        kinds = ["he" if name in RELU_KIND else "glorot" for name in (first, second, second)]
        starts_as(MLP(SIZES, (first, second), seed=3), kinds)
        starts_as(MLP(SIZES, np.array([first, second]), seed=3), kinds)  # type: ignore[arg-type]
    for name in RELU_KIND:
        np.testing.assert_array_equal(MLP(SIZES, [name] * 2, seed=3).parameters, MLP(SIZES, name, seed=3).parameters)


def test_what_is_named_is_drawn_as_the_default_would_be() -> None:
    np.testing.assert_array_equal(MLP(SIZES, seed=3, initializer="he").parameters, MLP(SIZES, seed=3).parameters)
    by_name = MLP(SIZES, seed=3, initializer="glorot")
    np.testing.assert_array_equal(by_name.parameters, MLP(SIZES, "identity", seed=3).parameters)
    assert by_name.rng.bit_generator.state == MLP(SIZES, seed=3).rng.bit_generator.state


# ---- given ----


def arrays(dtype: Any = np.float64) -> list[Any]:
    """W1, b1, W2, b2, W3, b3."""
    rng = np.random.default_rng(5)
    return [
        rng.normal(size=shape).astype(dtype)
        for i, o in zip(SIZES[:-1], SIZES[1:], strict=True)
        for shape in ((i, o), (o,))
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_given_arrays_are_taken_over(dtype: str) -> None:
    given = arrays()
    forms: list[Any] = [
        given, tuple(given), [array.tolist() for array in given], iter(given),
        [np.asfortranarray(array) for array in given], [array.astype(">f8") for array in given],
        [np.repeat(array, 2, axis=0)[::2] for array in given],
    ]  # fmt: skip
    for form in forms:
        net = MLP(SIZES, seed=3, dtype=dtype, initializer=form)
        parts = [part for pair in zip(net.weights, net.biases, strict=True) for part in pair]
        for got, want in zip(parts, given, strict=True):
            np.testing.assert_array_equal(got, want.astype(dtype))
        np.testing.assert_array_equal(
            net.parameters, np.concatenate([array.reshape(-1) for array in given]).astype(dtype)
        )
        # Nothing is drawn: the generator is as new.
        assert net.rng.bit_generator.state == np.random.default_rng(3).bit_generator.state


def test_given_arrays_are_copied_and_may_be_of_whole_numbers() -> None:
    given = arrays("f4")
    net = MLP(SIZES, initializer=given)
    net.fit(np.ones((4, 7)), [0, 1, 2, 3], epochs=1)
    for array, before in zip(given, arrays("f4"), strict=True):
        np.testing.assert_array_equal(array, before)
    whole = MLP((2, 3), initializer=[np.arange(6).reshape(2, 3), np.array([True, False, True])])
    np.testing.assert_array_equal(whole.parameters, [0, 1, 2, 3, 4, 5, 1, 0, 1])


def test_parameters_of_another_network_start_this_one() -> None:
    net = MLP(SIZES, seed=3)
    parts = [part for pair in zip(net.weights, net.biases, strict=True) for part in pair]
    np.testing.assert_array_equal(MLP(SIZES, initializer=parts).parameters, net.parameters)


# ---- errors ----


def wrong(at: int, value: Any) -> list[Any]:
    given = arrays()
    given[at] = value
    return given


def nan_at(at: int, value: float) -> list[Any]:
    given = arrays()
    given[at].flat[-1] = value
    return given


WRONG: dict[str, tuple[Any, str]] = {
    "unknown": ("xavier", r"initializer: got 'xavier', expected 'he' or"),
    "upper case": ("He", r"initializer: got 'He'"), "empty": ("", r"initializer: got ''"),
    "number": (3, r"initializer: got 3, expected he or"), "bool": (True, r"initializer: got True"),
    "0 dimensions": (np.array(1.0), r"initializer: got array\(1\.\)"),
    "none of them": ([], r"initializer: got 0 arrays, expected .* 6 arrays"),
    "weights alone": (arrays()[::2], r"initializer: got 3 arrays, expected .* 6 arrays"),
    "one too many": ([*arrays(), np.zeros(3)], r"initializer: got 7 arrays"),
    "flat": (np.zeros(MLP(SIZES, seed=0).parameters.size), r"initializer: got \d+ arrays"),
    "names": (["he", "he", "he"], r"initializer: got 3 arrays"),
    "names for all parts": (["he"] * 6, r"initializer\[0\]: got dtype <U2"),
    "dict": (dict(enumerate(arrays())), r"initializer\[0\]: got shape \(\), expected \(7, 30\)"),
    "transposed": (wrong(2, arrays()[2].T), r"initializer\[2\]: got shape \(20, 30\), expected \(30, 20\)"),
    "bias as a row": (wrong(1, np.zeros((1, 30))), r"initializer\[1\]: got shape \(1, 30\), expected \(30,\)"),
    "a number for a bias": (wrong(5, 0.0), r"initializer\[5\]: got shape \(\), expected \(5,\)"),
    "None for a bias": (wrong(5, None), r"initializer\[5\]: got dtype object"),
    "ragged": (wrong(0, [[1.0], [1.0, 2.0]]), r"initializer\[0\]: got list that is not rectangular"),
    "complex": (wrong(4, arrays()[4].astype(complex)), r"initializer\[4\]: got dtype complex128"),
    "objects": (wrong(4, arrays()[4].astype(object)), r"initializer\[4\]: got dtype object"),
    "strings": (wrong(4, arrays()[4].astype("U9")), r"initializer\[4\]: got dtype <U9"),
    "masked": (wrong(3, np.ma.array(arrays()[3])), r"initializer\[3\]: got a masked array"),
    "NaN": (nan_at(2, math.nan), r"initializer\[2\]: got nan at \[29, 19\], expected finite"),
    "infinity": (nan_at(3, -math.inf), r"initializer\[3\]: got -inf at \[19\]"),
    "infinity in float32": (nan_at(0, 1e300), r"initializer\[0\]: got inf at \[6, 29\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors(name: str) -> None:
    value, message = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=f"^{message}") as caught:
        MLP(SIZES, initializer=value)
    assert "expected" in str(caught.value)
