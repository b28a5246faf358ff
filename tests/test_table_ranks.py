"""The benchmark of tables: its ranks, its paired differences, and the words on what is not installed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "asv_benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module of the command by its name."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"asv_benchmarks.{name}")


def test_the_highest_score_is_first_and_equal_ones_share_their_mean_rank(command: Callable[[str], Any]) -> None:
    ranking = command("ranking")
    assert ranking.ranks({"a": 0.9, "b": 0.7, "c": 0.8}) == {"a": 1, "b": 3, "c": 2}
    assert ranking.ranks({"a": 0.5, "b": 0.9, "c": 0.9, "d": 0.1}) == {"a": 3, "b": 1.5, "c": 1.5, "d": 4}
    assert ranking.ranks({"a": 0.90001, "b": 0.90002, "c": -1.5}) == {"a": 1.5, "b": 1.5, "c": 3}


def test_mean_ranks_leave_out_sets_without_a_score_of_every_method(command: Callable[[str], Any]) -> None:
    ranking = command("ranking")
    scores = {"s": {"a": 0.9, "b": 0.8}, "t": {"a": 0.9, "b": 0.9}, "u": {"b": 1.0}}
    assert ranking.mean_ranks(scores) == {"a": 1.25, "b": 1.75}
    assert all(math.isnan(rank) for rank in ranking.mean_ranks({"u": {"b": 1.0}, "v": {"a": 1.0}}).values())


def test_differences_are_paired_by_split(command: Callable[[str], Any]) -> None:
    paired_difference = command("ranking").paired_difference
    assert paired_difference([3.0, 5.0, 4.0], [1.0, 1.0, 1.0]) == (3.0, pytest.approx(1 / math.sqrt(3)))
    difference, error = paired_difference([1.0], [0.5])
    assert difference == 0.5 and math.isnan(error)


def test_what_is_not_installed_is_left_out_with_a_line(
    command: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = command("tables")
    monkeypatch.setitem(tables.SETS, "wine", tables.SETS["wine"]._replace(module="no_such_module"))
    monkeypatch.setitem(tables.METHODS, "HGB", tables.METHODS["HGB"]._replace(modules=("no_such_module",)))
    options = tables.parse(["--sets", "wine", "diabetes", "--methods", "HGB", "HGB 200"])
    assert tables.present(options) == (["diabetes"], ["HGB 200"])
    shown = capsys.readouterr().out
    assert "wine: left out, the module no_such_module is not installed" in shown
    assert "HGB: left out, the module no_such_module is not installed" in shown


@pytest.mark.parametrize("wrong", [["--sets", "iris"], ["--methods", "SVM"], ["--splits", "0"]])
def test_the_command_refuses(wrong: list[str], command: Callable[[str], Any]) -> None:
    with pytest.raises(SystemExit):
        command("tables").main(wrong)


@pytest.mark.slow
def test_the_command(command: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Two methods on two sets that scikit-learn brings, a process for each fit."""
    pytest.importorskip("pandas")
    command("tables").main(["--sets", "wine", "diabetes", "--methods", "HGB", "sklearn MLP", "--splits", "1"])
    shown = capsys.readouterr().out
    assert "nan" not in shown
    assert all(words in shown for words in ("wine", "diabetes", "mean rank", "seconds, whole"))
