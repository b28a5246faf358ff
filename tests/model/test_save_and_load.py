"""`MLP.save` and `fastbp.load`: a network comes back whole, to the bit and to its next random number, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, CheckpointError
from fastbp.model import npz_file
from fastbp.spec.losses import LOSSES

SIZES = (6, 9, 5)


def rows(n: int = 40, dtype: str = "float32") -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(n, SIZES[0])).astype(dtype), rng.integers(0, SIZES[-1], n)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.npz"


OPTIONS: list[dict[str, Any]] = [
    {}, {"dtype": "float64"}, {"activation": "identity"}, {"input_scale": 1 / 255},
    {"input_shift": np.linspace(-1, 1, 6), "input_scale": np.linspace(0.1, 3, 6), "dtype": "float64"},
    *({"activation": name} for name in ("logistic", "tanh", "gelu", "silu")),
    {"activation": "leaky_relu", "leaky_slope": 0.3}, {"activation": ("leaky_relu",), "leaky_slope": 1 / 3},
    {"activation": ["tanh"], "dtype": "float64"}, {"activation": np.array(["silu"])},
    *({"loss": name} for name in LOSSES), {"loss": "huber", "huber_delta": 0.1, "dtype": "float64"},
]  # fmt: skip


def targets(options: dict[str, Any]) -> Any:
    """Of the kind that the loss takes."""
    kind = LOSSES[options.get("loss", "softmax_cross_entropy")].targets
    return rows()[1] if kind == "classes" else np.random.default_rng(8).random((40, SIZES[-1]))


@pytest.mark.parametrize("options", OPTIONS)
def test_round_trip(options: dict[str, Any], path: Path) -> None:
    X, y = rows()[0], targets(options)
    net = MLP(SIZES, seed=3, **options)
    net.fit(X, y, epochs=2, batch_size=16)
    net.class_names = ("a", "Fünf", "", "x,y", "5")
    net.save(path)
    back = fastbp.load(path)
    assert type(back) is MLP
    for name in ("sizes", "activation", "loss_name", "dtype", "class_names", "leaky_slope", "huber_delta"):
        assert getattr(back, name) == getattr(net, name)
    np.testing.assert_array_equal(back.parameters, net.parameters)
    assert back.parameters.dtype == net.parameters.dtype
    for name in ("input_shift", "input_scale"):
        ours, theirs = getattr(back, name), getattr(net, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
    assert type(back.activation) is type(net.activation)
    np.testing.assert_array_equal(back.outputs(X), net.outputs(X))
    np.testing.assert_array_equal(back.gradient(X, y).inputs, net.gradient(X, y).inputs)
    assert repr(back) == repr(net)


@pytest.mark.parametrize("options", OPTIONS)
def test_training_goes_on_as_if_it_had_not_stopped(options: dict[str, Any], path: Path) -> None:
    X, y = rows()[0], targets(options)
    settings: dict[str, Any] = {"batch_size": 16, "l2": 0.01, "optimizer": "adam", "dropout": 0.25}
    straight = MLP(SIZES, seed=3, **options)
    losses = [straight.fit(X, y, epochs=1, **settings).loss for _ in range(5)]  # an optimizer starts anew in each call
    net = MLP(SIZES, seed=3, **options)
    assert [net.fit(X, y, epochs=1, **settings).loss for _ in range(2)] == losses[:2]
    net.save(path)
    back = fastbp.load(path)
    assert back.rng.bit_generator.state == net.rng.bit_generator.state
    assert [back.fit(X, y, epochs=1, **settings).loss for _ in range(3)] == losses[2:]
    np.testing.assert_array_equal(back.parameters, straight.parameters)
    for _ in range(3):  # saving changed nothing in the network itself
        net.fit(X, y, epochs=1, **settings)
    np.testing.assert_array_equal(net.parameters, straight.parameters)


def test_a_network_of_several_activations_comes_back(path: Path) -> None:
    """A tuple stays one, in its order; the file names no other loss or number than the network's."""
    net = MLP((6, 7, 8, 9, 5), ("gelu", "leaky_relu", "tanh"), "huber", seed=3, leaky_slope=0.125, huber_delta=2.5)
    net.save(path)
    metadata = npz_file.read(path)[1]
    assert metadata["activation"] == ["gelu", "leaky_relu", "tanh"]
    assert (metadata["loss"], metadata["leaky_slope"], metadata["huber_delta"]) == ("huber", 0.125, 2.5)
    back = fastbp.load(path)
    assert back.activation == ("gelu", "leaky_relu", "tanh")
    X = rows()[0]
    np.testing.assert_array_equal(back.predict(X), net.predict(X))
    assert back.loss(X, back.predict(X) + 3) == net.loss(X, net.predict(X) + 3) == 2.5 * (3 - 1.25)
    none = MLP((6, 5), (), seed=3)
    none.save(path)
    assert fastbp.load(path).activation == ()


