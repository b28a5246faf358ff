"""Networks as safetensors files: the tensors of an nn.Sequential, and metadata in texts."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.cli import main
from support.comparisons import assert_same_bits
from support.networks import network

DTYPES = {"float32": ("F32", "<f4"), "float64": ("F64", "<f8")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def parsed(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and metadata, by the letter of the format; bytes that belong to no tensor are an error."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata, data, end = header.pop("__metadata__"), content[8 + length :], 0
    tensors = {}
    kinds = dict(DTYPES.values())
    for name, each in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = each["data_offsets"]
        assert begin == end
        tensors[name] = np.frombuffer(data[begin:stop], kinds[each["dtype"]]).reshape(each["shape"])
        end = stop
    assert end == len(data) and length % 8 == 0
    return tensors, metadata


def expected(net: fastbp.MLP) -> dict[str, Any]:
    pairs = enumerate(zip(net.weights, net.biases, strict=True))
    return {f"{2 * at}.{kind}": value for at, (W, b) in pairs for kind, value in (("weight", W.T), ("bias", b))}


def assert_same_tensors(found: dict[str, Any], net: fastbp.MLP) -> None:
    wanted = expected(net)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert_same_bits(found[name], array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(3, 2), (5, 7, 1), (4, 6, 5, 3)])
def test_tensors(sizes: tuple[int, ...], dtype: str, path: Path) -> None:
    net = network(sizes, dtype)
    net.to_safetensors(path)
    assert_same_tensors(parsed(path)[0], net)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_package_reads_it(dtype: str, path: Path) -> None:
    package = pytest.importorskip("safetensors")
    load_file = pytest.importorskip("safetensors.numpy").load_file
    net = network((5, 7, 3), dtype)
    net.to_safetensors(path)
    assert_same_tensors(load_file(path), net)
    with package.safe_open(path, "numpy") as file:
        assert file.metadata() == parsed(path)[1]


def test_metadata(path: Path) -> None:
    net = fastbp.MLP((2, 4, 3), "leaky_relu", leaky_slope=0.25, input_shift=[0.1, 3.0], input_scale=2.0, seed=0)
    net.class_names = ("a", "b", "été")
    net.to_safetensors(path)
    _, metadata = parsed(path)
    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata["activation"] == "leaky_relu" and metadata["loss"] == "softmax_cross_entropy"
    assert metadata["format"] == "pt"
    assert net.input_shift is not None
    found = {name: json.loads(metadata[name]) for name in ("sizes", "leaky_slope", "class_names", "input_scale")}
    assert found == {"sizes": [2, 4, 3], "leaky_slope": 0.25, "class_names": ["a", "b", "été"], "input_scale": [2, 2]}
    assert_same_bits(np.array(json.loads(metadata["input_shift"]), np.float32), net.input_shift)
    assert "feature_names" not in metadata


def test_the_command(tmp_path: Path, path: Path) -> None:
    net = network((3, 5, 2))
    net.save(tmp_path / "model.npz")
    main(["export", str(tmp_path / "model.npz"), str(path)])
    assert_same_tensors(parsed(path)[0], net)


def test_embeddings_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="^to_safetensors: got a network with embeddings"):
        fastbp.MLP((3, 4, 2), embeddings={2: (5, 3)}, seed=0).to_safetensors(path)
    assert not path.exists()
