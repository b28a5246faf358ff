"""ONNX files run by ONNX Runtime, and how closely it must agree with fastbp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # relative to the larger of 1 and the output


def answers(model: Any, path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """Export a model, and return what ONNX Runtime computes by it, by the names of the outputs."""
    model.to_onnx(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def assert_agree(found: Any, wanted: Any, tolerance: float) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore"):  # both infinite
        right = (found == wanted) | (np.abs(found - wanted) <= tolerance * np.maximum(1.0, np.abs(wanted)))
    assert right.all(), (found[~right][:3], wanted[~right][:3])