def test_training_goes_on_in_another_process(path: Path) -> None:
    X, y = rows()
    net = MLP(SIZES, seed=3)
    net.fit(X, y, epochs=1)
    net.save(path)
    net.fit(X, y, epochs=1)
    code = f"""
import json, numpy as np, fastbp
rng = np.random.default_rng(7)
X, y = rng.normal(size=(40, 6)).astype("f4"), rng.integers(0, 5, 40)
net = fastbp.load({os.fspath(path)!r})
net.fit(X, y, epochs=1)
print(json.dumps(net.parameters.tolist()))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], env=environment, capture_output=True,
                          text=True, timeout=100, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == net.parameters.tolist()


def test_no_class_names_stay_none(path: Path) -> None:
    MLP(SIZES, seed=3).save(path)
    assert fastbp.load(path).class_names is None


def test_a_loaded_network_is_one_like_any_other(path: Path) -> None:
    MLP(SIZES, seed=3).save(path)
    back, X = fastbp.load(path), rows()[0]
    assert np.shares_memory(back.weights[0], back.parameters)
    back.parameters[...] = 0.0
    assert (back.logits(X) == 0).all()
    np.testing.assert_array_equal(fastbp.load(path).parameters, MLP(SIZES, seed=3).parameters)  # the file is untouched


def test_paths_of_both_kinds_and_no_ending(tmp_path: Path) -> None:
    net = MLP(SIZES, seed=3)
    for path in (tmp_path / "a", os.fspath(tmp_path / "b.model")):
        net.save(path)
        assert os.path.exists(path)
        np.testing.assert_array_equal(fastbp.load(path).parameters, net.parameters)
    assert sorted(os.listdir(tmp_path)) == ["a", "b.model"]


def test_numpy_reads_the_parameters_without_pickle(path: Path) -> None:
    net = MLP(SIZES, seed=3)
    net.save(path)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["parameters"], net.parameters)


def test_other_generators(path: Path) -> None:
    """A generator that is none of ours is not kept, and nothing breaks."""
    X, y = rows()
    net = MLP(SIZES, seed=np.random.Generator(np.random.MT19937(1)))
    net.save(path)
    back = fastbp.load(path)
    np.testing.assert_array_equal(back.parameters, net.parameters)
    back.fit(X, y, epochs=1)


# ---- what is no network ----


def saved(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    net = MLP(SIZES, seed=3, input_shift=0.5, input_scale=2.0)
    net.class_names = tuple("abcde")
    net.save(path)
    return npz_file.read(path)


def state_with(**changes: Any) -> dict[str, Any]:
    return {**np.random.PCG64(1).state, **changes}


WRONG_METADATA: dict[str, dict[str, Any]] = {
    "fewer sizes": {"sizes": [6, 9]}, "other sizes": {"sizes": [6, 9, 6]}, "empty sizes": {"sizes": []},
    "sizes of text": {"sizes": "695"}, "sizes None": {"sizes": None}, "fractional sizes": {"sizes": [6, 9.5, 5]},
    "negative sizes": {"sizes": [6, -9, 5]}, "sizes beyond memory": {"sizes": [6, 10**17, 5]},
    "sizes beyond any integer": {"sizes": [6, 10**30, 5]}, "nested sizes": {"sizes": [[6, 9, 5]]},
    "another activation": {"activation": "sigmoid"}, "activation None": {"activation": None},
    "activation of another type": {"activation": {"relu": 1}}, "another loss": {"loss": "mse"},
    "too many activations": {"activation": ["relu", "relu"]}, "no activations": {"activation": []},
    "another activation in a list": {"activation": ["sigmoid"]}, "nested activations": {"activation": [["relu"]]},
    "activation a number in a list": {"activation": [1]}, "activation a number": {"activation": 1},
    "loss None": {"loss": None}, "loss in a list": {"loss": ["huber"]}, "loss a number": {"loss": 3},
    **{f"{name} {what}": {name: value} for name in ("leaky_slope", "huber_delta")
       for what, value in {"negative": -1.0, "NaN": float("nan"), "infinite": float("inf"), "of text": "0.1",
                           "None": None, "true": True, "in a list": [0.1], "infinite in float32": 1e300,
                           "beyond float64": 10**400}.items()},
    "huber_delta 0": {"huber_delta": 0.0},
    "another dtype": {"dtype": "float64"}, "no dtype": {"dtype": "nonsense"}, "dtype None": {"dtype": None},
    "dtype of another type": {"dtype": [1, 2]}, "too few class names": {"class_names": ["a", "b"]},
    "class names a number": {"class_names": 5},
    "random state a number": {"random_state": 5}, "random state empty": {"random_state": {}},
    "random state of another generator": {"random_state": {"bit_generator": "MT19937"}},
    "random state negative": {"random_state": state_with(state={"state": -1, "inc": 1})},
    "random state of text": {"random_state": state_with(state={"state": "1", "inc": 1})},
    "random state too large": {"random_state": state_with(state={"state": 2**200, "inc": 1})},
    "random state without its numbers": {"random_state": {"bit_generator": "PCG64"}},
    "random state with a wrong buffer": {"random_state": state_with(has_uint32="x", uinteger=[])},
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG_METADATA.values(), ids=WRONG_METADATA)
def test_wrong_metadata_in_a_valid_container(change: dict[str, Any], path: Path) -> None:
    arrays, metadata = saved(path)
    npz_file.write(path, arrays, {**metadata, **change})
    with pytest.raises(CheckpointError, match=r"net\.npz"):
        fastbp.load(path)


def test_sizes_are_believed_only_with_as_many_parameters(path: Path) -> None:
    """A small file cannot ask for the memory of a large network."""
    arrays, metadata = saved(path)
    npz_file.write(path, arrays, {**metadata, "sizes": [6, 200_000, 5]})
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"net\.npz"):
            fastbp.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20  # 9 MB of parameters, had they been made


@pytest.mark.parametrize(
    "name",
    ["sizes", "activation", "loss", "dtype", "random_state"],
)
def test_missing_metadata(name: str, path: Path) -> None:
    arrays, metadata = saved(path)
    del metadata[name]
    npz_file.write(path, arrays, metadata)
    with pytest.raises(CheckpointError, match=name):
        fastbp.load(path)


@pytest.mark.parametrize("name", ["class_names", "feature_names", "target_name", "leaky_slope", "huber_delta"])
def test_what_an_older_file_lacks_means_its_default(name: str, path: Path) -> None:
    arrays, metadata = saved(path)
    del metadata[name]
    npz_file.write(path, arrays, metadata)
    assert getattr(fastbp.load(path), name) == getattr(fastbp.MLP((2, 3)), name)


def wrong_arrays(parameters: Any) -> dict[str, dict[str, Any]]:
    return {
        "too few parameters": {"parameters": parameters[:-1]},
        "too many parameters": {"parameters": np.append(parameters, parameters[0])},
        "a matrix of parameters": {"parameters": parameters[:, None]}, "no parameters": {"parameters": parameters[:0]},
        "one parameter": {"parameters": parameters[0:1].reshape(())},
        "float64 parameters": {"parameters": parameters.astype(np.float64)},
        "whole parameters": {"parameters": parameters.astype(np.int32)},
        "parameters of text": {"parameters": parameters.astype("U9")},
        "input_shift too short": {"input_shift": np.zeros(5, np.float32)},
        "input_shift of NaN": {"input_shift": np.full(6, np.nan, np.float32)},
        "input_scale a matrix": {"input_scale": np.ones((1, 6), np.float32)},
        "input_scale of text": {"input_scale": np.full(6, "1")},
        "input_scale complex": {"input_scale": np.full(6, 1j)},
    }  # fmt: skip


@pytest.mark.parametrize("change", wrong_arrays(np.zeros(113, np.float32)))
def test_a_wrong_array_in_a_valid_container(change: str, path: Path) -> None:
    arrays, metadata = saved(path)
    assert arrays["parameters"].shape == (113,)
    npz_file.write(path, {**arrays, **wrong_arrays(arrays["parameters"])[change]}, metadata)
    with pytest.raises(CheckpointError, match=r"net\.npz"):
        fastbp.load(path)


def test_containers_of_something_else(path: Path) -> None:
    arrays, metadata = saved(path)
    for others, data in (({}, {}), ({}, metadata), (arrays, {}), ({"w": np.ones(3)}, {"kind": "data"})):
        npz_file.write(path, others, data)
        with pytest.raises(CheckpointError, match=r"net\.npz: not a network"):
            fastbp.load(path)


def test_files_of_something_else(path: Path) -> None:
    np.savez(path, parameters=np.ones(113, np.float32))
    with pytest.raises(CheckpointError, match=r"net\.npz"):
        fastbp.load(path)
    for content in (b"", b"hello", bytes(1000), b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"net\.npz"):
            fastbp.load(path)


def test_a_file_cut_anywhere_or_with_a_byte_changed(path: Path) -> None:
    MLP((2, 3, 2), seed=0).save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            fastbp.load(path)
    for at in range(0, len(content), 41):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        try:
            np.testing.assert_array_equal(fastbp.load(path).parameters, MLP((2, 3, 2), seed=0).parameters)
        except CheckpointError:  # refused, or a byte that carries nothing, such as a zip's time
            continue


def test_a_failed_save_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MLP(SIZES, seed=3).save(path)
    content = path.read_bytes()

    def fail(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        MLP(SIZES, seed=4).save(path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["net.npz"]
