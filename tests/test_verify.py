"""Tests of fastbp.verify: it passes here, says so in a table and as JSON, and finds faults planted in a copy."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import planted, python

import fastbp
from fastbp import cli, verify
from fastbp.verify import CHECKS, Check

COMMAND = "import sys; from fastbp.cli import main; sys.exit(main(['verify']))"
LONG = [pytest.mark.long, pytest.mark.skipif(os.environ.get("FASTBP_LONG") != "1", reason="needs FASTBP_LONG=1")]

STEP = "time, phases = chain([*writer.forward(), writer.loss(labels), *writer.backward(inputs=False)], machine)\n"
EARLY_UPDATE = """last = writer.weight_gradients(op.PARAMETERS, SGD, False)[-1]
        time, phases = chain([*writer.forward(), writer.loss(labels)], machine)
        phases.append([[last.part(machine, 0, last.rows, 0, last.columns)]])
        phases += chain(writer.backward(inputs=False), machine)[1] if network.layers > 1 else []
"""
WITHOUT_THE_LAST = """        is_last = lambda it: it["code"] == op.GEMM and it["c"] == last.c[1]
        update = [[it for it in strand if not is_last(it)] for strand in update]
        update[-1].append(writer.mean_loss"""
PENALTY = """            phases[0][number % len(phases[0])].append(operation)
        update_time, update = writer.updates(op.PARAMETERS, SGD, False)
        update"""
LATE_PENALTY = """            pass
        update_time, update = writer.updates(op.PARAMETERS, SGD, False)
        update[-1].extend(squares)
        update"""


class Fault(NamedTuple):
    """What is planted: file, the texts that are replaced, and a check that must fail for it."""

    file: str
    changes: tuple[tuple[str, str], ...]
    caught_by: str


def fault(file: str, old: str, new: str, caught_by: str) -> Fault:
    return Fault(file, ((old, new),), caught_by)


FAULTS = {
    "the SGD formula has the wrong sign": fault(
        "kernels/formulas.py", "fma(-learning_rate, ", "fma(learning_rate, ", "ReLU and SGD update"
    ),
    "the ReLU's mask is missing": fault(
        "kernels/microkernel.py", "tile = tile_relu_mask(tile, y, ldc, rows, columns, ())", "pass", "numeric gradients"
    ),
    "packing is off by one": fault(
        "kernels/packing.py", "advance(row, c + size), size)", "advance(row, c + size - 1), size)", "affine layers"
    ),
    "a later stretch drops the partial sum": fault(
        "kernels/gemm.py", "again = resume != 0 or k0 > 0", "again = resume != 0", "affine layers"
    ),
    "a tail's column mask is one lane short": fault(
        "kernels/packing.py", "advance(source, r * source_step + c), columns - c)",
        "advance(source, r * source_step + c), columns - c - 1)", "affine layers",
    ),
    "an epilogue's column mask is one lane short": fault(
        "kernels/tile.py", "builder.sub(columns, I64(v * tile.lanes))", "builder.sub(columns, I64(v * tile.lanes + 1))",
        "affine layers",
    ),
    "dX is computed from the updated W": Fault(
        "passes.py",
        (
            (STEP, EARLY_UPDATE),
            ("        update[-1].append(writer.mean_loss", WITHOUT_THE_LAST),
        ),
        "fused update",
    ),
    "the penalty is that of the updated W": fault("passes.py", PENALTY, LATE_PENALTY, "reference training"),
    "partial sums overwrite W before its update": fault(
        "kernels/gemm.py", "aside = (epilogue & SGD) != 0 and depth > kc", "aside = False", "fused update"
    ),
    "a short last batch is divided by the full size": fault(
        "training.py", "scale=1.0 / batch, repeats", "scale=1.0 / self.batch, repeats", "reference training"
    ),
    "the bias is not added": fault(
        "kernels/microkernel.py", "tile = tile_add_row(tile, bias, columns)", "pass", "affine layers"
    ),
    "L2 is applied to biases": fault(
        "kernels/steps.py", "workspace, learning_rate, number(c, 0.0))", "workspace, learning_rate, l2)",
        "reference training",
    ),
    "L2 is missing in the gradient": fault(
        "kernels/formulas.py", "return fma(l2, w, dw)", "return dw", "numeric gradients"
    ),
    "L2 is missing in the update": fault(
        "kernels/formulas.py", "fma(-learning_rate, fma(l2, w, dw), w)", "fma(-learning_rate, dw, w)",
        "ReLU and SGD update",
    ),
    "the label's column is wrong, few classes": fault(
        "kernels/losses.py", "workspace[label * vl + r] -= one", "workspace[(label + 1) % classes * vl + r] -= one",
        "softmax with loss",
    ),
    "the label's column is wrong, many classes": fault(
        "kernels/losses.py", "dz[labels[i]] = own", "dz[classes - 1 - labels[i]] = own", "softmax with loss"
    ),
    "column sums miss a row": fault(
        "kernels/affine.py", "for i in range(rows):\n        total = tile_add_block",
        "for i in range(rows - 1):\n        total = tile_add_block", "affine layers",
    ),
    "the mean loss is divided wrongly": fault(
        "kernels/affine.py", "return total / rows", "return total / (rows + 1)", "softmax with loss"
    ),
    "a transposed square swaps the wrong lane": fault(
        "kernels/packing.py", "else size + i - distance for i", "else size + i for i", "affine layers"
    ),
    "a split among threads skips a row": fault(
        "schedule.py", "return [(begin, end) for begin, end in",
        "return [(begin, end - (end < total)) for begin, end in", "threads and splits",
    ),
    "exp is good to four digits only": fault(
        "kernels/formulas.py", "EXP_TERMS = {32: 7, 64: 13}", "EXP_TERMS = {32: 4, 64: 4}", "softmax with loss"
    ),
    "the fused update rounds otherwise": fault(
        "kernels/tile.py", "formulas.sgd.write(w, dw, learning_rate, l2))", "w - learning_rate * (dw + l2 * w))",
        "fused update",
    ),
    "the gradient of inputs lacks their scale": fault(
        "network.py", "inputs *= self.input_scale", "pass", "numeric gradients"
    ),
}  # fmt: skip
SHORT = ("the ReLU's mask is missing", "a later stretch drops the partial sum", "a split among threads skips a row")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in SHORT else LONG) for name in FAULTS])
def test_a_planted_fault_is_found(name: str, tmp_path: Path) -> None:
    file, ((old, new), *others), caught_by = FAULTS[name]
    environment = planted(tmp_path, file, old, new)
    path = tmp_path / "fastbp" / file
    for old, new in others:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
    done = python(COMMAND, env=environment, timeout=600.0)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    failed = re.findall(r"^  (\S.*?)  +float\d\d .* FAILED", done.stdout, re.MULTILINE)
    assert caught_by in failed
    assert re.search(r"^\d+ of \d+ checks FAILED: ", done.stdout, re.MULTILINE)


# ---- the command ----


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert err == ""
    assert said["ok"] is True
    assert said["fastbp"] == fastbp.__version__
    assert said["machine"]["threads"] >= 1
    assert [(check["name"], check["dtype"]) for check in said["checks"]] == [
        (name, dtype) for name in CHECKS for dtype in ("float64", "float32")
    ]
    assert all(check["ok"] and check["cases"] > 0 and check["detail"] == "" for check in said["checks"])
    assert all(check["worst"] is None or 0 <= check["worst"] <= 1 for check in said["checks"])


def fake(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> None:
    def run(report: Any = None, names: Any = None) -> list[Check]:
        for check in checks:
            if report is not None:
                report(check)
        return list(checks)

    monkeypatch.setattr(verify, "verify", run)


GOOD = Check("affine layers", "float32", 1234, None, 0, 3, 0.5, "")
BAD = Check("softmax with loss", "float64", 10, float("inf"), 2, 0, 0.5, "loss: got nan")


def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake(monkeypatch, GOOD, GOOD)
    assert cli.main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"fastbp {fastbp.__version__} verifies")
    assert lines[1].split() == ["affine", "layers", "float32", "1,234", "cases", "same", "bits", "ok", "(3", "left",
                                "out", "at", "kinks)"]  # fmt: skip
    assert lines[-1].startswith("all 2 checks passed: 2,468 cases in ")


def test_a_failure_in_the_table_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, GOOD, BAD)
    assert cli.main(["verify"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^  softmax with loss +float64 +10 cases +2 wrong +FAILED\n +loss: got nan$", out, re.MULTILINE)
    assert "\n1 of 2 checks FAILED: 1,244 cases in " in out
    assert cli.main(["verify", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["checks"][0]["ok"], said["checks"][1]["ok"]) == (False, True, False)
    assert said["checks"][1]["worst"] is None  # JSON knows no infinity


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["verify", "--help"]):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 0
        assert "verify" in capsys.readouterr().out


# ---- the function ----


def test_reports_each_check_as_it_goes() -> None:
    seen: list[Check] = []
    checks = verify.verify(seen.append, names=["ReLU and SGD update"])
    assert seen == checks
    assert [check.dtype for check in checks] == ["float64", "float32"]
    assert all(checks)


def test_an_exception_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise FloatingPointError("no such number")

    monkeypatch.setitem(CHECKS, "one-hot targets", broken)
    check, _ = verify.verify(names=["one-hot targets"])
    assert not check
    assert check.detail == "FloatingPointError: no such number"
    monkeypatch.setitem(CHECKS, "one-hot targets", lambda *arguments: None)
    check, _ = verify.verify(names=["one-hot targets"])
    assert not check
    assert check.detail == "nothing was compared"


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="report: got int, expected a callable"):
        verify.verify(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="names: got 'affine', expected any of affine layers, ReLU"):
        verify.verify(names=["affine"])
    with pytest.raises(ValueError, match="names: got none, expected at least one of affine layers, ReLU"):
        verify.verify(names=[])
    with pytest.raises(TypeError, match="names: got 3, expected a collection of names"):
        verify.verify(names=3)  # type: ignore[arg-type]
    for odd in ([["affine layers"]], b"affine layers"):
        with pytest.raises(ValueError, match="names: got .*, expected any of affine layers, ReLU"):
            verify.verify(names=odd)  # type: ignore[arg-type]


# ---- the tally ----


@pytest.mark.parametrize(
    ("actual", "expected", "bound", "worst"),
    [
        ([1.0, 2.0], [1.0, 2.5], 1.0, 0.5),
        ([1.0, 2.0], [1.0, 2.5], 0.25, 2.0),
        ([1.0, np.nan], [1.0, 2.0], 1.0, np.inf),
        ([1.0, np.inf], [1.0, 2.0], 1.0, np.inf),
        ([1.0, 2.0], [1.0, 2.0], 0.0, 0.0),
        (2.0, 1.0, 0.0, np.inf),
        ([], [], 0.0, 0.0),
    ],
)
def test_within(actual: Any, expected: Any, bound: float, worst: float) -> None:
    tally = verify._Tally()
    with np.errstate(all="ignore"):
        tally.within("it", actual, expected, bound)
    assert (tally.cases, tally.worst, tally.failures) == (1, worst, int(worst > 1))
    assert tally.detail.startswith("it: got ") == (worst > 1)


def test_within_sees_another_shape() -> None:
    tally = verify._Tally()
    tally.within("it", [[1.0]], [1.0], 1.0)
    assert tally.detail == "it: got shape (1, 1), expected (1,)"


def test_same() -> None:
    tally, x = verify._Tally(), np.array([[0.0, 1.0], [np.nan, 2.0]])
    tally.same("it", x, x.copy())
    assert (tally.cases, tally.failures) == (1, 0)
    for other in (np.where(x == 0, -0.0, x), x.astype(np.float32), x[:1], np.array([[0.0, 1.0], [np.nan, 2 + 4e-16]])):
        tally.same("it", other, x)
    assert (tally.cases, tally.failures) == (5, 4)
    assert tally.detail == "it: other bits in 1 of 4 numbers, first in number 0"


def test_the_objective_is_that_of_the_reference() -> None:
    """Two texts of one formula, written apart."""
    for case in verify._cases(verify.WIDE, (13,)):
        _, net, X, y, _ = drawn = verify._draw(case, np.dtype(np.float64))
        ours = verify.objective(net, net.weights, net.biases, X, verify._one_hot(drawn), case.l2)
        theirs = fastbp.reference.loss(net.weights, net.biases, X, y, case.l2, case.activation, net.input_shift,
                                       net.input_scale)  # fmt: skip
        assert ours == pytest.approx(theirs, rel=1e-13)
