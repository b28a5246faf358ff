"""`verify` passes here and says so in a table and as JSON; its tally, and what is compared."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import functional, verify
from fastbp.cli import program
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from fastbp.verify import CHECKS, Check
from fastbp.verify.cases import KINK, SMALL, WIDE, combinations, draw, objective_of
from fastbp.verify.tally import Tally

# ---- the command ----


# Two to ten seconds a dtype each.
LENGTHY = ("affine layers", "numeric gradients", "reference gradients", "optimizers' steps", "fused update",
           "rows alone", "blockings", "threads and splits")  # fmt: skip


@pytest.mark.parametrize(
    "left_out", [pytest.param(LENGTHY, id="short"), pytest.param((), id="all", marks=pytest.mark.slow)]
)
def test_all_is_well_here(
    left_out: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = {name: check for name, check in CHECKS.items() if name not in left_out}
    monkeypatch.setattr(verify, "CHECKS", chosen)
    assert program.main(["verify", "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert err == ""
    assert said["ok"] is True
    assert said["fastbp"] == fastbp.__version__
    assert said["machine"]["threads"] >= 1
    assert [(check["name"], check["dtype"]) for check in said["checks"]] == [
        (name, dtype) for name in chosen for dtype in ("float64", "float32")
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
    assert program.main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"fastbp {fastbp.__version__} verifies")
    assert lines[1].split() == ["affine", "layers", "float32", "1,234", "cases", "same", "bits", "ok", "(3", "left",
                                "out", "at", "kinks)"]  # fmt: skip
    assert lines[-1].startswith("all 2 checks passed: 2,468 cases in ")


def test_a_failure_in_the_table_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, GOOD, BAD)
    assert program.main(["verify"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^  softmax with loss +float64 +10 cases +2 wrong +FAILED\n +loss: got nan$", out, re.MULTILINE)
    assert "\n1 of 2 checks FAILED: 1,244 cases in " in out
    assert program.main(["verify", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["checks"][0]["ok"], said["checks"][1]["ok"]) == (False, True, False)
    assert said["checks"][1]["worst"] is None  # JSON knows no infinity


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["verify", "--help"]):
        with pytest.raises(SystemExit) as end:
            program.main(words)
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


def test_a_wrong_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults in compiled code, which takes long to compile: see `test_planted_faults`."""
    right = functional.sgd_update

    def wrong(parameters: Any, gradient: Any, learning_rate: float, l2: float = 0.0) -> None:
        right(parameters, gradient, learning_rate, 0.0)

    monkeypatch.setattr(functional, "sgd_update", wrong)
    for check in verify.verify(names=["ReLU and SGD update"]):
        assert not check
        assert check.failures > 0
        assert "sgd_update" in check.detail


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
    tally = Tally()
    with np.errstate(all="ignore"):
        tally.within("it", actual, expected, bound)
    assert (tally.cases, tally.worst, tally.failures) == (1, worst, int(worst > 1))
    assert tally.detail.startswith("it: got ") == (worst > 1)


def test_within_sees_another_shape() -> None:
    tally = Tally()
    tally.within("it", [[1.0]], [1.0], 1.0)
    assert tally.detail == "it: got shape (1, 1), expected (1,)"


def test_same() -> None:
    tally, x = Tally(), np.array([[0.0, 1.0], [np.nan, 2.0]])
    tally.same("it", x, x.copy())
    assert (tally.cases, tally.failures) == (1, 0)
    for other in (np.where(x == 0, -0.0, x), x.astype(np.float32), x[:1], np.array([[0.0, 1.0], [np.nan, 2 + 4e-16]])):
        tally.same("it", other, x)
    assert (tally.cases, tally.failures) == (5, 4)
    assert tally.detail == "it: other bits in 1 of 4 numbers, first in number 0"


def test_the_objective_is_that_of_the_reference() -> None:
    """Two texts of one network, written apart."""
    for case in combinations(WIDE, (13,)):
        drawn = draw(case, np.dtype(np.float64))
        net, objective = drawn.net, objective_of(case, drawn.net)
        ours = objective(net.weights, net.biases, drawn.X, drawn.t, case.l2, drawn.weights, drawn.masks)
        theirs = fastbp.reference.loss(net.weights, net.biases, drawn.X, drawn.y, case.l2, **drawn.of_reference,
                                       sample_weight=drawn.weights, masks=drawn.masks)  # fmt: skip
        assert ours == pytest.approx(theirs, rel=1e-13)


# ---- what is compared ----


def test_every_combination_is_a_case() -> None:
    found = {
        (case.activation, case.loss, case.form, case.weighted, case.dropout > 0) for case in combinations(SMALL, [5])
    }
    names = product(ACTIVATIONS, LOSSES, (False, True), (False, True))
    assert found >= {
        (activation, loss, form, *rest)
        for activation, loss, *rest in names
        for form in (("labels", "probabilities") if loss == "softmax_cross_entropy" else ("targets",))
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_row_is_near_a_kink(dtype: str) -> None:
    left_out = 0
    for case in combinations(WIDE, (37,)):
        drawn = draw(case, np.dtype(dtype))
        net, objective = drawn.net, objective_of(case, drawn.net)
        assert objective.nearest_kink(net.weights, net.biases, drawn.X, drawn.t, drawn.masks).min() >= KINK
        assert len(drawn.X) == len(drawn.y) == case.n
        left_out += drawn.left_out
    assert left_out > 0


def test_both_dtypes_get_the_same_numbers() -> None:
    for case in combinations(SMALL, (13,)):
        single, double = (draw(case, np.dtype(dtype)) for dtype in ("float32", "float64"))
        for one, other in ((single.X, double.X), (single.y, double.y),
                           (single.net.parameters, double.net.parameters)):  # fmt: skip
            np.testing.assert_array_equal(one, other)
