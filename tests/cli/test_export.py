"""`fastbp export` writes each kind of model as the file's name says, or says why not in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import fastbp
from fastbp.tables import TableModel
from fastbp.tables.encoder import Encoder
from fastbp.tables.model import Member
from fastbp.tables.reading import columns_of
from fastbp.tables.targets import TargetScaling
from support.commands import Run, assert_one_line, refused
from support.processes import python


@pytest.fixture
def models(run: Run) -> dict[str, fastbp.MLP | fastbp.Ensemble | TableModel]:
    """A file of each kind in the folder of the command."""
    net = fastbp.MLP((2, 3, 2), seed=0)
    ensemble = fastbp.Ensemble([net, fastbp.MLP((2, 3, 2), seed=1)])
    columns = columns_of("X", [[1.0], [2.0], [3.0]])
    numbers = fastbp.Ensemble([fastbp.MLP((1, 1), loss="huber", seed=0)])
    table = TableModel([Member(Encoder.fit(columns), numbers, 1.0)], TargetScaling(0.0, 1.0))
    found = {"net": net, "ensemble": ensemble, "table": table}
    for name, model in found.items():
        model.save(f"{name}.npz")  # type: ignore[attr-defined]
    return found  # type: ignore[return-value]


def outputs(path: str, **inputs: object) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)


def test_every_kind_becomes_an_onnx_file(run: Run, models: dict[str, fastbp.MLP]) -> None:
    for name in models:
        done = run("export", f"{name}.npz", f"{name}.onnx")
        assert (done.status, done.out, done.err) == (0, f"model saved as {name}.onnx\n", "")
    X = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
    for name in ("net", "ensemble"):
        np.testing.assert_allclose(outputs(f"{name}.onnx", X=X)[1], models[name].predict_proba(X), rtol=1e-5)
    x = np.array([[1.5], [2.5]])
    np.testing.assert_allclose(outputs("table.onnx", column_0=x)[0], models["table"].predict(x), rtol=1e-5)


def test_what_a_file_cannot_hold(run: Run, models: object) -> None:
    for suffix in (".c", ".safetensors"):
        refused(
            run("export", "ensemble.npz", f"out{suffix}"), f"out{suffix}: got an ensemble, expected a single network"
        )
        refused(
            run("export", "table.npz", f"out{suffix}"), f"out{suffix}: got a table's model, expected a single network"
        )
    assert not list(Path.cwd().glob("out*"))


def test_wrong_words(run: Run, models: object) -> None:
    for name in ("out", "out.txt", "out.npz", "onnx"):
        refused(
            run("export", "net.npz", name), f"FILE: got '{name}', expected a name that ends in .onnx, .c, .safetensors"
        )
    refused(run("export", "gone.npz", "out.onnx"), "gone.npz", "No such file")
    refused(run("export", "net.npz", "gone/out.onnx"), "no folder")
    Path("same.onnx").write_bytes(Path("net.npz").read_bytes())
    refused(run("export", "same.onnx", "same.onnx"), "is read as well")
    refused(run("export", "net.npz"), "FILE")


def test_without_the_extra(run: Run, models: object) -> None:
    main = "import sys; sys.modules['onnx'] = None; from fastbp.cli import main; sys.exit(main(sys.argv[1:]))"
    done = python(main, "export", "net.npz", "out.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "to_onnx: needs onnx: pip install 'fastbp[onnx]'")
    assert not Path("out.onnx").exists()
